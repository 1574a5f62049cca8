//go:build cgo && luajit

package luavm

import (
	"fmt"
	"testing"
	"time"
)

// dataPool is a started pool of VMs with scripts compiled from texts.
func dataPool(t testing.TB, options Options, texts ...string) (*Pool, []*Script) {
	t.Helper()
	if options.Log == nil {
		options.LogLevel = LevelDebug
		options.Log = func(_ *Slot, level int, line []byte) { t.Logf("[%d] %s", level, line) }
	}
	p, err := NewPool(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		select {
		case <-p.Done():
		case <-time.After(10 * time.Second):
			t.Error("the pool did not end")
		}
	})
	scripts := make([]*Script, len(texts))
	for i, text := range texts {
		name := fmt.Sprintf("script%d", i)
		if scripts[i], err = p.Add(Source{Name: name, Chunk: "=t", Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p, scripts
}

// dataRun runs sc once on some VM and returns what it printed. Sleeps are
// slept.
func dataRun(t testing.TB, p *Pool, sc *Script) string {
	t.Helper()
	s, err := p.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	out := s.Start(sc, PhaseContent, nil)
	for out.Kind == Wait {
		time.Sleep(time.Duration(out.Op.Seconds * float64(time.Second)))
		out = s.Resume(out.Op, nil)
	}
	if out.Kind != Done {
		t.Fatalf("%s: %+v: %v", sc.Name(), out, out.Err)
	}
	return string(s.Output())
}

// declared are dictionaries of a test, by name and size.
func declared(t testing.TB, sizes map[string]int64) []*Dict {
	t.Helper()
	registry := NewDicts()
	var list []*Dict
	for name, size := range sizes {
		d, err := registry.Declare(name, size)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Release)
		list = append(list, d)
	}
	return list
}
