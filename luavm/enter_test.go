//go:build cgo && luajit

package luavm

import (
	"strings"
	"testing"
	"time"
)

func TestInitWorkerWaits(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"sleeps and threads", `ngx.thread.spawn(function() ngx.sleep(0.002) word = "from a thread" end) ngx.sleep(0.001)`, "from a thread init_worker"},
		{"timers fire when it has ended", `ngx.timer.at(0, function() early = word end) ngx.sleep(0.005) word = "slept"`, "slept init_worker"},
		{"an error is logged", `ngx.sleep(0.001) word = "raised" error("boom")`, "raised init_worker"},
		{"an end to it", `word = "cut" ngx.sleep(100) word = "over"`, "cut init_worker"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log logged
			p, scripts := testPool(t, Options{
				Log: log.log, InitWorkerWaits: true, InitTime: 200 * time.Millisecond,
				InitWorker: Source{Name: "init_worker", Chunk: "=init_worker", Text: "phase = ngx.get_phase() " + c.text},
			}, `error(tostring(word) .. " " .. tostring(phase), 0)`)
			s := pinned(t, p)
			out := s.Start(scripts[0], PhaseContent, nil)
			if out.Err == nil || out.Err.Message != c.want {
				t.Errorf("%v, want %q", out.Err, c.want)
			}
			for part, want := range map[string]string{"an error": "init_worker_by_lua error: init_worker:1: boom", "an end": "init_worker waited longer than 200ms"} {
				if strings.HasPrefix(c.name, part) && !strings.Contains(log.text(), want) {
					t.Errorf("no %q in %q", want, log.text())
				}
			}
		})
	}
}

// A VM that is replaced is served from once its init_worker has ended.
func TestInitWorkerWaitsInTheNextVM(t *testing.T) {
	p, scripts := testPool(t, Options{
		Log: func(*Slot, int, []byte) {}, InitWorkerWaits: true, CPUBudget: 20 * time.Millisecond,
		InitWorker: Source{Name: "init_worker", Chunk: "=init_worker", Text: `ngx.sleep(0.05) ready = true`},
	}, `local ffi = require "ffi" ffi.gc(ffi.new("int[1]"), function() while true do end end) collectgarbage()`,
		`assert(ready)`)
	s, err := p.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	out := s.Start(scripts[0], PhaseContent, nil)
	s.Release()
	if out.Err == nil || out.Err.Kind != ErrLost {
		t.Skipf("not abandoned here: %+v", out)
	}
	until(t, "the next VM", func() bool {
		s, err := p.Pin(0)
		if err != nil {
			return false
		}
		defer s.Release()
		if out := s.Start(scripts[1], PhaseContent, nil); out.Kind != Done {
			t.Fatalf("%+v %v", out, out.Err)
		}
		return true
	})
}
