//go:build cgo && luajit

package luavm

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What light threads do is written down in ngx.ctx.t and compared.
var threadCases = []struct{ name, text, want string }{
	{"child runs before its parent goes on", `
t = {} ngx.thread.spawn(function() t[1] = "child" end) t[2] = "parent"`, "child parent"},
	{"child runs until it waits", `
t = {} local co = ngx.thread.spawn(function() t[1] = "a" ngx.sleep(0) t[3] = "c" end) t[2] = "b"
ngx.thread.wait(co)`, "a b c"},
	{"handler waits for its children", `
t = {"x"} ngx.thread.spawn(function() ngx.sleep(0.005) t[2] = "late" end)`, "x late"},
	{"wait returns what the thread returned", `
local ok, a, b = ngx.thread.wait(ngx.thread.spawn(function(...) ngx.sleep(0) return ... end, 1, nil))
t = {tostring(ok), tostring(a), tostring(b)}`, "true 1 nil"},
	{"wait for the first of several", `
local function f(s, v) ngx.sleep(s) return v end
local _, v = ngx.thread.wait(ngx.thread.spawn(f, 0.05, "slow"), ngx.thread.spawn(f, 0.001, "fast"))
t = {v}`, "fast"},
	{"errors end the thread alone", `
local ok, e = ngx.thread.wait(ngx.thread.spawn(function() ngx.sleep(0) error("boom", 0) end))
t = {tostring(ok), e}`, "false boom"},
	{"killed while it waits", `
local co = ngx.thread.spawn(function() ngx.sleep(100) t[1] = "resumed" end)
t = {} t[1] = tostring(ngx.thread.kill(co)) t[2] = coroutine.status(co)
t[3] = select(2, ngx.thread.kill(co))`, "1 dead already waited or killed"},
	{"killed while it is ready", `
t = {} local co = ngx.thread.spawn(function() coroutine.yield() t[1] = "resumed" end)
t[1] = tostring(ngx.thread.kill(co)) ngx.sleep(0.001)`, "1"},
	{"zombie until it was waited for", `
local co = ngx.thread.spawn(function() end)
t = {coroutine.status(co)} ngx.thread.wait(co) t[2] = coroutine.status(co)
t[3] = select(2, ngx.thread.wait(co))`, "zombie dead already waited or killed"},
	{"running while it waits", `
local co = ngx.thread.spawn(ngx.sleep, 0.001) t = {coroutine.status(co)} ngx.thread.wait(co)`, "running"},
	{"normal while what it resumed waits", `
local co, inner co = ngx.thread.spawn(function()
  inner = coroutine.create(function() ngx.sleep(0.001) coroutine.yield() end) coroutine.resume(inner) ngx.sleep(0.001) end)
t = {coroutine.status(co), coroutine.status(inner), select(2, coroutine.resume(inner)), select(2, coroutine.resume(co))}
ngx.thread.wait(co) t[5] = coroutine.status(inner)`,
		"normal running cannot resume running coroutine cannot resume normal coroutine suspended"},
	{"parents are running to their children", `
local me = coroutine.running() ngx.thread.spawn(function() t = {coroutine.status(me)} end) t[2] = coroutine.status(me)`, "running running"},
	{"threads are not resumed by scripts", `
local co = ngx.thread.spawn(function() coroutine.yield() return 1 end)
t = {select(2, coroutine.resume(co))} ngx.thread.wait(co) t[2] = select(2, coroutine.resume(co))
co = ngx.thread.spawn(function() end) t[3] = select(2, coroutine.resume(co))`,
		"cannot resume running coroutine cannot resume dead coroutine cannot resume zombie coroutine"},
	{"error's own argument, then the message with its place", `
t = {select(2, ngx.thread.wait(ngx.thread.spawn(function() ngx.sleep(0) error("boom") end)))}`, "boom script0:2: boom"},
	{"other errors with their place", `
t = {select(2, ngx.thread.wait(ngx.thread.spawn(function() local t = {} local x = t.x.y end)))}`, "script0:2: attempt to index field 'x' (a nil value)"},
	{"yield lets others run", `
t = {} ngx.thread.spawn(function() for i = 1, 3 do t[#t + 1] = "c" .. i coroutine.yield() end end)
for i = 1, 3 do t[#t + 1] = "p" .. i coroutine.yield() end`, "c1 p1 c2 p2 c3 p3"},
	{"yielding in circles lets ops complete", `
t = {} local over = false
ngx.thread.spawn(function() ngx.sleep(0.002) over = true end)
while not over do coroutine.yield() end t[1] = "over"`, "over"},
	{"threads of coroutines", `
t = {} local g = coroutine.wrap(function()
  local co = ngx.thread.spawn(function() ngx.sleep(0) return "deep" end)
  coroutine.yield(select(2, ngx.thread.wait(co)))
end) t[1] = g()`, "deep"},
	{"only parents wait", `
local co local ok, e = ngx.thread.wait(ngx.thread.spawn(function()
  co = ngx.thread.spawn(function() end) end))
t = {select(2, pcall(ngx.thread.wait, co))}`, "only the parent coroutine can wait on the thread"},
	{"only parents kill", `
local co ngx.thread.spawn(function() co = ngx.thread.spawn(ngx.sleep, 0.001) end) coroutine.yield()
t = {select(2, ngx.thread.kill(co))}`, "killer not parent"},
	{"a coroutine is no thread", `
t = {select(2, pcall(ngx.thread.wait, coroutine.create(function() end)))}`,
		"attempt to wait on a coroutine that is not a user thread"},
}

