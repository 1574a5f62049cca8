//go:build cgo && luajit

package luavm

import (
	"strings"
	"testing"
	"time"
)

// Ways out of a strict VM. Each returns a true value when it has got hold of
// what it must not have.
var escapes = []struct{ name, text string }{
	{"require ffi", `return require "ffi"`},
	{"require io", `return require "io"`},
	{"require os", `return require("os").execute`},
	{"require debug", `return require "debug"`},
	{"require package", `return require "package"`},
	{"require jit", `return require "jit"`},
	{"require jit.util", `return require "jit.util"`},
	{"require string.buffer", `return require "string.buffer"`},
	{"require resty.core.base", `return require("resty.core.base").get_request`},
	{"require ngx.pipe", `return require "ngx.pipe"`},
	{"require ngx.process", `return require "ngx.process"`},
	{"require _G", `return require("_G").io`},
	{"require a file", `return require "../../../../etc/passwd"`},
	{"global ffi", `return ffi`},
	{"global io", `return io`},
	{"global package", `return package`},
	{"global debug", `return debug`},
	{"global jit", `return jit`},
	{"global dofile", `return dofile or loadfile`},
	{"global module", `return module`},
	{"global newproxy", `return newproxy`},
	{"getfenv", `return getfenv and getfenv(ngx.say).io`},
	{"getfenv of level 0", `return getfenv and getfenv(0)`},
	{"setfenv", `return setfenv and setfenv(ngx.say, {})`},
	{"_G", `return _G.io or _G._G.os.execute`},
	{"os.execute", `return os.execute or os.exit or os.getenv or os.remove or os.rename or os.tmpname or os.setlocale`},
	{"string.dump", `return string.dump`},
	{"string.dump as a method", `return ("").dump`},
	{"string's metatable", `return getmetatable("")`},
	{"string's index", `return getmetatable("").__index`},
	{"bytecode", `return load("\27LJ\2\0\0")`},
	{"bytecode asked for", `return load("\27LJ\2\0\0", "x", "b")`},
	{"bytecode by loadstring", `return loadstring("\27LJ\2\0\0")`},
	{"text out of the sandbox", `return load("return io or os.execute")()`},
	{"text in an environment of its own", `return load("return getmetatable and io", "x", "t", {})()`},
	{"text by a reader", `local done return load(function() if not done then done = true return "return package" end end)()`},
	{"metatable of ngx", `return getmetatable(ngx)`},
	{"metatable of ngx.var", `return getmetatable(ngx.var)`},
	{"metatable of ngx.header", `return getmetatable(ngx.header)`},
	{"metatable of a dictionary", `return getmetatable(ngx.shared.d)`},
	{"new metatable for ngx.var", `return setmetatable(ngx.var, {__index = function() return "x" end})`},
	{"write to ngx", `ngx.say = print return ngx.say == print`},
	{"write to ngx by rawset", `rawset(ngx, "say", print) return true`},
	{"write to ngx.req", `ngx.req.get_method = print return true`},
	{"write to a method of dictionaries", `ngx.shared.d.get = print return true`},
	{"rawset on a dictionary", `rawset(ngx.shared.d, "get", print) return true`},
	{"write to ngx.shared", `ngx.shared.d = {} return true`},
	{"write to string", `string.rep = print return true`},
	{"write to string by rawset", `rawset(string, "rep", print) return true`},
	{"write to a module", `require("cjson").encode = print return true`},
	{"write to math", `math.random = function() return 4 end return true`},
	{"inside of a socket", `local s = ngx.socket.tcp() for k, v in pairs(s) do return v end return s.s or s[1] or rawget(s, "s")`},
	{"inside of a datagram socket", `local s = ngx.socket.udp() return next(s) or s.s or s[1]`},
	{"metatable of a socket", `return getmetatable(ngx.socket.tcp())`},
	{"method of a socket on a table", `return ngx.socket.tcp().receive({s = {}}, 1)`},
	{"write to a socket", `local s = ngx.socket.tcp() s.receive = print return true`},
	{"inside of a semaphore", `local s = require "ngx.semaphore".new() return s.sem or next(s)`},
	{"clear a dictionary", `require "table.clear"(ngx.shared.d) return ngx.shared.d.get == nil`},
	{"sort ngx.shared", `table.sort(ngx.shared.d) return true`},
	{"insert into table", `table.insert(string, 1) return string[1]`},
	{"collectgarbage stops", `return collectgarbage("stop")`},
	{"collectgarbage counts alone", `return collectgarbage("count") < 1`},
	{"worker threads", `return ngx.run_worker_thread`},
	{"cdata of a certificate", `local c = require("ngx.ssl").parse_der_cert("\48\1\0") return c.bytes or c[0]`},
	{"xpcall's handler sees no more", `return select(2, xpcall(error, function() return debug or io end))`},
	{"error objects", `local ok, e = pcall(error, setmetatable({}, {__index = function() return nil end})) return e.io`},
	{"coroutines share the environment", `return coroutine.wrap(function() return io or ffi end)()`},
	{"threads share the environment", `return select(2, ngx.thread.wait(ngx.thread.spawn(function() return io or ffi end)))`},
	{"int64 gives no ffi", `return getmetatable(1LL)`},
	{"tostring does not call out", `return tostring(setmetatable({}, {__tostring = function() return io and "x" or "" end})) == "x"`},
	{"next over the environment", `for k in next, _G do if k == "io" or k == "ffi" then return k end end`},
}

