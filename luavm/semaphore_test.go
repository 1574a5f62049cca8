//go:build cgo && luajit

package luavm

import (
	"sync"
	"testing"
)

const newSemaphore = `sem = require("ngx.semaphore").new(`

var semaphoreCases = []struct{ name, text, want string }{
	{"counts down", `
local s = semaphore.new(2) t = {s:wait(0), s:wait(0), s:wait(0)} t[5] = s:count()`, "true true nil timeout 0"},
	{"post wakes", `
local s = semaphore.new() local co = ngx.thread.spawn(function() t[2] = s:wait(10) end)
t[1] = s:count() s:post() t[4] = s:count() ngx.thread.wait(co) t[3] = s:count()`, "-1 true 0 0"},
	{"first come, first served", `
local s = semaphore.new() for i = 1, 3 do ngx.thread.spawn(function() s:wait(10) t[#t + 1] = i end) end
for i = 1, 3 do s:post() repeat ngx.sleep(0.001) until t[#t] == i t[#t + 1] = s:count() end`, "1 -2 2 -1 3 0"},
	{"several at once", `
local s = semaphore.new() for i = 1, 3 do ngx.thread.spawn(function() s:wait(10) t[i] = i end) end
s:post(2) repeat ngx.sleep(0.001) until t[1] and t[2] t[4] = s:count() s:post()`, "1 2 3 -1"},
	{"nobody overtakes", `
local s = semaphore.new() ngx.thread.spawn(function() s:wait(10) t[2] = "first" end)
s:post() t[1] = tostring(s:wait(0)) repeat ngx.sleep(0.001) until t[2]`, "nil first"},
	{"timeout", `
local s = semaphore.new() t = {s:wait(0.002)} t[3] = s:count()`, "false timeout 0"},
	{"timed out waiters take nothing", `
local s = semaphore.new() ngx.thread.wait(ngx.thread.spawn(function() s:wait(0.001) end))
s:post() t[1] = s:count() t[2] = s:wait(0)`, "1 true"},
	{"killed waiters take nothing", `
local s = semaphore.new() local co = ngx.thread.spawn(function() s:wait(10) t[1] = "never" end)
ngx.thread.spawn(function() s:wait(10) t[2] = "second" end)
ngx.thread.kill(co) t[1] = s:count() s:post() repeat ngx.sleep(0.001) until t[2]`, "-1 second"},
	{"killed after it was woken", `
local s = semaphore.new() local co = ngx.thread.spawn(function() s:wait(10) t[1] = "never" end)
ngx.thread.spawn(function() t[2] = s:wait(10) end)
s:post() t[1] = ngx.thread.kill(co) repeat ngx.sleep(0.001) until t[2] ~= nil t[3] = s:count()`, "1 true 0"},
	{"killed before anybody heard of its wait, and its place is another's", `
local s = semaphore.new() local co = ngx.thread.spawn(function() s:wait(10) end)
s:post() ngx.thread.kill(co)
local began = ngx.now() local slept = ngx.thread.spawn(function() ngx.sleep(0.03) ngx.update_time() t[1] = ngx.now() - began >= 0.025 end)
ngx.thread.wait(slept) t[2] = s:count()`, "true 1"},
	{"errors", `
local s = semaphore.new() local function e(f, ...) t[#t + 1] = (select(2, pcall(f, ...)):gsub("^.-:%d+: ", "")) .. ";" end
e(semaphore.new, -1) e(s.wait, {}, 1) e(s.post, nil) e(s.count, s.sem) e(s.wait, s, -1) e(s.post, s, 0)`,
		"no negative number; not a semaphore instance; not a semaphore instance; not a semaphore instance; no negative number; positive number required;"},
	{"in coroutines", `
local s = semaphore.new() local co = coroutine.wrap(function() coroutine.yield(s:wait(1)) end)
ngx.thread.spawn(function() ngx.sleep(0.001) s:post() end) t[1] = co()`, "true"},
}