func TestThreads(t *testing.T) {
	for _, c := range threadCases {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, Options{}, "local t "+c.text+"\nngx.ctx.t = t", `error(table.concat(ngx.ctx.t, " "), 0)`)
			s := pinned(t, p)
			if out := s.drive(s.Start(scripts[0], PhaseContent, nil)); out.Kind != Done {
				t.Fatalf("%+v %v", out, out.Err)
			}
			if s.Waits() {
				t.Error("ops are out after the end")
			}
			out := s.Start(scripts[1], PhaseLog, nil)
			if out.Err == nil || out.Err.Message != c.want {
				t.Errorf("%v, want %q", out.Err, c.want)
			}
		})
	}
}

// However a handler ends, its threads end with it, and their ops come back.
func TestHandlerTakesThreadsAlong(t *testing.T) {
	for _, c := range []struct {
		name, text string
		kind       Kind
		message    string
	}{
		{"exit of the entry", `ngx.thread.spawn(ngx.sleep, 100) ngx.sleep(0.001) ngx.exit(410)`, Exit, ""},
		{"exit of a thread", `ngx.thread.spawn(function() ngx.sleep(0.001) ngx.exit(410) end) ngx.sleep(100)`, Exit, ""},
		{"exit at once in a thread", `ngx.thread.spawn(function() ngx.exit(410) end) ngx.sleep(100)`, Exit, ""},
		{"error of the entry", `ngx.thread.spawn(ngx.sleep, 100) ngx.sleep(0.001) error("e", 0)`, Failed, "e"},
		{"while one is parked", `ngx.thread.spawn(function() ngx.thread.wait(ngx.thread.spawn(ngx.sleep, 100)) end)
			ngx.sleep(0.001) ngx.exit(410)`, Exit, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, Options{}, c.text)
			s := pinned(t, p)
			for range 3 { // on the seat that the last one left
				began := time.Now()
				out := s.drive(s.Start(scripts[0], PhaseContent, nil))
				if out.Kind != c.kind || out.Err != nil && out.Err.Message != c.message {
					t.Fatalf("%+v %v", out, out.Err)
				}
				if time.Since(began) > 50*time.Second || s.Waits() {
					t.Error("ops were not cut short")
				}
			}
			if n := p.Stats().VMs[0].Suspended; n != 0 {
				t.Errorf("%d suspended", n)
			}
		})
	}
}

func TestThreadDeathIsLogged(t *testing.T) {
	var lines []string
	p, scripts := testPool(t, Options{LogLevel: LevelErr, Log: func(_ *Slot, _ int, line []byte) {
		lines = append(lines, string(line))
	}}, "local function f() error('boom') end\nngx.thread.spawn(function()\n local function g() f() end g() end)")
	s := pinned(t, p)
	s.drive(s.Start(scripts[0], PhaseContent, nil))
	const want = `lua user thread aborted: runtime error: script0:1: boom
stack traceback:
coroutine 0:
	[C]: in function 'error'
	script0:1: in function 'f'
	script0:3: in function 'g'
	script0:3: in function <script0:2>
coroutine 1:
	[C]: in function 'spawn'
	script0:2: in function <script0:1>`
	if got := strings.Join(lines, "|"); got != want {
		t.Errorf("%s", got)
	}
}

