//go:build cgo && luajit

package luavm

import (
	"strings"
	"testing"

	"perigee/luavm/shim"
)

// hotScripts are what requests run: each must be compiled by LuaJIT without
// giving up on anything.
var hotScripts = map[string]string{
	"policy": `
		local auth = ngx.var.http_authorization
		local id = ngx.req.get_headers()["X-Request-Id"]
		if not auth then return ngx.exit(401) end
		ngx.req.set_header("X-User", id or "-")
		ngx.req.clear_header("X-Internal")`,
	"policy by variables": `
		local auth = ngx.var.http_authorization
		local id = ngx.var.http_x_request_id
		if not auth then return ngx.exit(401) end
		ngx.req.set_header("X-User", id or "-")`,
	"variables": `
		local v = ngx.var
		local s = v.uri .. v.remote_addr .. v.request_method .. v.host .. v.args
		if v.arg_a ~= "1" or v.cookie_sid ~= "abc" or v.tenant ~= "acme" or v.none then
			error(s)
		end
		v.tenant = s`,
	"arguments": `
		local a = ngx.req.get_uri_args()
		if a.a[2] ~= "2" then error("args") end
		if ngx.escape_uri("a b") ~= "a%20b" or ngx.unescape_uri("%41") ~= "A" then error("uri") end`,
	"answer": `
		ngx.status = 201
		ngx.header["X-Powered-By"] = "perigee"
		ngx.header.content_type = "text/plain"
		if ngx.header.x_powered_by ~= "perigee" then error("header") end
		ngx.say("hello ", ngx.var.arg_a, 1.5)
		ngx.print({"a", {"b"}}, "c")`,
	"headers filter": `
		ngx.header.x_up = nil
		ngx.header["X-Time"] = ngx.status
		ngx.header.set_cookie = {"a=1", "b=2"}`,
	"chunk": `
		if ngx.arg[2] == nil then error("arg") end
		ngx.arg[1] = ngx.arg[1] .. "x"`,
}

var hotPhases = map[string]Phase{
	"policy": PhaseAccess, "policy by variables": PhaseAccess, "variables": PhaseAccess, "arguments": PhaseAccess,
	"answer": PhaseContent, "headers filter": PhaseHeaderFilter, "chunk": PhaseBodyFilter,
}

const hotHead = "GET /t?a=1&b=2&a=2 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: wrk/4.2\r\nAccept: */*\r\n" +
	"Authorization: Bearer abcdefghijklmnopqrstuvwxyz\r\nX-Request-Id: 0123456789abcdef\r\nCookie: sid=abc\r\n\r\n"

// hotExchange plays one exchange of one script.
func hotExchange(t testing.TB, pool *Pool, script *Script, name string, in *Input) {
	slot, err := pool.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	slot.SetVarString(VarURI, "/t")
	slot.SetVarString(VarArgs, "a=1&b=2&a=2")
	slot.SetVarString(VarMethod, "GET")
	slot.SetVarString(VarHost, "example.com")
	slot.SetVarString(VarRemoteAddr, "127.0.0.1")
	slot.SetExtra("tenant", []byte("acme"))
	out := slot.Start(script, hotPhases[name], in)
	if out.Kind != Done {
		t.Fatalf("%s: %+v %v", name, out, out.Err)
	}
	for e := (Edit{}); slot.NextEdit(&e); {
		if len(e.Name) > 1000 {
			t.Fatal("edit")
		}
	}
	slot.ClearOutput()
	slot.Release()
}

func TestHotScriptsAreCompiled(t *testing.T) {
	for name, text := range hotScripts {
		t.Run(name, func(t *testing.T) {
			pool, scripts := requestScripts(t, new(strings.Builder), text)
			vm := pool.places[0].Load()
			if _, err := vm.eval(`
				local why = require("jit.vmdef").traceerr
				traces, gaveup = 0, {}
				jit.attach(function(what, _, func, pc, code)
					if what == "stop" then traces = traces + 1 end
					if what == "abort" then
						local info = require("jit.util").funcinfo(func, pc)
						gaveup[#gaveup + 1] = tostring(info.loc) .. " " .. tostring(why[code])
					end
				end, "trace")`); err != nil {
				t.Fatal(err)
			}
			in := &Input{Head: []byte(hotHead), Resp: []byte(testResp), Data: []byte("data")}
			for range 2000 {
				hotExchange(t, pool, scripts[0], name, in)
			}
			got, err := vm.eval(`jit.attach(function() end) return traces .. "\n" .. table.concat(gaveup, "\n")`)
			if err != nil {
				t.Fatal(err)
			}
			traces, gaveup, _ := strings.Cut(got, "\n")
			if traces == "0" {
				t.Error("nothing was compiled")
			}
			// loops of two or three turns are first tried as traces of their
			// own, then become part of the script's; a C symbol that a trace is
			// the first to use is found by the interpreter, then kept
			short := strings.Count(gaveup, " leaving loop in root trace") + strings.Count(gaveup, " inner loop in root trace") +
				strings.Count(gaveup, " symbol not in cache")
			if lines := strings.Count(gaveup, "\n") + 1; gaveup != "" && (lines > short || lines > 12) {
				t.Errorf("gave up:\n%s", gaveup)
			}
		})
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	for name, text := range hotScripts {
		pool, scripts := requestScripts(t, new(strings.Builder), text)
		in := &Input{Head: []byte(hotHead), Resp: []byte(testResp), Data: []byte("data")}
		once := func() { hotExchange(t, pool, scripts[0], name, in) }
		for range 100 {
			once()
		}
		if n := testing.AllocsPerRun(200, once); n != 0 {
			t.Errorf("%s: %v allocations in Go", name, n)
		}
	}
}

func BenchmarkScripts(b *testing.B) {
	b.Run("empty crossing", func(b *testing.B) {
		for range b.N {
			shim.Nothing()
		}
	})
	for name, text := range hotScripts {
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			pool, scripts := requestScripts(b, new(strings.Builder), text)
			in := &Input{Head: []byte(hotHead), Resp: []byte(testResp), Data: []byte("data")}
			b.ReportAllocs()
			for range b.N {
				hotExchange(b, pool, scripts[0], name, in)
			}
		})
	}
}
