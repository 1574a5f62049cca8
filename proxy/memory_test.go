package proxy

import (
	"testing"

	"perigee/proxy/config"
)

func TestHeapLeft(t *testing.T) {
	file, err := config.Parse("m.yaml", []byte(`
listeners: [{address: "127.0.0.1:0"}]
workers: 2
lua: {memory_limit: 50MiB, shared_dicts: {a: 10MiB, b: 20MiB}}
routes: [{name: r, respond: {status: 204}}]
`), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// 900 - 30 for dictionaries - 2 generations of 2 VMs with 50.
	if left := heapLeft(file, 1000<<20); left>>20 != 900-30-200 {
		t.Errorf("%d MiB left for Go, want 670", left>>20)
	}
}
