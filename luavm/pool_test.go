//go:build cgo && luajit

package luavm

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPoolRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		options Options
		text    string
		want    string
	}{
		{"syntax error", Options{}, "local x = = 1", "lua syntax error in script bad: bad:1: unexpected symbol near '='"},
		{"bytecode", Options{}, "\x1bLJ\x02", "bad: bytecode is refused: give Lua source"},
		{"init fails", Options{Init: Source{Name: "init", Chunk: "@lua/init.lua", Text: "\nerror('no')"}}, "",
			"lua runtime error in script init: lua/init.lua:2: no"},
		{"init does not compile", Options{Init: Source{Name: "init", Chunk: "=init", Text: "x ="}}, "", "lua syntax error in script init"},
		{"init_worker does not compile", Options{InitWorker: Source{Name: "w", Chunk: "=w", Text: "x ="}}, "", "lua syntax error in script w"},
		{"init runs away", Options{InitBudget: 5 * time.Millisecond, Init: Source{Name: "init", Chunk: "=init", Text: "while true do end"}}, "",
			"execution time limit exceeded"},
		{"workers", Options{Workers: 3, WorkerCount: 2}, "", "do not fit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := func() error {
				p, err := NewPool(c.options)
				if err != nil {
					return err
				}
				defer p.Close()
				if c.text != "" {
					_, err := p.Add(Source{Name: "bad", Chunk: "=bad", Text: c.text})
					return err
				}
				return p.Start()
			}()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestInitWorkerMayFail(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"raises", "local function deep() error('no') end\ndeep()", "init_worker_by_lua error: w:1: no\nstack traceback:\n"},
		{"waits", "ngx.sleep(1)", "init_worker_by_lua error: w:1: API disabled in the context of init_worker_by_lua*\n"},
		{"runs away", "while true do end", "execution time limit exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			var log strings.Builder
			p, scripts := testPool(t, Options{
				InitBudget: 20 * time.Millisecond,
				InitWorker: Source{Name: "w", Chunk: "=w", Text: c.text},
				Log: func(_ *Slot, level int, line []byte) {
					mu.Lock()
					defer mu.Unlock()
					fmt.Fprintf(&log, "[%d] %s\n", level, line)
				},
			}, `ngx.print("served")`)
			s := pinned(t, p)
			finish(s, s.Start(scripts[0], PhaseContent, nil))
			mu.Lock()
			defer mu.Unlock()
			if got := string(s.Output()); got != "served" || !strings.Contains(log.String(), c.want) {
				t.Errorf("printed %q, logged %q", got, log.String())
			}
		})
	}
}

func TestWorkers(t *testing.T) {
	p, scripts := testPool(t, Options{
		Workers: 2, WorkerBase: 3, WorkerCount: 7, Prefix: "/etc/perigee/",
		Path: "/one/?.lua;;", CPath: "/two/?.so",
		Init:       Source{Name: "init", Chunk: "=init", Text: `first = tostring(ngx.worker.id()) .. ngx.get_phase()`},
		InitWorker: Source{Name: "init_worker", Chunk: "=init_worker", Text: `second = ngx.worker.id() .. ngx.get_phase()`},
	}, `local w = ngx.worker
		error(table.concat({first, second, w.id(), w.count(), #w.pids(), tostring(w.pid() == w.pids()[1]),
			tostring(w.exiting()), ngx.config.prefix(), ngx.config.subsystem, tostring(ngx.config.debug),
			package.path:match("^[^;]*"), package.cpath, tostring(package.path:find("%./%?%.lua") ~= nil)}, " "), 0)`)
	for hint, want := range []string{
		"nilinit 3init_worker 3 7 7 true false /etc/perigee/ http false /one/?.lua /two/?.so true",
		"nilinit 4init_worker 4 7 7 true false /etc/perigee/ http false /one/?.lua /two/?.so true",
	} {
		s, err := p.Pin(uint64(hint))
		if err != nil {
			t.Fatal(err)
		}
		if out := s.Start(scripts[0], PhaseAccess, nil); out.Err == nil || out.Err.Message != want {
			t.Errorf("got %v\nwant %s", out.Err, want)
		}
		s.Release()
	}
	p.SetExiting()
	s := pinned(t, p)
	if out := s.Start(scripts[0], PhaseAccess, nil); !strings.Contains(out.Err.Message, " true true ") {
		t.Errorf("got %v", out.Err)
	}
}

// A retired VM's place goes to the spare, with its worker id and init_worker.
func TestSpareTakesThePlace(t *testing.T) {
	p, scripts := testPool(t, Options{
		Workers: 1, WorkerBase: 5, WorkerCount: 6, MemoryLimit: 16 << 20, Log: func(*Slot, int, []byte) {},
		InitWorker: Source{Name: "w", Chunk: "=w", Text: `seen = ngx.worker.id()`},
	}, `kept = {} for i = 1, 1e9 do kept[i] = {i} end`, `error(tostring(seen), 0)`)
	for range 3 {
		waitForSpare(t, p)
		before := p.places[0].Load()
		s := pinned(t, p)
		if out := s.Start(scripts[0], PhaseAccess, nil); out.Kind != Failed || out.Err.Kind != ErrMemory {
			t.Fatalf("%+v", out)
		}
		s2 := pinned(t, p)
		if s2.vm == before {
			t.Fatal("the retired VM got a new exchange")
		}
		if out := s2.Start(scripts[1], PhaseAccess, nil); out.Err == nil || out.Err.Message != "5" {
			t.Errorf("worker id seen: %v", out.Err)
		}
	}
	if st := p.Stats(); st.Retired != 3 {
		t.Errorf("retired %d", st.Retired)
	}
}

