//go:build cgo && luajit

package luavm

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// runaways are handlers that do not end by themselves. Those marked hard may
// cost their VM: LuaJIT gives no chance to end them as a Lua error.
var runaways = []struct {
	name, text string
	hard       bool
}{
	{"interpreted loop", `local f = function() while true do end end jit.off(f) f()`, false},
	{"compiled empty loop", `while true do end`, false},
	{"compiled numeric loop", `local s = 0 while true do for i = 1, 1e9 do s = s + i * 3 end end`, false},
	{"tables", `while true do local t = {1, 2} for i = 1, 100 do t[i] = {i} end end`, false},
	{"concatenation", `local i = 0 while true do i = i + 1 local s = "a" .. i end`, false},
	{"pcall swallows", `while true do pcall(function() while true do end end) end`, false},
	{"pcall of error", `while true do pcall(error, "x") end`, false},
	{"pcall of a Lua error", `while true do pcall(function() local x = nil; return x.y end) end`, false},
	{"pattern", `return string.find(string.rep("a", 40), string.rep("a?", 40) .. string.rep("a", 40))`, true},
	{"pattern on a long string", `return string.find(string.rep("a", 50000), ".-.-.-.-b")`, true},
	{"long strings", `while true do local s = string.rep("x", 2e7) end`, true},
	{"sort with a bad order", `local t = {} for i = 1, 1e5 do t[i] = math.random() end
		while true do pcall(table.sort, t, function(a, b) return math.random() < 0.5 end) end`, true},
	{"malloc over ffi", `local ffi = require "ffi" ffi.cdef "void *malloc(size_t); void free(void*);"
		while true do local p = ffi.C.malloc(100) ffi.C.free(p) end`, true},
	{"os.date", `while true do local d = os.date("%Y-%m-%d") end`, true},
	{"loadstring", `local i = 0 while true do i = i + 1 loadstring("return " .. i)() end`, false},
	{"closures", `while true do local x = 1 local f = function() return x end f() end`, false},
	{"coroutines", `while true do local g = coroutine.wrap(function() coroutine.yield(1) end) g() end`, false},
	{"loop in a coroutine", `coroutine.wrap(function() while true do end end)()`, false},
	{"full collections", `while true do collectgarbage() end`, true},
	{"xpcall handler", `xpcall(error, function() while true do end end)`, false},
	{"tostring", `local i = 0 while true do i = i + 0.1 local s = tostring(i) end`, false},
	{"top-level yields", `while true do coroutine.yield() end`, false},
	{"regular expression", `return ngx.re.match(string.rep("a", 60) .. "!", "^(a+)+$")`, false},
	{"compiled regular expression", `return ngx.re.match(string.rep("a", 60) .. "!", "^(a+)+$", "jo")`, false},
	{"expression without captures", `return ngx.re.find(string.rep("a", 4e5), "(?:a|a)*?b|x", "d")`, false},
	{"expressions one after the other", `while true do pcall(ngx.re.find, string.rep("a", 60) .. "!", "^(a+)+$", "jo") end`, false},
	{"expression of many matches", `local s = string.rep("a", 1e7)
		while true do ngx.re.gsub(s, "a", "", "jo") end`, false},
	{"expressions compiled", `local i = 0 while true do i = i + 1 ngx.re.find("a", "(a){1000}" .. i, "j") end`, false},
	{"expressions kept", `local i = 0 while true do i = i + 1 ngx.re.find("a", "(a){100}" .. i, "jo") end`, false},
	// No hooks in finalizers: a jump alone ends this one.
	{"finalizer", `local ffi = require "ffi" ffi.gc(ffi.new("int[1]"), function() while true do end end)
		collectgarbage()`, true},
	{"plain find", `local s = string.rep("x", 1e6)
		while true do string.find(s, string.rep("x", 2e5) .. "y", 1, true) end`, true},
}

