package proxy

import (
	"math"
	"strings"
	"testing"

	"perigee/proxy/config"
)

func TestMemoryPlan(t *testing.T) {
	file, err := config.Parse("m.yaml", []byte(`
listeners: [{address: "127.0.0.1:0"}]
workers: 2
lua: {memory_limit: 50MiB, shared_dicts: {a: 10MiB, b: 20MiB}}
routes: [{name: r, respond: {status: 204}}]
`), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name                string
		cgroup, given, want int64 // MiB; want 0: refused
	}{
		// 900 - 30 for dictionaries - 2 generations of 2 VMs with 50.
		{"a cgroup's limit", 1000, math.MaxInt64 >> 20, 900 - 30 - 200},
		{"a lower GOMEMLIMIT", 1000, 300, 300},
		{"a higher GOMEMLIMIT", 1000, 700, 900 - 30 - 200},
		{"GOMEMLIMIT alone", 0, 300, 300},
		{"just enough", 327, 300, 64},
		{"too little", 320, 300, 0},
	} {
		left, err := memoryPlan(file, c.cgroup<<20, c.given<<20)
		if left>>20 != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%s: %d MiB left for Go, %v, want %d", c.name, left>>20, err, c.want)
		}
	}
	if _, err := memoryPlan(file, 320<<20, 300<<20); err == nil || !strings.Contains(err.Error(), "leave 58 MiB of the cgroup's 320 MiB") {
		t.Errorf("refused with %v", err)
	}
}
