//go:build !race

package route

import "testing"

func TestMatchDoesNotAllocate(t *testing.T) {
	rules := table(t,
		"exact:: @h =_/exact", "prefix:: @*.example.com /prefix", "regex:: ~_^/regex/[0-9]+$", "method:: /m POST",
		"predicate:: /p header:X=GET ?v=*", "host:: @~_^[a-z]+[.]net$ /", "captures:: ~_^/c/([a-z]+)")
	for _, test := range []struct {
		request string
		want    string
		most    float64
	}{
		{"h/exact", "exact", 0},
		{"w.example.com:80/prefix/of/it", "prefix", 0},
		{"other/regex/17", "regex", 0},
		{"w.net/x", "host", 0},
		{"h/m", "wrong method", 0},
		{"h/p", "predicate", 0},
		{"h/zzz", "none", 0},
		{"h/c/abc", "captures", 1}, // package regexp's own
	} {
		r, memory := freeze(test.request), make([]int, 0, 16)
		if got := show(rules, rules.Match(r, Outside, memory)); got != test.want {
			t.Errorf("%s: got %s, want %s", test.request, got, test.want)
		}
		if n := testing.AllocsPerRun(200, func() { rules.Match(r, Outside, memory) }); n > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.request, n, test.most)
		}
	}
}
