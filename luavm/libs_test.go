//go:build cgo && luajit

package luavm

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestLinkedLibraries(t *testing.T) {
	for _, c := range []struct{ name, lua, want string }{
		{"table.new", `local t = require "table.new"(4, 4); t[1] = 1; ngx.say(#t)`, "1\n"},
		{"table.clear", `local t = {1, a = 2}; require "table.clear"(t); ngx.say(next(t))`, "nil\n"},
		{"table.clone", `local a = {1, {2}}; local b = require "table.clone"(a); b[1] = 5
			ngx.say(a[1], b[1], a[2] == b[2])`, "15true\n"},
		{"table.nkeys", `ngx.say(require "table.nkeys"({1, 2, a = 3}))`, "3\n"},
		{"table.isempty", `local f = require "table.isempty"; ngx.say(f({}), f({1}), f({a = 1}))`, "truefalsefalse\n"},
		{"table.isarray", `local f = require "table.isarray"; ngx.say(f({1, 2}), f({a = 1}))`, "truefalse\n"},
		{"cjson", `local c = require "cjson"
			local t = c.decode('{"a":[1,2.5,"x",null,true],"b":{}}')
			ngx.say(t.a[2], t.a[3], t.a[4] == ngx.null, t.a[5], " ", c.encode({1, "\1", ngx.null}))`,
			"2.5xtruetrue [1,\"\\u0001\",null]\n"},
		{"cjson and indexes beyond an int", `ngx.print(require "cjson".encode({[1e15] = 1}))`, `{"1e+15":1}`},
		{"cjson errors", `ngx.say(pcall(require "cjson".decode, "{"))`, "falseExpected object key string but found T_END at character 2\n"},
		{"cjson.safe", `local c = require "cjson.safe"
			ngx.say(c.decode("{"))
			ngx.say(c.encode({1}))`, "nilExpected object key string but found T_END at character 2\n[1]\n"},
		{"cjson and dictionaries", `local c = require "cjson"
			ngx.shared.d:set("k", c.encode({n = 1}))
			ngx.say(c.decode(ngx.shared.d:get("k")).n)`, "1\n"},
		{"resty.core", `require "resty.core"; ngx.say(require "resty.core".version, " ", ngx.shared.d:capacity())`, "0.1.25 65536\n"},
		{"ngx.base64", `ngx.say(require "ngx.base64".encode_base64url("\255\254"))`, "__4\n"},
		{"ngx.null", `ngx.say(ngx.null, " ", type(ngx.null), " ", ngx.null == nil, " ", ngx.null == require "cjson".null)`,
			"null userdata false true\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := dataPool(t, Options{Dicts: declared(t, map[string]int64{"d": 64 << 10})}, c.lua)
			if got := dataRun(t, p, scripts[0]); !strings.HasPrefix(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestDataFunctionsAreCompiled: a loop over each function becomes a machine
// code loop, without an exit to the interpreter in it.
func TestDataFunctionsAreCompiled(t *testing.T) {
	for _, c := range []struct{ name, body string }{
		{"incr", `d:incr("k", 1)`},
		{"incr with init and ttl", `d:incr(keys[i % 8 + 1], 1, 0, 1)`},
		{"get number", `sum = sum + d:get("k")`},
		{"get string", `sum = sum + #d:get("s")`},
		{"get missing", `sum = sum + (d:get("no") or 1)`},
		{"set", `d:set(keys[i % 8 + 1], i, 10)`},
		{"add", `d:add("k", i)`},
		{"delete", `d:delete("none")`},
		{"ttl", `d:ttl("k")`},
		{"now and time", `sum = sum + ngx.now() + ngx.time()`},
		{"dates", `sum = sum + #ngx.today() + #ngx.localtime() + #ngx.utctime()`},
		{"http_time", `sum = sum + #ngx.http_time(i) + #ngx.cookie_time(i)`},
		{"parse_http_time", `sum = sum + ngx.parse_http_time("Thu, 18 Nov 2010 11:27:35 GMT")`},
		{"md5", `sum = sum + #ngx.md5(i) + #ngx.md5_bin("x")`},
		{"sha1_bin", `sum = sum + #ngx.sha1_bin(keys[i % 8 + 1])`},
		{"hmac_sha1", `sum = sum + #ngx.hmac_sha1("key", keys[i % 8 + 1])`},
		{"crc32", `sum = sum + ngx.crc32_short("x") + ngx.crc32_long("y")`},
		{"base64", `sum = sum + #ngx.decode_base64(ngx.encode_base64(keys[i % 8 + 1]))`},
		{"quote_sql_str", `sum = sum + #ngx.quote_sql_str("it's")`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := `
local d = ngx.shared.d
d:set("k", 1)
d:set("s", "text")
local keys = {"a", "b", "c", "d", "e", "f", "g", "h"}
local info = require "jit.util".traceinfo
local links = {}
local function note(what, trace)
  if what == "stop" then
    local link = info(trace).linktype
    links[link] = (links[link] or 0) + 1
  end
end
jit.flush()
jit.attach(note, "trace")
local sum = 0
for i = 1, 3000 do
  ` + c.body + `
end
jit.attach(note)
ngx.print(links.loop or 0, " ", links.stitch or 0, " ", links.interpreter or 0)`
			// Which code is found hot first depends on where it lies in memory
			// (counters are hashed by address): an unlucky order leaves one
			// trace to the interpreter. Code that cannot be compiled never has
			// a good one.
			var loops, stitches, exits int
			for range 5 {
				p, scripts := dataPool(t, Options{Dicts: declared(t, map[string]int64{"d": 64 << 10})}, text)
				got := dataRun(t, p, scripts[0])
				if n, err := fmt.Sscan(got, &loops, &stitches, &exits); n != 3 || err != nil {
					t.Fatalf("%q: %v", got, err)
				}
				if loops > 0 && stitches+exits == 0 {
					return
				}
			}
			t.Errorf("%d loops, %d stitched, %d left to the interpreter", loops, stitches, exits)
		})
	}
}

// TestRunawayOnADict stops endless loops inside dictionary calls: the lock
// must be free afterwards.
func TestRunawayOnADict(t *testing.T) {
	dicts := declared(t, map[string]int64{"d": 64 << 10})
	p, scripts := dataPool(t, Options{Dicts: dicts, Workers: 2, CPUBudget: 2 * time.Millisecond,
		Log: func(*Slot, int, []byte) {}}, `
local d = ngx.shared.d
local n = 0
while true do
  n = n + 1
  d:incr("n", 1, 0)
  d:set("k" .. n % 2000, ("x"):rep(n % 100))
  d:lpush("l", n) d:rpop("l")
end`, `ngx.print(ngx.shared.d:incr("after", 1, 0))`)
	for round := range 5 {
		done := make(chan Outcome)
		for range 2 {
			go func() {
				s, err := p.Pin(0)
				if err != nil {
					done <- Outcome{End: End{Kind: Done}}
					return
				}
				defer s.Release()
				done <- s.Start(scripts[0], PhaseContent, nil)
			}()
		}
		for range 2 {
			if out := <-done; out.Kind != Failed {
				t.Fatalf("round %d: the endless loop ended with %+v", round, out)
			}
		}
		if got := dataRun(t, p, scripts[1]); got == "" {
			t.Fatal("the dictionary does not answer")
		}
	}
	if err := dicts[0].c.Check(); err != nil {
		t.Error(err)
	}
}