func TestRunawaysEnd(t *testing.T) {
	if !Jumps() {
		t.Fatal("the watchdog cannot jump: make deps prepares the libraries for it, for amd64 and arm64")
	}
	texts := make([]string, len(runaways), len(runaways)+1)
	for i, r := range runaways {
		texts[i] = r.text
	}
	texts = append(texts, `good = (good or 0) + 1`)
	p, scripts := testPool(t, Options{
		CPUBudget: 5 * time.Millisecond, MemoryLimit: 128 << 20, RegexLimit: 1 << 31,
		Log: func(*Slot, int, []byte) {},
	}, texts...)
	for i, r := range runaways {
		t.Run(r.name, func(t *testing.T) {
			s, err := p.Pin(0)
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			out := s.Start(scripts[i], PhaseAccess, nil)
			s.Release()
			if out.Kind != Failed {
				t.Fatalf("ended as %+v", out)
			}
			t.Logf("%s after %v: %s", out.Err.Kind, time.Since(begin).Round(time.Millisecond), out.Err.Message)
			switch out.Err.Kind {
			case ErrBudget:
				if !strings.Contains(out.Err.Message, "execution time limit exceeded") {
					t.Errorf("message %q", out.Err.Message)
				}
				if r.name == "compiled empty loop" && !strings.HasPrefix(out.Err.Message, "script1:1: ") {
					t.Errorf("message %q", out.Err.Message)
				}
			case ErrMemory:
			case ErrLost:
				if Hardened() && !r.hard {
					t.Errorf("the VM was lost")
				}
			default:
				t.Errorf("kind %s", out.Err.Kind)
			}
			for range 20 {
				s, err := p.Pin(0)
				for err != nil { // no spare was ready
					time.Sleep(time.Millisecond)
					s, err = p.Pin(0)
				}
				if out := s.Start(scripts[len(runaways)], PhaseAccess, nil); out.Kind != Done {
					t.Fatalf("the next exchange: %v", out.Err)
				}
				s.Release()
			}
		})
	}
}

// threadTime is the CPU time of this thread so far.
func threadTime(t *testing.T) time.Duration {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &at); err != nil {
		t.Error(err)
	}
	return time.Duration(at.Nano())
}

// Innocent exchanges on several VMs must not notice that others are ended,
// abandoned and replaced beside them, with Go's collector running all along. One is
// innocent unless its thread has used up the budget: a host that takes a core away
// for a while counts that as the thread's.
func TestRunawaysBesideOthers(t *testing.T) {
	texts := []string{`local n = 0 for i = 1, 200 do n = n + #tostring(i) end ngx.sleep(0) return n`}
	for _, r := range runaways {
		texts = append(texts, r.text)
	}
	const budget = 5 * time.Millisecond
	p, scripts := testPool(t, Options{
		Workers: 3, CPUBudget: budget, MemoryLimit: 64 << 20, RegexLimit: 1 << 31,
		Log: func(*Slot, int, []byte) {},
	}, texts...)
	end := time.Now().Add(2 * time.Second)
	if testing.Short() {
		end = time.Now().Add(500 * time.Millisecond)
	}
	var good, bad, unlucky atomic.Int64
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			runtime.LockOSThread() // what the thread uses is its scripts'
			defer runtime.UnlockOSThread()
			for i := g; time.Now().Before(end); i++ {
				s, err := p.Pin(uint64(i))
				if err != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				sc := scripts[0]
				if g < 2 {
					sc = scripts[1+i%len(runaways)]
				}
				before := threadTime(t)
				out := finish(s, s.Start(sc, PhaseAccess, nil))
				switch {
				case g < 2:
					bad.Add(1)
				case out.Kind == Done:
					good.Add(1)
				case out.Kind == Failed && out.Err.Kind == ErrLost:
					unlucky.Add(1) // shared its VM with one that was abandoned
				case out.Kind == Failed && out.Err.Kind == ErrBudget && threadTime(t)-before >= budget:
					unlucky.Add(1)
				default:
					t.Errorf("innocent exchange: %+v %v", out, out.Err)
				}
				s.Release()
			}
		})
	}
	wg.Go(func() {
		for time.Now().Before(end) {
			runtime.GC()
			time.Sleep(2 * time.Millisecond)
		}
	})
	wg.Wait()
	st := p.Stats()
	t.Logf("good %d, ended %d, unlucky %d, VMs lost %d, retired %d", good.Load(), bad.Load(), unlucky.Load(), st.Lost, st.Retired)
	if good.Load() == 0 || bad.Load() == 0 {
		t.Error("nothing happened")
	}
	if len(st.VMs) == 0 || len(st.VMs) > 3 {
		t.Errorf("%d VMs serve, want 3", len(st.VMs))
	}
}

// TestBudgetPosition: the error of a loop names the loop, though pcall caught it
// and it was raised anew behind that.
func TestBudgetPosition(t *testing.T) {
	p, scripts := testPool(t, Options{CPUBudget: 5 * time.Millisecond}, `local ok
		ok = pcall(function()
			while true do ok = not ok end
		end)
		for i = 1, 1e9 do ok = i end`)
	s := pinned(t, p)
	out := s.Start(scripts[0], PhaseAccess, nil)
	if out.Kind != Failed {
		t.Fatalf("%+v", out)
	}
	if Hardened() && (out.Err.Kind != ErrBudget || !strings.HasPrefix(out.Err.Message, "script0:3: ")) {
		t.Errorf("%s: %s", out.Err.Kind, out.Err.Message)
	}
}