// A thousand threads of one handler, each waiting several times.
func TestManyThreads(t *testing.T) {
	p, scripts := testPool(t, Options{}, `
local n, list = 0, {}
for i = 1, 1000 do
  list[i] = ngx.thread.spawn(function()
    for j = 1, 3 do ngx.sleep(0.001 * (i % 5)) end
    n = n + 1
  end)
end
for i = 1, 1000 do assert(ngx.thread.wait(list[i])) end
assert(n == 1000)`)
	s := pinned(t, p)
	if out := s.drive(s.Start(scripts[0], PhaseContent, nil)); out.Kind != Done {
		t.Fatalf("%+v %v", out, out.Err)
	}
}

func BenchmarkSpawnAndWait(b *testing.B) {
	p, scripts := testPool(b, Options{}, `ngx.thread.wait(ngx.thread.spawn(function() end))`)
	s := pinned(b, p)
	b.ReportAllocs()
	for b.Loop() {
		s.Start(scripts[0], PhaseContent, nil)
	}
}

// However threads end, nothing of them stays once their handler has forgotten
// them.
func TestThreadsAreForgotten(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"waited for", `for i = 1, N do ngx.thread.wait(ngx.thread.spawn(work)) end`},
		{"not waited for", `for i = 1, N do ngx.thread.spawn(work) end`},
		{"killed", `for i = 1, N do ngx.thread.kill(ngx.thread.spawn(function() work() ngx.sleep(10) end)) end`},
		{"killed with children", `for i = 1, N do
  ngx.thread.kill(ngx.thread.spawn(function() local child = ngx.thread.spawn(work) local other = ngx.thread.spawn(ngx.sleep, 0) ngx.sleep(10) work(child, other) end)) end ngx.sleep(0.001)`},
		{"that know themselves", `for i = 1, N do local t t = ngx.thread.spawn(function() ngx.sleep(0) work() return #tostring(t) end) ngx.thread.wait(t) end`},
		{"left by an exit", `for i = 1, N do local t t = ngx.thread.spawn(function() ngx.sleep(10) work(t) end) end ngx.exit(200)`},
		{"failed", `for i = 1, N do ngx.thread.wait(ngx.thread.spawn(function() work() error({}) end)) end`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, Options{Log: func(*Slot, int, []byte) {}}, `
local function work(...) local x = {...} for j = 1, 50 do x[j] = {j} end return x end
local N = 300 `+c.text, `for _ = 1, 4 do collectgarbage() end error(tostring(math.floor(collectgarbage("count"))), 0)`)
			used := func() (kib int) {
				s := pinned(t, p)
				out := s.Start(scripts[1], PhaseLog, nil)
				if _, err := fmt.Sscan(out.Err.Message, &kib); err != nil {
					t.Fatal(out.Err)
				}
				return kib
			}
			run := func() {
				s, err := p.Pin(0)
				if err != nil {
					t.Fatal(err)
				}
				s.drive(s.Start(scripts[0], PhaseContent, nil))
				s.Release()
			}
			for range 6 { // until tables and pools have grown to their size
				run()
			}
			before := used()
			for range 6 {
				run()
			}
			if more := used() - before; more > 100 {
				t.Errorf("%d KiB more than the %d before", more, before)
			}
		})
	}
}

// A lock in a dictionary is freed by its holder's finalizer, as libraries do it:
// whoever held it may have been killed.
func TestLocksOfTheKilledAreFreed(t *testing.T) {
	p, scripts := testPool(t, Options{Dicts: declared(t, map[string]int64{"d": 64 << 10})}, `
local ffi = require "ffi"
local locks = {}
local lock = ffi.metatype("struct { int number; }", {__gc = function(l) ngx.shared.d:delete(locks[l.number]) end})
local function hold(name)
  assert(ngx.shared.d:add(name, true, 100))
  locks[#locks + 1] = name
  return lock(#locks)
end
local function wait(name) local l = hold(name) ngx.sleep(100) return l end
do local l = hold("forgotten") l = nil end
local a = ngx.thread.spawn(wait, "killed")
local b = ngx.thread.spawn(wait, "kept")
ngx.sleep(0) ngx.thread.kill(a) a = nil ngx.sleep(0)
for _ = 1, 3 do collectgarbage() end
local left = table.concat(ngx.shared.d:get_keys(), " ")
ngx.thread.kill(b)
error(left, 0)`)
	s := pinned(t, p)
	if out := s.drive(s.Start(scripts[0], PhaseContent, nil)); out.Err == nil || out.Err.Message != "kept" {
		t.Errorf("%v, want kept", out.Err)
	}
}
