//go:build cgo && luajit

package luavm

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// threadModule is what the functions of these tests stand in.
const threadModule = `
local M = {text = "no function", calls = 0}
function M.same(...) return ... end
function M.count(...) return select("#", ...) end
function M.fail() error("boom") end
function M.object() error({}) end
function M.inner() return {{}, {f = print}} end
function M.calls_so_far() M.calls = M.calls + 1 return M.calls end
function M.yield() coroutine.yield(1) end
function M.generate()
  local sum = 0 for v in coroutine.wrap(function() for i = 1, 4 do coroutine.yield(i) end end) do sum = sum + v end return sum end
function M.api() local names = {} for name in pairs(ngx) do names[#names + 1] = name end table.sort(names) return table.concat(names, ",") end
function M.sleep() ngx.sleep(1) end
function M.digest(s) return ngx.md5(s), ngx.encode_base64(ngx.hmac_sha1("k", s)), ngx.encode_args({a = "b c"}) end
function M.incr() return ngx.shared.d:incr("n", 1, 0) end
function M.blocked(dir, mark) if mark then io.open(dir .. "/" .. mark, "w"):close() end while not io.open(dir .. "/go") do os.execute("sleep 0.01") end return "went" end
function M.forever() while true do end end
function M.large(n) return string.rep("x", n) end
function M.hoard() local t = {} for i = 1, 1e8 do t[i] = {i} end end
function M.say() print("from a thread") end
return M`

func threadOptions(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"m.lua": threadModule, "broken.lua": "return {", "number.lua": "return 1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Options{Path: dir + "/?.lua", Threads: Threads{VMs: 2, Budget: 10 * time.Second, Pools: map[string]ThreadPool{"p": {Threads: 2, Queue: 4}, "none": {Threads: 1}}}}
}

var workerThreadCases = []struct{ name, text, want string }{
	{"values there and back", `t = {run("p", "m", "same", nil, true, false, 1.5, "a\0b", nil)} t[5] = #t[6] t[6] = nil`, "true nil true false 3"},
	{"as many as were given", `t = {run("p", "m", "count", nil, nil, nil)}`, "true 3"},
	{"none", `t = {run("p", "m", "same")} t[2] = #t`, "true 1"},
	{"tables", `local _, v = run("p", "m", "same", setmetatable({1, {2, x = {y = "z"}}, [0.5] = true, [ngx.null] = ngx.null}, {}))
t = {v[1], v[2][1], v[2].x.y, v[0.5], v[ngx.null] == ngx.null, getmetatable(v)}`, "1 2 z true true"},
	{"the state stays", `run("p", "m", "calls_so_far") t = {run("p", "m", "calls_so_far")}`, "true 2"},
	{"numbers as text", `t = {run(1, 2, 3)} t[3], t[4] = run("p", "number", 3)`, "false thread pool 1 not found false invalid lua module"},
	{"too few", `t = {run("p", "m")}`, "false expecting at least 3 arguments"},
	{"not text", `t = {run({}, "m", "same")} t[3], t[4] = run("p", {}, "same") t[5], t[6] = run("p", "m", {})`,
		"false threadpool should be a string false module name should be a string false function name should be a string"},
	{"no such pool", `t = {run("q", "m", "same")}`, "false thread pool q not found"},
	{"no such module", `t = {run("p", "x.y", "same")} t[2] = t[2]:match("^[^\n]*")`, "false module 'x.y' not found:"},
	{"broken module", `t = {run("p", "broken", "same")} t[2] = t[2]:match("^error loading module 'broken'")`, "false error loading module 'broken'"},
	{"no such function", `t = {run("p", "m", "none")} t[3], t[4] = run("p", "m", "text")`, "false invalid function false invalid function"},
	{"what is wrong with the module comes first", `t = {run("p", "m", "none", print)} t[3], t[4] = run("p", "m", "same", print)`,
		"false invalid function false unsupported Lua type: LUA_TFUNCTION in the argument"},
	{"what cannot travel", `
for i, v in ipairs{print, coroutine.create(print), io.stdout, 1LL, {[{}] = {print}}} do t[2 * i - 1], t[2 * i] = run("p", "m", "same", v) end`,
		"false unsupported Lua type: LUA_TFUNCTION in the argument false unsupported Lua type: LUA_TTHREAD in the argument " +
			"false unsupported Lua type: LUA_TUSERDATA in the argument false unsupported Lua type in the argument " +
			"false unsupported Lua type: LUA_TFUNCTION in the argument"},
	{"nor back", `t = {run("p", "m", "inner")}`, "false unsupported Lua type: LUA_TFUNCTION in the return value"},
	{"circles", `local v = {} v.v = v t = {run("p", "m", "same", v)}`,
		"false suspicious circular references, table depth exceed max depth: 100 in the argument"},
	{"as deep as can be", `local v = {} for _ = 1, 98 do v = {v} end t = {run("p", "m", "same", v)} t[2] = type(t[2])
t[3], t[4] = run("p", "m", "same", {v})`,
		"true table false suspicious circular references, table depth exceed max depth: 100 in the argument"},
	{"errors", `t = {run("p", "m", "fail")} t[2] = t[2]:match("m.lua:5: boom$") t[3] = run("p", "m", "object")`, "false m.lua:5: boom false"},
	{"yields", `t = {run("p", "m", "yield")} t[2] = t[2]:match("m.lua:9: .*$") t[3], t[4] = run("p", "m", "generate")`, "false m.lua:9: attempt to yield across C-call boundary true 10"},
	{"the API there", `t = {run("p", "m", "api")}`,
		"true config,crc32_long,crc32_short,decode_args,decode_base64,encode_args,encode_base64,hmac_sha1,md5,md5_bin,null,quote_sql_str,sha1_bin,shared"},
	{"nothing that waits", `t = {run("p", "m", "sleep")} t[2] = t[2]:match("attempt to call field 'sleep' %(a nil value%)")`,
		"false attempt to call field 'sleep' (a nil value)"},
	{"digests", `t = {run("p", "m", "digest", "hello")}`, "true 5d41402abc4b2a76b9719d911017c592 C3k40aLNyvqUZFpcNQj3I2rkV6k= a=b%20c"},
	{"shared dictionaries", `ngx.shared.d:set("n", 41) t = {run("p", "m", "incr")} t[3], t[4] = ngx.shared.d:get("n"), nil`, "true 42 42"},
	{"several at once", `
local dir = package.path:match("^(.-)/%?")
local function begun(mark)
  local co = ngx.thread.spawn(run, "p", "m", "blocked", dir, mark)
  repeat ngx.sleep(0.001) until io.open(dir .. "/" .. mark)
  return co
end
local a, b = begun("a"), begun("b")
t[1], t[2] = run("p", "m", "same")
io.open(dir .. "/go", "w"):close()
for _, co in ipairs{a, b} do t[#t + 1] = select(3, ngx.thread.wait(co)) end t[#t + 1] = run("p", "m", "same")`,
		"false no available Lua vm went went true"},
	{"long results", `local _, s = run("p", "m", "large", 3e6) t = {#s}`, "3000000"},
}

