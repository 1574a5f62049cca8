package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

const perfText = `perigee  12 100.1:     250000 cpu-clock:
	ffffffff8100 tcp_sendmsg.isra.0.cold+0x10 ([kernel.kallsyms])
	    4a0000 perigee/proxy/loop.(*Loop).write+0x20 (/bin/perigee)
	    4b0000 perigee/proxy/loop.(*Loop).run+0x30 (/bin/perigee)

perigee  12 100.2:     250000 cpu-clock:
	    7f0000 [unknown] (/tmp/perf-12.map)
	    7f0010 [unknown] (/tmp/perf-12.map)
	    4c0000 pg_resume+0x1 (/bin/perigee)
	    4b0000 perigee/proxy/loop.(*Loop).run+0x30 (/bin/perigee)
`

const pprofText = `PeriodType: cpu nanoseconds
Samples:
samples/count cpu/nanoseconds
          3   30000000: 1 2
                bytes:[1]
          1   10000000: 2
Locations
     1: 0x4a M=1 main.leaf /src/a.go:1:2 s=1
             main.inlined /src/a.go:5:2 s=3
     2: 0x4b M=1 main.root /src/a.go:9:2 s=7
Mappings
1: 0x40/0x50/0x0 /bin/x
`

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, text string
		samples    int64
		stack      []string
		in         int64
	}{
		{"perf", perfText, 2, []string{"perigee/proxy/loop.(*Loop).run", "perigee/proxy/loop.(*Loop).write", "tcp_sendmsg"}, 1},
		{"compiled Lua", perfText, 2, []string{lost, compiled}, 1},
		{"pprof", pprofText, 4, []string{"main.root", "main.inlined", "main.leaf"}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, err := parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			f := root
			for _, name := range c.stack {
				if f = f.callees[name]; f == nil {
					t.Fatalf("no frame %q", name)
				}
			}
			if root.samples != c.samples || f.samples != c.in {
				t.Errorf("%d samples of %d, want %d of %d", f.samples, root.samples, c.in, c.samples)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":        "",
		"no location":  strings.Replace(pprofText, "2: 0x4b", "9: 0x4b", 1),
		"no locations": strings.Replace(pprofText, "Locations\n", "", 1),
	} {
		if _, err := parse(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDraw(t *testing.T) {
	var out strings.Builder
	if err := run(strings.NewReader(pprofText), &out, "a < b", 0.5); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(strings.NewReader(out.String())); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]bool{"a &lt; b": true, "main.root, 100.0 %": true, "main.leaf, 75.0 %": true} {
		if strings.Contains(out.String(), text) != want {
			t.Errorf("%q: %t, want %t in\n%s", text, !want, want, out.String())
		}
	}
	out.Reset()
	if err := run(strings.NewReader(pprofText), &out, "", 0.9); err != nil || strings.Contains(out.String(), "main.leaf") {
		t.Errorf("%v, and what took less than -least is drawn:\n%s", err, out.String())
	}
}