func TestCloseWaitsForSlots(t *testing.T) {
	p, scripts := testPool(t, Options{Workers: 2}, `ngx.sleep(0)`)
	a, b := pinned0(t, p, 0), pinned0(t, p, 1)
	out := a.Start(scripts[0], PhaseAccess, nil)
	p.Close()
	if _, err := p.Pin(0); !errors.Is(err, ErrClosed) {
		t.Errorf("Pin after Close: %v", err)
	}
	select {
	case <-p.Done():
		t.Fatal("done with slots in use")
	case <-time.After(20 * time.Millisecond):
	}
	if out = a.Resume(out.Op, nil); out.Kind != Done {
		t.Errorf("an old exchange: %v", out.Err)
	}
	a.Release()
	b.Release()
	select {
	case <-p.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("not done")
	}
}

func pinned0(t testing.TB, p *Pool, hint uint64) *Slot {
	t.Helper()
	s, err := p.Pin(hint)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuspendedCap(t *testing.T) {
	p, scripts := testPool(t, Options{Workers: 2, MaxSuspended: 3}, `ngx.sleep(1)`)
	for i := range 6 {
		s := pinned(t, p)
		if out := s.Start(scripts[0], PhaseAccess, nil); out.Kind != Wait {
			t.Fatalf("exchange %d: %+v", i, out)
		}
	}
	if _, err := p.Pin(0); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
}

func TestPinSpreads(t *testing.T) {
	p, scripts := testPool(t, Options{Workers: 2}, `local x = 0 for i = 1, 1e4 do x = x + i end`)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				s := pinned0(t, p, 0)
				if out := s.Start(scripts[0], PhaseAccess, nil); out.Kind != Done {
					t.Error(out.Err)
				}
				s.Release()
			}
		})
	}
	wg.Wait()
	st := p.Stats()
	if st.Scripts[0].Runs != 8000 || st.Scripts[0].Seconds <= 0 {
		t.Errorf("%+v", st.Scripts[0])
	}
	for _, vm := range st.VMs {
		if vm.Slots != 0 || vm.LockedSeconds <= 0 || vm.Memory == 0 {
			t.Errorf("%+v", vm)
		}
	}
}

func TestLog(t *testing.T) {
	type line struct {
		slot  *Slot
		level int
		text  string
	}
	var mu sync.Mutex
	var got []line
	p, scripts := testPool(t, Options{
		LogLevel: LevelInfo,
		Log: func(s *Slot, level int, text []byte) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, line{s, level, string(text)})
		},
	}, `ngx.log(ngx.ERR, "a", 1, nil, true, setmetatable({}, {__tostring = function() return "T" end}))
local function named() ngx.log(ngx.INFO, 1.5) end
named()
print("p", 2)
ngx.log(ngx.DEBUG, "dropped")`,
		`ngx.log(99, "x")`, `ngx.log("x", "x")`, `ngx.log(ngx.ERR, {})`, `ngx.log(ngx.ERR, print)`,
		`undeclared = 1 undeclared = 2`,
		`for i = 1, 1000 do ngx.log(ngx.ERR, string.rep("x", 5000)) end`)
	s := pinned(t, p)
	s.Start(scripts[0], PhaseAccess, nil)
	want := []line{
		{s, LevelErr, "[lua] script0:1: a1niltrueT"}, {s, LevelInfo, "[lua] script0:2: named(): 1.5"}, {s, LevelNotice, "[lua] script0:4: p2"},
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("line %d: %v, want %v", i, got, want)
		}
	}
	if len(got) != len(want) {
		t.Errorf("more lines: %v", got[3:])
	}
	for i, message := range []string{
		"script1:1: bad argument #1 to 'log' (bad log level: 99)",
		"script2:1: bad argument #1 to 'log' (number expected, got string)",
		"bad argument #1 to 'log' (expected table to have __tostring metamethod)",
		"bad argument #1 to 'log' (string, number, boolean, or nil expected, got function)",
	} {
		if out := s.Start(scripts[1+i], PhaseAccess, nil); out.Err == nil || !strings.HasSuffix(out.Err.Message, message) {
			t.Errorf("got %v, want %q", out.Err, message)
		}
	}
	got = nil
	s.Start(scripts[5], PhaseAccess, nil)
	if len(got) != 1 || !strings.Contains(got[0].text, "writing a global Lua variable ('undeclared')") ||
		!strings.Contains(got[0].text, "script5:1:") {
		t.Errorf("guard: %v", got)
	}
	got = nil
	s.Start(scripts[6], PhaseAccess, nil)
	if n := len(got); n < 50 || n > 80 || len(got[0].text) != 4096 || !strings.HasPrefix(got[n-1].text, "log lines of one run dropped: ") {
		t.Errorf("%d lines, the last %q", n, got[len(got)-1].text)
	}
}