func TestWorkerThreads(t *testing.T) {
	for _, c := range workerThreadCases {
		t.Run(c.name, func(t *testing.T) {
			o := threadOptions(t)
			o.Dicts = declared(t, map[string]int64{"d": 64 << 10})
			if got := leftBy(t, o, c.text); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

// leftBy is what the handler text leaves in its table t.
func leftBy(t *testing.T, o Options, text string) string {
	t.Helper()
	p, scripts := testPool(t, o, "local t, run = {}, ngx.run_worker_thread\n"+text+"\nngx.ctx.t = t",
		`local s = {} for i = 1, table.maxn(ngx.ctx.t) do s[i] = tostring(ngx.ctx.t[i]) end error(table.concat(s, " "), 0)`)
	s := pinned(t, p)
	if out := s.drive(s.Start(scripts[0], PhaseContent, nil)); out.Kind != Done {
		t.Fatalf("%+v %v", out, out.Err)
	}
	return s.Start(scripts[1], PhaseLog, nil).Err.Message
}

// A function that uses up what it may ends alone; the next finds a state.
func TestWorkerThreadsAreBounded(t *testing.T) {
	o := threadOptions(t)
	o.Threads.Budget, o.MemoryLimit = 50*time.Millisecond, 32<<20
	got := leftBy(t, o, `t[1], t[2] = run("p", "m", "forever") t[2] = #t[2] > 0
t[3] = run("p", "m", "same") t[4] = run("p", "m", "hoard") t[5] = run("p", "m", "same")`)
	if want := "false true true false true"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestFullThreadPool(t *testing.T) {
	o := threadOptions(t)
	got := leftBy(t, o, `
local dir = package.path:match("^(.-)/%?")
local co = ngx.thread.spawn(run, "none", "m", "blocked", dir, "begun")
repeat ngx.sleep(0.001) until io.open(dir .. "/begun")
t[1], t[2] = run("none", "m", "same")
io.open(dir .. "/go", "w"):close() t[3] = select(3, ngx.thread.wait(co)) t[4] = run("none", "m", "same")`)
	if want := "false ngx_thread_task_post failed went true"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Whoever waited may be gone: the function goes on, and its state and the
// dictionaries last as long as it.
func TestWorkerThreadsOutliveTheirPool(t *testing.T) {
	o := threadOptions(t)
	registry := NewDicts()
	d, err := registry.Declare("d", 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	o.Dicts = []*Dict{d}
	p, scripts := testPool(t, o, `ngx.run_worker_thread("p", "m", "blocked", package.path:match("^(.-)/%?"))`)
	s, err := p.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	out := s.Start(scripts[0], PhaseContent, nil)
	var done sync.WaitGroup
	done.Add(1)
	go func() { defer done.Done(); Perform(out.Op) }()
	until(t, "the function's start", func() bool { return len(p.gates["p"].places) == 1 })
	s.Cancel()
	done.Wait()
	s.Release()
	p.Close()
	<-p.Done()
	d.Release()
	if n := len(registry.Stats()); n != 1 {
		t.Errorf("%d dictionaries while the function runs", n)
	}
	dir := filepath.Dir(o.Path)
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the dictionary's end", func() bool { return len(registry.Stats()) == 0 })
}

func TestWorkerThreadsWherePhasesCannotWait(t *testing.T) {
	p, scripts := testPool(t, threadOptions(t), `ngx.run_worker_thread("p", "m", "same")`)
	s := pinned(t, p)
	out := s.Start(scripts[0], PhaseLog, nil)
	if want := "script0:1: API disabled in the context of log_by_lua*"; out.Err == nil || out.Err.Message != want {
		t.Errorf("%v, want %q", out.Err, want)
	}
}

// What a route's scripts may not require they cannot run elsewhere either.
func TestWorkerThreadsOfBoundScripts(t *testing.T) {
	o := threadOptions(t)
	p, err := NewPool(o)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := p.Add(Source{Name: "s", Chunk: "=s", Modules: []string{"n"}, Text: `error(select(2, ngx.run_worker_thread("p", "m", "same")), 0)`})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); <-p.Done() })
	s := pinned(t, p)
	out := s.drive(s.Start(sc, PhaseContent, nil))
	if want := "module 'm' is not among lua.modules of this route"; out.Err == nil || out.Err.Message != want {
		t.Errorf("%v, want %q", out.Err, want)
	}
}
