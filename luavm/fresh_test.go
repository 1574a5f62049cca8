//go:build cgo && luajit

package luavm

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// freshPool has a script that is read from a file.
func freshPool(t *testing.T, o Options, file string) (*Pool, *Script) {
	t.Helper()
	o.Fresh = true
	p, err := NewPool(o)
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
	sc, err := p.Add(Source{Name: "s", Chunk: "@" + file, Text: "ngx.print(0)", Read: func() (string, error) {
		text, err := os.ReadFile(file)
		return string(text), err
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p, sc
}

func TestFreshVMsReadAllAnew(t *testing.T) {
	dir := t.TempDir()
	script, module := filepath.Join(dir, "s.lua"), filepath.Join(dir, "m.lua")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Path: dir + "/?.lua", Workers: 2, Init: Source{Name: "init", Chunk: "=init", Text: `
count = (count or 0) + 1
if ngx.shared.d:get("fail") then error("as told") end`}, Dicts: declared(t, map[string]int64{"d": 1 << 16})}
	p, sc := freshPool(t, o, script)
	run := func() (string, error) {
		t.Helper()
		s, err := p.Pin(1)
		if err != nil {
			return "", err
		}
		defer s.Release()
		out := finish(s, s.Start(sc, PhaseContent, nil))
		if out.Err != nil {
			return "", out.Err
		}
		return string(s.Output()), nil
	}
	for _, c := range []struct{ name, script, module, want string }{
		{"first", `seen = (seen or 0) + 1 ngx.print(require "m", seen, count, ngx.worker.id())`, "return 'one '", "one 111"},
		{"other module", `seen = (seen or 0) + 1 ngx.print(require "m", seen, count)`, "return 'two '", "two 11"},
		{"other script", `ngx.print("new")`, "", "new"},
		{"error in it", "x = = 1", "", "lua syntax error in script s: "},
		{"as before", `ngx.print("again")`, "", "again"},
		{"dictionaries stay", `ngx.print(ngx.shared.d:incr("n", 1, 0))`, "", "1"},
		{"dictionaries stayed", `ngx.print(ngx.shared.d:incr("n", 1, 0)) ngx.shared.d:set("fail", true)`, "", "2"},
		{"init fails", `ngx.print(1)`, "", "init:3: as told"},
	} {
		write(script, c.script)
		write(module, c.module)
		got, err := run()
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, c.want) && !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if err := os.Remove(script); err != nil {
		t.Fatal(err)
	}
	var raised *ScriptError
	if _, err := run(); !errors.As(err, &raised) {
		t.Errorf("without its file: %v", err)
	}
	if st := p.Stats(); st.Retired != 0 || st.Scripts[0].Runs != 6 {
		t.Errorf("%+v", st)
	}
}

// The VM waits for its timers, which see what the exchange saw.
func TestFreshVMKeepsItsTimers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.lua")
	if err := os.WriteFile(file, []byte(`
n = 5
ngx.timer.at(0.02, function() ngx.shared.d:set("n", n) end)`), 0o600); err != nil {
		t.Fatal(err)
	}
	dicts := declared(t, map[string]int64{"d": 1 << 16})
	p, sc := freshPool(t, Options{Dicts: dicts}, file)
	s, err := p.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	if out := finish(s, s.Start(sc, PhaseContent, nil)); out.Err != nil {
		t.Fatal(out.Err)
	}
	s.Release()
	for until := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if got := eval(t, p, `return ngx.shared.d:get("n")`); got == "5" {
			break
		}
		if time.Now().After(until) {
			t.Fatal("the timer did not run")
		}
	}
}

// A subrequest has a VM of its own, too; all are closed at the end.
func TestFreshVMBeside(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.lua")
	if err := os.WriteFile(file, []byte("n = (n or 0) + 1 ngx.print(n)"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, sc := freshPool(t, Options{}, file)
	s, err := p.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Beside()
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range []*Slot{s, other} {
		finish(slot, slot.Start(sc, PhaseContent, nil))
		if got := string(slot.Output()); got != "1" {
			t.Errorf("got %q", got)
		}
		slot.Release()
	}
	for until := time.Now().Add(5 * time.Second); len(p.Stats().VMs) > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d VMs are left", len(p.Stats().VMs))
		}
	}
}