func TestSemaphores(t *testing.T) {
	for _, c := range semaphoreCases {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, Options{}, "local t, semaphore = {}, require 'ngx.semaphore'\n"+c.text+"\nngx.ctx.t = t",
				`local s = {} for i, v in ipairs(ngx.ctx.t) do s[i] = tostring(v) end for i = 1, table.maxn(ngx.ctx.t) do s[i] = tostring(ngx.ctx.t[i]) end error(table.concat(s, " "), 0)`)
			s := pinned(t, p)
			if out := s.drive(s.Start(scripts[0], PhaseContent, nil)); out.Kind != Done {
				t.Fatalf("%+v %v", out, out.Err)
			}
			out := s.Start(scripts[1], PhaseLog, nil)
			if out.Err == nil || out.Err.Message != c.want {
				t.Errorf("%v, want %q", out.Err, c.want)
			}
		})
	}
}

func TestSemaphoreWherePhasesCannotWait(t *testing.T) {
	p, scripts := testPool(t, Options{}, `error(tostring(select(2, require("ngx.semaphore").new(1):wait(1))), 0)`)
	s := pinned(t, p)
	for _, phase := range []Phase{PhaseHeaderFilter, PhaseBodyFilter, PhaseLog} {
		out := s.Start(scripts[0], phase, nil)
		if want := "API disabled in the context of " + phase.String() + "_by_lua*"; out.Err == nil || out.Err.Message != want {
			t.Errorf("%v, want %q", out.Err, want)
		}
	}
}

// One semaphore as the lock of many exchanges, some of which end while they
// wait or the moment they get it. Nothing is lost, nobody is in twice.
func TestSemaphoreAcrossExchanges(t *testing.T) {
	p, scripts := testPool(t, Options{Init: Source{Name: "init", Chunk: "=init", Text: newSemaphore + "1) inside, turns = 0, 0"}}, `
if not sem:wait(10) then error("timeout") end
inside = inside + 1
if inside > 1 then error("two are inside") end
ngx.sleep(0)
inside = inside - 1
turns = turns + 1
sem:post()`, `
ngx.thread.spawn(function() if sem:wait(10) then sem:post() end end)
ngx.sleep(0.0001) ngx.exit(200)`, `error(sem:count() .. " " .. turns, 0)`)
	var all sync.WaitGroup
	const users, turns = 8, 40
	for g := range users {
		all.Go(func() {
			for i := range turns {
				s, err := p.Pin(uint64(g))
				if err != nil {
					t.Error(err)
					return
				}
				sc, want := scripts[0], Done
				if g%2 == 1 {
					sc, want = scripts[1], Exit
				}
				if out := s.drive(s.Start(sc, PhaseContent, nil)); out.Kind != want {
					t.Errorf("turn %d: %+v %v", i, out, out.Err)
				}
				s.Release()
			}
		})
	}
	all.Wait()
	s := pinned(t, p)
	until(t, "all given back", func() bool {
		out := s.Start(scripts[2], PhaseLog, nil)
		return out.Err != nil && out.Err.Message == "1 160"
	})
}

// A waiter whose exchange is dropped after it was woken.
func TestSemaphoreOfADroppedExchange(t *testing.T) {
	p, scripts := testPool(t, Options{Init: Source{Name: "init", Chunk: "=init", Text: newSemaphore + ")"}},
		`sem:wait(100)`, `sem:post()`, `error(sem:count(), 0)`)
	dropped, err := p.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	out := dropped.Start(scripts[0], PhaseContent, nil)
	if out.Kind != Wait || out.Op.Kind != OpSemaphore {
		t.Fatalf("%+v", out)
	}
	s := pinned(t, p)
	s.Start(scripts[1], PhaseContent, nil)
	Perform(out.Op)
	if out.Op.Result != ResultOK {
		t.Errorf("woken with %d", out.Op.Result)
	}
	dropped.Release()
	until(t, "given back", func() bool {
		out := s.Start(scripts[2], PhaseLog, nil)
		return out.Err != nil && out.Err.Message == "1"
	})
}

func BenchmarkSemaphore(b *testing.B) {
	p, scripts := testPool(b, Options{}, `
local sem = require("ngx.semaphore").new()
ngx.thread.spawn(function() sem:wait(1) end) sem:post()`)
	s := pinned(b, p)
	b.ReportAllocs()
	for b.Loop() {
		s.drive(s.Start(scripts[0], PhaseContent, nil))
	}
}
