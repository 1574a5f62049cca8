//go:build cgo && luajit

package luavm

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestExitWorker(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"runs", `ngx.log(ngx.NOTICE, ngx.get_phase(), " ", ngx.worker.id(), " ", tostring(ngx.worker.exiting()), " ", n)`,
			"[lua] x:1: exit_worker 0 true 5"},
		{"no request", `ngx.log(ngx.NOTICE, select(2, pcall(function() return ngx.var.uri end)))`, "[lua] x:1: x:1: API disabled in the current context"},
		{"waits", `ngx.sleep(1)`, "exit_worker_by_lua error: lua runtime error in script x: x:1: API disabled in the context of exit_worker_by_lua*"},
		{"timers", `ngx.timer.at(0, function() end)`, "exit_worker_by_lua error: lua runtime error in script x: x:1: API disabled in the context of exit_worker_by_lua*"},
		{"fails", `error("no")`, "exit_worker_by_lua error: lua runtime error in script x: x:1: no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			var log []string
			p, err := NewPool(Options{
				LogLevel: LevelNotice, InitWorker: Source{Name: "w", Chunk: "=w", Text: "n = 5"},
				ExitWorker: Source{Name: "x", Chunk: "=x", Text: c.text},
				Log: func(_ *Slot, _ int, line []byte) {
					mu.Lock()
					defer mu.Unlock()
					log = append(log, string(line))
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			p.Close()
			select {
			case <-p.Done():
			case <-time.After(10 * time.Second):
				t.Fatal("the pool did not end")
			}
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(log, []string{c.want}) {
				t.Errorf("logged %q, want %q", log, c.want)
			}
		})
	}
}

func TestExitWorkerMustCompile(t *testing.T) {
	p, err := NewPool(Options{ExitWorker: Source{Name: "x", Chunk: "=x", Text: "x ="}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Start(); err == nil || !strings.Contains(err.Error(), "lua syntax error in script x") {
		t.Errorf("got %v", err)
	}
}

func TestScriptRetiresItsVM(t *testing.T) {
	p, scripts := testPool(t, Options{InitWorker: Source{Name: "w", Chunk: "=w", Text: `
local ok, err = pcall(require "ngx.process".signal_graceful_exit)
refused = err`}}, `
n = (n or 0) + 1
if ngx.get_phase() == "rewrite" then require "ngx.process".signal_graceful_exit() end
ngx.sleep(0.001)
ngx.print(n, " ", tostring(ngx.worker.exiting()), " ", ngx.worker.id(), " ", refused)`)
	run := func(phase Phase) string {
		t.Helper()
		s, err := p.Pin(0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Release()
		if out := finish(s, s.Start(scripts[0], phase, nil)); out.Kind != Done {
			t.Fatalf("%+v: %v", out, out.Err)
		}
		return string(s.Output())
	}
	const refused = " 0 API disabled in the current context"
	if got := run(PhaseContent); got != "1 false"+refused {
		t.Errorf("got %q", got)
	}
	run(PhaseRewrite)
	for until := time.Now().Add(10 * time.Second); run(PhaseContent) != "1 false"+refused; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the VM was not replaced")
		}
	}
	if st := p.Stats(); st.Retired != 1 {
		t.Errorf("%d VMs were retired", st.Retired)
	}
}