func strictPool(t testing.TB, texts ...string) (*Pool, []*Script) {
	t.Helper()
	dicts := NewDicts()
	d, err := dicts.Declare("d", 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Release)
	return testPool(t, Options{Strict: true, Dicts: []*Dict{d}}, texts...)
}

func TestEscapes(t *testing.T) {
	if len(escapes) < 40 {
		t.Fatalf("only %d escapes are tried", len(escapes))
	}
	texts := make([]string, len(escapes))
	for i, c := range escapes {
		texts[i] = "local ok, v = pcall(function() " + c.text + "\nend) if ok and v then error('ESCAPED: ' .. tostring(v), 0) end"
	}
	// what others use still works after all attempts
	texts = append(texts, `
assert(ngx.shared.d:set("k", 1) and ngx.shared.d:get("k") == 1)
assert(("x"):rep(3) == "xxx" and string.rep("y", 2) == "yy" and math.random() < 1)
assert(require "cjson".encode({1}) == "[1]" and ngx.re.match("ab", "b")[0] == "b")
assert(ngx.get_phase() == "content" and ngx.req.get_method)
ngx.ctx.x = 1 assert(ngx.ctx.x == 1) ngx.status = 201 assert(ngx.status == 201)
ngx.sleep(0.001)
local sock = ngx.socket.tcp() sock:settimeout(100)
local ok, err = sock:connect("127.0.0.1", 1) assert(not ok and err == "connection refused", err)
local sem = require "ngx.semaphore".new(1) assert(sem:wait(0) and sem:count() == 0) sem:post(1) assert(sem:count() == 1)`)
	p, scripts := strictPool(t, texts...)
	for i, sc := range scripts {
		name := "the API still works"
		if i < len(escapes) {
			name = escapes[i].name
		}
		t.Run(name, func(t *testing.T) {
			s := pinned(t, p)
			if out := s.drive(s.Start(sc, PhaseContent, nil)); out.Kind != Done {
				t.Errorf("%v", out.Err)
			}
		})
	}
}

