package main

import (
	"strings"
	"testing"
)

func TestRollup(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       memory
		fails      string
	}{
		{
			name: "as the kernel writes it",
			text: "55d0c0000000-7ffd00000000 ---p 00000000 00:00 0    [rollup]\nRss:               20480 kB\nPss:               10240 kB\nPss_Dirty:          9000 kB\nShared_Clean:       8000 kB\n",
			want: memory{pss: 10 << 20, rss: 20 << 20},
		},
		{name: "a process that has ended", text: "", fails: "0 of Rss and Pss"},
		{name: "no PSS", text: "Rss: 1 kB\n", fails: "1 of Rss and Pss"},
		{name: "no number", text: "Rss: x kB\nPss: 1 kB\n", fails: `Rss: "x" is no number`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := rollup([]byte(c.text))
			if got != c.want || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("rollup gives %+v and %v, wanted %+v and %q", got, err, c.want, c.fails)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	const mib = 1 << 20
	of := func(name string, rest, idle, routes int64) footprint {
		all := func(n int64) memory { return memory{pss: n * mib, rss: n * mib} }
		return footprint{name: name, rest: all(rest), idle: all(idle), routes: all(routes)}
	}
	good := of("perigee", 17, 25, 27)
	nginx := of("nginx", 11, 16, 18)
	for _, c := range []struct {
		name   string
		all    []footprint
		stated int
		broken []string
	}{
		{"all hold", []footprint{good, nginx}, 4, nil},
		{"nginx is not there", []footprint{good, {name: "nginx", absent: "not measured"}}, 3, nil},
		{"haproxy has no bound", []footprint{good, of("haproxy", 1, 1, 1)}, 3, nil},
		{"at rest", []footprint{of("perigee", 25, 25, 27), nginx}, 4, []string{"RSS at rest of perigee: 25.0 MiB, the bound is 24.0"}},
		{"4 KiB for each idle connection", []footprint{of("perigee", 17, 17+39, 27), nginx}, 4, []string{
			"RSS with 10000 idle connections of perigee: 56.0 MiB", "PSS with 10000 idle connections of perigee: 3.5 times nginx's",
		}},
		{"routes", []footprint{of("perigee", 17, 25, 40), nginx}, 4, []string{"RSS with 1000 routes of perigee: 40.0 MiB"}},
		{"beside nginx alone", []footprint{of("perigee", 17, 33, 27), nginx}, 4, []string{"2.1 times nginx's, the bound is 2.0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r report
			r.footprints(c.all, 10000)
			var broken []string
			if r.broken != nil {
				broken = strings.Split(r.broken.Error(), "\n")
			}
			if len(broken) != len(c.broken) {
				t.Fatalf("broken: %q, wanted %q", broken, c.broken)
			}
			for i, want := range c.broken {
				if !strings.Contains(broken[i], want) {
					t.Errorf("broken: %q, wanted %q", broken[i], want)
				}
			}
			text := r.text.String()
			if holds, not := strings.Count(text, "| holds |"), strings.Count(text, "| **does not hold** |"); holds != c.stated-len(broken) || not != len(broken) {
				t.Errorf("%d bounds hold and %d do not, of %d:\n%s", holds, not, c.stated, text)
			}
		})
	}
}

func TestPeersHaveTheSameRoutes(t *testing.T) {
	for _, p := range memoryPeers() {
		t.Run(p.name, func(t *testing.T) {
			text := p.config(100, 20)
			for _, path := range []string{"/r0/", "/r19/"} {
				if n := strings.Count(text, path); n != 1 {
					t.Errorf("%s is there %d times:\n%s", path, n, text)
				}
			}
			if strings.Contains(text, "/r20/") || strings.Contains(p.config(100, 0), "/r0/") {
				t.Errorf("there are more routes than wanted:\n%s", text)
			}
			for _, address := range []string{originAddr, gatewayAddr} {
				if !strings.Contains(text, address) {
					t.Errorf("no %s:\n%s", address, text)
				}
			}
		})
	}
}
