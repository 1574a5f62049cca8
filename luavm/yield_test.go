//go:build cgo && luajit

package luavm

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Thousands of exchanges on one VM, each waiting in generators inside pcall,
// between yields of its own, in metamethods and iterators.
func TestManyWaitOnOneVM(t *testing.T) {
	p, scripts := testPool(t, Options{}, `
local function leaf(n) ngx.sleep(n) return 7 end
local id = tostring(ngx.ctx)
ngx.ctx.id = id
local sum = 0
local ok, err = pcall(function()
  local gen = coroutine.wrap(function()
    for i = 1, 3 do
      local ok, r = pcall(leaf, 0.001 * i)
      assert(ok and r == 7)
      coroutine.yield(i * r)
    end
  end)
  for v in gen do sum = sum + v; ngx.sleep(0.002) end
end)
assert(ok, err)
assert(sum == 42, sum)
local ok, e = pcall(function() ngx.sleep(0.001) error("boom") end)
assert(not ok and e:find("boom"))
local ok, tb = xpcall(function() ngx.sleep(0.001) local x = nil; return x.y end, debug.traceback)
assert(not ok and tb:find("attempt to index local 'x'"), tb)
local m = setmetatable({}, {
  __index = function() ngx.sleep(0.001) return 5 end,
  __lt = function() ngx.sleep(0.001) return true end,
  __call = function(_, a) ngx.sleep(0.001) return a end,
})
assert(m.x == 5 and m < m and m(3) == 3)
for x in function(_, i) ngx.sleep(0.001) if not i then return 1 end end do sum = sum + x end
assert(sum == 43)
assert(ngx.ctx.id == id)`)
	n := 5000
	if testing.Short() {
		n = 500
	}
	var waiting, peak atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			s, err := p.Pin(0)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Release()
			out := s.Start(scripts[0], PhaseContent, nil)
			for out.Kind == Wait {
				if out.Op.Kind != OpSleep {
					t.Errorf("op %d", out.Op.Kind)
				}
				peak.Store(max(peak.Load(), waiting.Add(1)))
				time.Sleep(time.Duration(out.Op.Seconds * 1e9))
				waiting.Add(-1)
				out = s.Resume(out.Op, nil)
			}
			if out.Kind != Done {
				t.Error(out.Err, out.Err.Traceback)
			}
		})
	}
	wg.Wait()
	st := p.Stats()
	t.Logf("up to %d waited at once; %d bytes of Lua heap at most", peak.Load(), st.VMs[0].Peak)
	if st.Scripts[0].Runs != uint64(n) || st.VMs[0].Slots != 0 || st.VMs[0].Suspended != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestWaitsAcrossC(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"table.sort", `table.sort({3, 2, 1}, function(a, b) ngx.sleep(0) return a < b end)`},
		{"gsub", `("abc"):gsub(".", function() ngx.sleep(0) end)`},
		{"require", `package.preload.m1 = function() ngx.sleep(0) return 1 end require "m1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, Options{}, c.text)
			s := pinned(t, p)
			out := finish(s, s.Start(scripts[0], PhaseContent, nil))
			if out.Kind != Failed || !strings.Contains(out.Err.Message, "attempt to yield across C-call boundary") {
				t.Errorf("%+v %v", out, out.Err)
			}
		})
	}
}

// Handlers of one slot that wait are resumed in any order, each by its op, and
// from any thread.
func TestHandlersOfOneSlot(t *testing.T) {
	p, scripts := testPool(t, Options{},
		`ngx.ctx.trace = "" ngx.sleep(1) ngx.ctx.trace = ngx.ctx.trace .. "content:" .. ngx.get_phase() .. " "`,
		`ngx.ctx.trace = ngx.ctx.trace .. "first "
		 coroutine.wrap(function() ngx.exit(ngx.OK) end)()`,
		`ngx.sleep(2) ngx.ctx.trace = ngx.ctx.trace .. "access:" .. ngx.get_phase() .. " "`,
		`error(ngx.ctx.trace, 0)`)
	s := pinned(t, p)
	content := s.Start(scripts[0], PhaseContent, nil)
	access := s.Start(scripts[2], PhaseAccess, nil)
	if content.Kind != Wait || access.Kind != Wait || content.Op == access.Op {
		t.Fatalf("%+v %+v", content, access)
	}
	if content.Op.Seconds != 1 || access.Op.Seconds != 2 {
		t.Errorf("seconds %v and %v", content.Op.Seconds, access.Op.Seconds)
	}
	if out := s.Start(scripts[1], PhaseAccess, nil); out.Kind != Exit || out.Status != 0 {
		t.Fatalf("%+v %v", out, out.Err)
	}
	copied := *access.Op // a copy does as well
	done := make(chan Outcome)
	go func() { done <- s.Resume(&copied, nil) }()
	if out := <-done; out.Kind != Done {
		t.Fatalf("%+v %v", out, out.Err)
	}
	go func() { done <- s.Resume(content.Op, nil) }()
	if out := <-done; out.Kind != Done {
		t.Fatalf("%+v %v", out, out.Err)
	}
	out := s.Start(scripts[3], PhaseLog, nil)
	if want := "first access:access content:content "; out.Err == nil || out.Err.Message != want {
		t.Errorf("trace %v, want %q", out.Err, want)
	}
}

// A slot that is released while handlers wait is as good as new.
func TestReleaseDropsHandlers(t *testing.T) {
	p, scripts := testPool(t, Options{},
		`assert(not ngx.ctx.seen) ngx.ctx.seen = true
		 local g = coroutine.wrap(function() ngx.sleep(1) error("resumed") end) g()`)
	for range 50 {
		s, err := p.Pin(0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if out := s.Start(scripts[0], PhaseContent, nil); (out.Kind == Wait) != (i == 0) {
				t.Fatalf("start %d: %+v %v", i, out, out.Err)
			}
		}
		s.Release()
	}
	if st := p.Stats().VMs[0]; st.Suspended != 0 || st.Slots != 0 {
		t.Errorf("%+v", st)
	}
}

func TestContextsAreApart(t *testing.T) {
	p, scripts := testPool(t, Options{},
		`local a = ngx.ctx.mark ngx.ctx.mark = tostring(ngx.ctx) if a then error("found " .. a, 0) end`,
		`ngx.ctx = {mark = "set"}`,
		`assert(ngx.ctx.mark) local first = ngx.ctx assert(first == ngx.ctx)`,
		`local ok, err = pcall(function() ngx.ctx = 5 end) error(err, 0)`)
	var open []*Slot
	for i := range 200 {
		s, err := p.Pin(uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		if out := s.Start(scripts[i%2], PhaseRewrite, nil); out.Kind != Done {
			t.Fatalf("exchange %d: %v", i, out.Err)
		}
		open = append(open, s)
		if i%3 == 0 { // give some seats back to be taken again
			open[i/3].Release()
			open[i/3] = nil
		}
	}
	for _, s := range open {
		if s == nil {
			continue
		}
		if out := s.Start(scripts[2], PhaseLog, nil); out.Kind != Done {
			t.Fatal(out.Err)
		}
		s.Release()
	}
	s := pinned(t, p)
	if out := s.Start(scripts[3], PhaseLog, nil); out.Err == nil || !strings.Contains(out.Err.Message, "ctx should be a table while getting a number") {
		t.Errorf("%v", out.Err)
	}
}

func TestCoroutines(t *testing.T) {
	for i, c := range []struct{ text, want string }{
		{`local co = coroutine.create(function() end) return coroutine.status(co)`, "suspended"},
		{`local co = coroutine.create(function() end) coroutine.resume(co) return coroutine.status(co)`, "dead"},
		{`return coroutine.status(coroutine.running())`, "running"},
		{`return select("#", coroutine.resume(coroutine.create(function() end)))`, "1"},
		{`return select("#", coroutine.wrap(function() end)())`, "0"},
		{`return type(coroutine.running())`, "thread"},
		{`local co co = coroutine.create(function() return coroutine.resume(co) end) return select(3, coroutine.resume(co))`,
			"cannot resume running coroutine"},
		{`local me = coroutine.running() return select(3, coroutine.resume(coroutine.create(function() return coroutine.resume(me) end)))`,
			"cannot resume normal coroutine"},
		{`local co = coroutine.create(function() error("x", 0) end) coroutine.resume(co) return select(2, coroutine.resume(co))`,
			"cannot resume dead coroutine"},
		{`local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end)
		  local _, x = coroutine.resume(co, 1) local _, y = coroutine.resume(co, 10) return x .. " " .. y`, "2 20"},
		{`return select("#", coroutine.wrap(function() return nil, nil, nil end)())`, "3"},
		{`return select(2, pcall(coroutine.wrap(function() error({code = 5}) end))).code`, "5"},
		{`return select(2, pcall(coroutine.create, 1))`, "bad argument #1 to 'create' (Lua function expected)"},
		{`return select(2, pcall(coroutine.resume, 1))`, "bad argument #1 to 'resume' (coroutine expected)"},
		{`return select(2, pcall(require, "no.such")):match("^module '[^']+' not found")`, "module 'no.such' not found"},
		{`return tostring(require "ngx" == ngx and require "coroutine" == coroutine)`, "true"},
		{`return type(newproxy) .. type(unsafe_pcall) .. type(golua_default_msghandler)`, "nilnilnil"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			p, scripts := testPool(t, Options{}, "local function f() "+c.text+" end error(tostring(f()), 0)")
			s := pinned(t, p)
			out := finish(s, s.Start(scripts[0], PhaseContent, nil))
			if out.Kind != Failed || out.Err.Message != c.want {
				t.Errorf("%s\ngot %v, want %q", c.text, out.Err, c.want)
			}
		})
	}
}