// Everything that a script can get by reading keys is walked: nothing dangerous
// is there, and nothing that is shared can be written to.
func TestSandboxHoldsNothingElse(t *testing.T) {
	p, _ := strictPool(t, `local x = 1`)
	got, err := p.places[0].Load().eval(`
local debug, next, type = debug, next, type
local env = debug.getregistry()["perigee.environment"]("strict")
local forbidden = {[_G] = "_G", [package] = "package", [package.loaded] = "package.loaded",
  [load] = "load", [loadstring] = "loadstring", [loadfile] = "loadfile", [dofile] = "dofile",
  [require] = "require", [setfenv] = "setfenv", [getfenv] = "getfenv", [rawset] = "rawset",
  [getmetatable] = "getmetatable", [collectgarbage] = "collectgarbage"}
if module then forbidden[module] = "module" end
for _, lib in next, {"io", "debug", "ffi", "jit", "package"} do
  local t = require(lib)
  forbidden[t] = lib
  for k, v in next, t do if type(v) == "function" then forbidden[v] = lib .. "." .. k end end
end
for k, v in next, os do
  if not (k == "time" or k == "date" or k == "clock" or k == "difftime") then forbidden[v] = "os." .. k end
end
local seen, bad, n = {}, {}, 0
local function walk(v, path)
  if forbidden[v] then bad[#bad + 1] = path .. " is " .. forbidden[v] end
  -- a pointer to something of unknown size reaches nothing
  if type(v) == "cdata" and pcall(function() return v[0] end) then bad[#bad + 1] = path .. " is cdata" end
  if type(v) ~= "table" or seen[v] then return end
  seen[v] = true
  n = n + 1
  local mt = debug.getmetatable(v)
  if v ~= env and not (mt and mt.__metatable == false and mt.__newindex) then
    bad[#bad + 1] = path .. " can be written to"
  end
  for k, x in next, v do
    if v ~= env or k ~= "_G" then walk(x, path .. "." .. tostring(k)) end
  end
  local index = mt and mt.__index
  if type(index) == "table" then
    for k, x in next, index do walk(x, path .. "." .. tostring(k)) end
  end
end
walk(env, "E")
for k in next, ngx do walk(env.ngx[k], "ngx." .. k) end
for k in next, ngx.shared do walk(env.ngx.shared[k], "ngx.shared." .. k) end
-- what require hands out
for _, name in next, {"cjson", "cjson.safe", "ngx.re", "ngx.semaphore", "ngx.ssl", "ngx.balancer", "ngx.req", "bit", "table.new"} do
  local ok, m = pcall(env.require, name)
  if ok and m ~= true then walk(m, name) end
end
if n < 20 then bad[#bad + 1] = "only " .. n .. " tables were walked" end
return table.concat(bad, "\n")`)
	if err != nil || got != "" {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestStrictScriptsHaveGlobalsOfTheirOwn(t *testing.T) {
	p, scripts := strictPool(t,
		`leak = "a" string_rep = string.rep`,
		`if leak then error("seen: " .. leak) end`,
		`assert(leak == nil) leak = "c"`, `error(tostring(leak), 0)`)
	s := pinned(t, p)
	for i, want := range []Kind{Done, Done, Done, Failed, Done} {
		sc := scripts[i%len(scripts)]
		if out := s.Start(sc, PhaseContent, nil); out.Kind != want {
			t.Errorf("script %d: %v", i, out.Err)
		}
	}
}

func TestModulesOfARoute(t *testing.T) {
	for _, strict := range []bool{false, true} {
		p, err := NewPool(Options{Strict: strict, CPUBudget: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		add := func(text string, modules []string) *Script {
			sc, err := p.Add(Source{Name: text, Chunk: "=x", Text: text, Modules: modules})
			if err != nil {
				t.Fatal(err)
			}
			return sc
		}
		one := add(`assert(require "cjson")`, []string{"cjson"})
		other := add(`require "bit"`, []string{"cjson"})
		none := add(`require "cjson"`, []string{})
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		s := pinned0(t, p, 0)
		if out := s.Start(one, PhaseAccess, nil); out.Kind != Done {
			t.Error(out.Err)
		}
		for _, sc := range []*Script{other, none} {
			if out := s.Start(sc, PhaseAccess, nil); out.Err == nil || !strings.Contains(out.Err.Message, "is not among lua.modules") {
				t.Errorf("%+v %v", out, out.Err)
			}
		}
		s.Release()
		p.Close()
		<-p.Done()
	}
}

// One run's own bound of memory ends that run alone; what others hold is not
// counted.
func TestRunMemory(t *testing.T) {
	p, scripts := testPool(t, Options{RunMemory: 8 << 20, MemoryLimit: 64 << 20},
		`local s = string.rep("x", 32 * 1024 * 1024) return #s`,
		`local t = {} for i = 1, 1e7 do t[i] = {i} end`,
		`kept = string.rep("y", 1024 * 1024)`,
		`local ok = pcall(string.rep, "x", 32 * 1024 * 1024) assert(not ok)`)
	s := pinned(t, p)
	for i, want := range []Kind{Failed, Failed, Done, Done, Done, Failed} {
		out := s.Start(scripts[[]int{0, 1, 2, 2, 3, 0}[i]], PhaseContent, nil)
		if out.Kind != want || out.Kind == Failed && out.Err.Kind != ErrMemory {
			t.Errorf("run %d: %+v %v", i, out, out.Err)
		}
	}
}

func BenchmarkStrictScript(b *testing.B) {
	const text = `local k = ngx.var.http_x_key ngx.ctx.k = k ngx.req.set_header("X", "y")`
	for _, strict := range []bool{false, true} {
		b.Run(map[bool]string{false: "trusted", true: "strict"}[strict], func(b *testing.B) {
			p, scripts := testPool(b, Options{Strict: strict}, text)
			s := pinned(b, p)
			in := &Input{Head: []byte("GET / HTTP/1.1\r\nX-Key: v\r\n\r\n")}
			for b.Loop() {
				s.Start(scripts[0], PhaseAccess, in)
				s.reset()
			}
		})
	}
}
