//go:build cgo && luajit

package luavm

import "testing"

// answers runs each text in a fresh VM and compares what it prints.
type answer struct{ name, lua, want string }

func checkAnswers(t *testing.T, options Options, cases []answer) {
	t.Helper()
	const head = "GET /a?x=1 HTTP/1.1\r\nHost: h\r\nCookie: a=1; b=two\r\n\r\n"
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, options, c.lua)
			s := pinned(t, p)
			s.SetNumbers(&Numbers{StartTime: 12.5, HTTPMinor: 1, Connection: 7})
			for v, text := range map[Variable]string{
				VarURI: "/a", VarArgs: "x=1", VarMethod: "GET", VarRequestURI: "/a?x=1",
				VarProtocol: "HTTP/1.1", VarRemoteAddr: "10.0.0.1", VarServerName: "front", VarHost: "h.example",
			} {
				if err := s.SetVarString(v, text); err != nil {
					t.Fatal(err)
				}
			}
			out := finish(s, s.Start(scripts[0], PhaseContent, &Input{Head: []byte(head)}))
			if out.Kind != Done {
				t.Fatalf("%+v: %v", out, out.Err)
			}
			if got := string(s.Output()); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRestyCore(t *testing.T) {
	checkAnswers(t, Options{Path: "testdata/?.lua;;"}, []answer{
		{"loaded from the start", `ngx.print(package.loaded["resty.core"] == require "resty.core")`, "true"},
		{"all modules", `
for _, name in ipairs{"base", "base64", "coroutine", "ctx", "exit", "hash", "misc", "ndk", "param", "phase",
  "request", "response", "shdict", "socket", "time", "uri", "utils", "var", "worker"} do
  local m = require("resty.core." .. name)
  local version = m.version or m._VERSION
  if version ~= require "resty.core".version then ngx.print(name, ": ", version, " ") end
end`, ""},
		{"a file on the path loses", `package.path = "/nonexistent/?.lua;" .. package.path
package.preload["x.y"] = function() return 1 end
ngx.print(require "x.y")`, "1"},
		{"buffers", `
local base = require "resty.core.base"
local ffi = require "ffi"
local a, b = base.get_string_buf(10), base.get_string_buf(20)
ngx.print(a == b, " ", base.get_string_buf(5000) == a, " ", base.get_string_buf(10, true) == a, " ",
  base.get_string_buf_size(), " ", ffi.sizeof(base.get_string_buf(5000)), " ", tonumber(ffi.sizeof(base.get_size_ptr())))
base.set_string_buf_size(100.5)
base.set_string_buf_size(-1)
ngx.print(" ", base.get_string_buf_size(), " ", base.get_errmsg_ptr()[0] == nil)`,
			"true false false 4096 5000 8 101 true"},
		{"ref_in_table", `
local ref = require "resty.core.base".ref_in_table
local t = {}
ngx.print(ref(t, nil), ref(t, "a"), ref(t, "b"))
t[1], t[0] = 0, 1
ngx.print(ref(t, "c"), t[0], ref(t, "d"))`, "-112103"},
		{"allows_subsystem", `
local allows = require "resty.core.base".allows_subsystem
allows("stream", "http")
local ok, err = pcall(allows, "stream")
ngx.print(ok, " ", err)`, "false unsupported subsystem: http"},
		{"constants", `local b = require "resty.core.base"
ngx.print(b.FFI_OK, b.FFI_ERROR, b.FFI_AGAIN, b.FFI_BUSY, b.FFI_DONE, b.FFI_DECLINED, b.FFI_NO_REQ_CTX, b.FFI_BAD_CONTEXT)`,
			"0-1-2-3-4-5-100-101"},
		{"tables", `local b = require "resty.core.base"
local t = b.new_tab(1, 1) t[1] = 1 b.clear_tab(t) ngx.print(#t)`, "0"},
		{"ctx", `
local get = require "resty.core.ctx".get_ctx_table
local mine = {n = 1}
ngx.print(get(mine) == mine, ngx.ctx.n, get() == ngx.ctx, get({}) == mine)`, "true1truetrue"},
		{"a library's own tables beside ngx.ctx", `
local ctxs, ref = debug.getregistry().ngx_lua_ctx_tables, require "resty.core.base".ref_in_table
local a = ref(ctxs, {mine = 1})
ngx.ctx.n = 2
local b = ref(ctxs, {mine = 2})
ngx.print(a ~= b, ctxs[a].mine, ctxs[b].mine, ngx.ctx.n, ngx.ctx.mine)`, "true122nil"},
		{"own getter and setter", `
local misc = require "resty.core.misc"
misc.register_ngx_magic_key_getter("color", function() return "red" end)
local set
misc.register_ngx_magic_key_setter("color", function(v) set = v end)
ngx.color = "blue"
ngx.print(ngx.color, set)`, "redblue"},
		{"request and response headers", `
require "resty.core.request".set_req_header("X-A", "1", true)
require "resty.core.request".set_req_header("X-A", {"2", "3"}, false)
require "resty.core.response".set_resp_header(nil, "X-B", "4")
require "resty.core.response".set_resp_header(nil, "X-B", "5", true)
require "ngx.req".add_header("X-A", "6")
require "ngx.resp".add_header("X-B", "7")
ngx.print(table.concat(ngx.req.get_headers()["x-a"], ","), " ", table.concat(ngx.header["X-B"], ","))`,
			"1,2,3,6 4,5,7"},
		{"reason", `local resp = require "ngx.resp"
resp.bypass_if_checks()
resp.set_status(404, "Gone Fishing")
ngx.print(select(2, pcall(resp.set_status, 200)), "; ", select(2, pcall(resp.set_status, 200, "a\nb")))`,
			"bad argument #2 to '?' (string expected, got nil); bad argument #2 to 'set_status' (a control character)"},
		{"monotonic time", `local time = require "resty.core.time"
local a = time.monotonic_msec() ngx.print(a > 0 and time.monotonic_time() * 1000 > a - 1)`, "true"},
		{"utils", `local replace = require "resty.core.utils".str_replace_char
ngx.print(replace("a_b_\n_c", "_", "-"), replace("abc", "_", "-"))`, "a-b-\n-cabc"},
		{"worker", `local w = ngx.worker
ngx.print(w.id(), w.count(), #w.pids(), w.pids()[1] == w.pid(), w.exiting())`, "011truefalse"},
		{"process", `local p = require "ngx.process"
ngx.print(p.type(), " ", p.get_master_pid() == ngx.worker.pid(), " ", p.enable_privileged_agent())`,
			"worker true nilAPI disabled in the current context"},
		{"configuration", `
ngx.print(ngx.config.subsystem, " ", type(ngx.config.nginx_configure()), " ", ngx.config.is_console, " ", ngx.config.debug)`,
			"http string false false"},
		{"require of nothing", `ngx.print((select(2, pcall(require, "no.such")):match("^[^\n]*")))`, "module 'no.such' not found:"},
		{"require in a circle", `
package.preload.a = function() return require "b" end
package.preload.b = function() return require "a" end
ngx.print(pcall(require, "a"))`, "falseloop or previous error loading module 'a'"},
	})
}

func TestSymbolsOverFFI(t *testing.T) {
	checkAnswers(t, Options{}, []answer{
		{"hex_dump", `local ffi = require "ffi"
ffi.cdef "unsigned char *ngx_hex_dump(unsigned char *dst, const unsigned char *src, size_t len);"
local to = ffi.new("unsigned char[6]")
ffi.C.ngx_hex_dump(to, "\1\255a", 3)
ngx.print(ffi.string(to, 6))`, "01ff61"},
		{"atoi", `local ffi = require "ffi"
ffi.cdef "intptr_t ngx_atoi(const unsigned char *line, size_t n);"
for _, s in ipairs{"12", "0", "", "-1", "1x", "9223372036854775807", "9223372036854775808"} do
  ngx.print(tostring(ffi.C.ngx_atoi(s, #s)), " ")
end`, "12LL 0LL -1LL -1LL -1LL 9223372036854775807LL -1LL "},
		{"murmur_hash2", `local ffi = require "ffi"
ffi.cdef "uint32_t ngx_murmur_hash2(const char *data, size_t len);"
for _, s in ipairs{"", "a", "ab", "abc", "abcd", "hello world"} do
  ngx.print(ffi.C.ngx_murmur_hash2(s, #s), " ")
end`, "0 2456313694 446775395 324500635 646393889 1151865881 "},
		{"base64url", `local ffi = require "ffi"
ffi.cdef [[
void ngx_encode_base64url(ngx_str_t *dst, ngx_str_t *src);
ngx_int_t ngx_decode_base64url(ngx_str_t *dst, ngx_str_t *src);
]]
local src, dst, room = ffi.new("ngx_str_t[1]"), ffi.new("ngx_str_t[1]"), ffi.new("char[16]")
src[0].data, src[0].len, dst[0].data = "\255\254", 2, room
ffi.C.ngx_encode_base64url(dst, src)
ngx.print(ffi.string(dst[0].data, dst[0].len))
src[0].data, src[0].len = "*", 1
ngx.print(tonumber(ffi.C.ngx_decode_base64url(dst, src)))`, "__4-1"},
		{"digests", `local ffi = require "ffi"
local to = ffi.new("unsigned char[40]")
ffi.C.ngx_http_lua_ffi_md5("a", 1, to)
ngx.print(ffi.string(to, 32) == ngx.md5("a"))
ffi.C.ngx_http_lua_ffi_md5_bin("a", 1, to)
ngx.print(ffi.string(to, 16) == ngx.md5_bin("a"))
ngx.print(ffi.C.ngx_http_lua_ffi_sha1_bin("a", 1, to), ffi.string(to, 20) == ngx.sha1_bin("a"))
ngx.print(ffi.C.ngx_http_lua_ffi_crc32_short("a", 1) == ngx.crc32_short("a"), ffi.C.ngx_http_lua_ffi_crc32_long("a", 1) == ngx.crc32_long("a"))`,
			"truetrue1truetruetrue"},
		{"text", `local ffi = require "ffi"
local C, to, n = ffi.C, ffi.new("unsigned char[64]"), ffi.new("size_t[1]")
ngx.print(ffi.string(to, C.ngx_http_lua_ffi_encode_base64("ab", 2, to, 0)))
ngx.print(ffi.string(to, C.ngx_http_lua_ffi_encode_base64("ab", 2, to, 1)), " ")
ngx.print(C.ngx_http_lua_ffi_decode_base64("YWI=", 4, to, n), ffi.string(to, n[0]), C.ngx_http_lua_ffi_decode_base64("*", 1, to, n), " ")
local len = C.ngx_http_lua_ffi_uri_escaped_length("a b/", 4, 2)
C.ngx_http_lua_ffi_escape_uri("a b/", 4, to, 2)
ngx.print(ffi.string(to, len), " ")
ngx.print(ffi.string(to, C.ngx_http_lua_ffi_unescape_uri("%41+b", 5, to)), " ")
ffi.copy(to, "x_y_") C.ngx_http_lua_ffi_str_replace_char(to, 4, 95, 45)
ngx.print(ffi.string(to, 4))`, "YWI=YWI 1ab0 a%20b%2F A b x-y-"},
		{"time", `local ffi = require "ffi"
local C, to = ffi.C, ffi.new("unsigned char[64]")
ngx.print(C.ngx_http_lua_ffi_now() == ngx.now(), tonumber(C.ngx_http_lua_ffi_time()) == ngx.time())
C.ngx_http_lua_ffi_today(to) ngx.print(ffi.string(to, 10) == ngx.today())
C.ngx_http_lua_ffi_localtime(to) ngx.print(ffi.string(to, 19) == ngx.localtime())
C.ngx_http_lua_ffi_utctime(to) ngx.print(ffi.string(to, 19) == ngx.utctime())
ngx.print(" ", ffi.string(to, C.ngx_http_lua_ffi_cookie_time(to, 0)))
C.ngx_http_lua_ffi_http_time(to, 0) ngx.print(" ", ffi.string(to, 29))
local t = ffi.new("long[1]")
C.ngx_http_lua_ffi_parse_http_time(ffi.string(to, 29), 29, t) ngx.print(" ", tonumber(t[0]))
C.ngx_http_lua_ffi_update_time() ngx.print(C.ngx_http_lua_ffi_now() == ngx.now())`,
			"truetruetruetruetrue Thu, 01-Jan-70 00:00:00 GMT Thu, 01 Jan 1970 00:00:00 GMT 0true"},
		{"the request", `local ffi = require "ffi"
local base = require "resty.core.base"
local C, r = ffi.C, base.get_request()
ngx.status = 404
ngx.print(C.ngx_http_lua_ffi_get_phase(r, base.get_errmsg_ptr()), " ", C.ngx_http_lua_ffi_is_subrequest(r),
  C.ngx_http_lua_ffi_req_is_internal(r), C.ngx_http_lua_ffi_headers_sent(r), " ", C.ngx_http_lua_ffi_req_start_time(r))
ngx.ctx.n = 5
local ref = C.ngx_http_lua_ffi_get_ctx_ref(r, nil, nil)
ngx.print(" ", debug.getregistry().ngx_lua_ctx_tables[ref].n)
ngx.print(" ", C.ngx_http_lua_ffi_get_resp_status(r))`, "8 000 12.5 5 404"},
		{"variables", `local ffi = require "ffi"
local base = require "resty.core.base"
local C, r, low = ffi.C, base.get_request(), ffi.new("char[200]")
local p, n, err = ffi.new("char *[1]"), base.get_size_ptr(), base.get_errmsg_ptr()
ngx.print(C.ngx_http_lua_ffi_var_get(r, "ARG_x", 5, low, 0, p, n, err), ffi.string(p[0], n[0]))
ngx.print(C.ngx_http_lua_ffi_var_get(r, "none", 4, low, 0, p, n, err))
ngx.print(C.ngx_http_lua_ffi_var_get(r, nil, 0, nil, 1, p, n, err))
ngx.print(C.ngx_http_lua_ffi_var_get(nil, "uri", 3, low, 0, p, n, err), ffi.string(err[0]))
local why = ffi.new("unsigned char[200]")
ffi.fill(low, 200)
n[0] = 200
ngx.print(" ", C.ngx_http_lua_ffi_var_set(r, "HOSTname", 8, ffi.cast("unsigned char *", low), "x", 1, why, n), ffi.string(why, n[0]))`,
			`01-5-5-1no request object found -1variable "hostname" not changeable`},
		{"the worker", `local C = require "ffi".C
ngx.print(C.ngx_http_lua_ffi_worker_id(), C.ngx_http_lua_ffi_worker_count(), C.ngx_http_lua_ffi_worker_exiting(),
  C.ngx_http_lua_ffi_worker_pid() == ngx.worker.pid(), C.ngx_http_lua_ffi_master_pid() == ngx.worker.pid(), C.ngx_http_lua_ffi_get_process_type())
local pids, n = require "ffi".new("int[1024]"), require "ffi".new("size_t[1]")
ngx.print(C.ngx_http_lua_ffi_worker_pids(pids, n), tonumber(n[0]), pids[0] == ngx.worker.pid())`, "010truetrue301true"},
		{"ffi is as always", `ngx.print(require "ffi" == package.loaded.ffi, require "ffi".os)`, "trueLinux"},
	})
}

func TestNoRequestInInit(t *testing.T) {
	checkAnswers(t, Options{Init: Source{Name: "init", Chunk: "=init", Text: `
local base = require "resty.core.base"
seen = {base.get_request() == nil, ngx.get_phase(), require "ngx.process".type(), ngx.worker.pids()}
seen[6] = select(2, pcall(function() return ngx.ctx end))
seen[7] = select(2, pcall(ndk.set_var.set_md5, "a"))`}}, []answer{
		{"init", `ngx.print(tostring(seen[1]), " ", seen[2], " ", seen[3], " ", seen[5], " ", seen[6], " ", seen[7])`,
			"true init master API disabled in the current context init:4: no request found no request found"},
	})
}

func TestCapturedLog(t *testing.T) {
	const none = `directive "lua_capture_error_log" is not set`
	checkAnswers(t, Options{}, []answer{
		{"nothing is captured", `local e = require "ngx.errlog"
ngx.print(select(2, e.get_logs()), "; ", select(2, e.set_filter_level(ngx.ERR)), "; ", select(2, e.set_filter_level()))`,
			none + "; " + none + `; missing "level" argument`},
		{"raw_log", `local e = require "ngx.errlog"
e.raw_log(ngx.ERR, "as it is")
ngx.print(select(2, pcall(e.raw_log, "x")), "; ", select(2, pcall(e.raw_log, 4)), "; ", select(2, pcall(e.raw_log, 9, "x")))`,
			"bad argument #1 to 'raw_log' (must be a number); bad argument #2 to 'raw_log' (must be a string); bad log level"},
		{"system level", `ngx.print(require "ngx.errlog".get_sys_filter_level())`, "8"},
	})
	checkAnswers(t, Options{Capture: 4096}, []answer{
		{"lines of this run", `local e = require "ngx.errlog"
ngx.log(ngx.ERR, "first")
ngx.log(ngx.WARN, "second")
local logs = e.get_logs()
ngx.print(#logs, " ", logs[1], logs[4], " ", ngx.now() - logs[2] < 5, " ",
  (logs[3]:gsub("%d%d%d%d/%d%d/%d%d %d%d:%d%d:%d%d", "TIME"):gsub("%d+#0", "PID#0")), " ", #e.get_logs())`,
			`6 45 true TIME [error] PID#0: *7 [lua] script0:2: first, client: 10.0.0.1, server: front, request: "GET /a?x=1 HTTP/1.1", host: "h.example" 0`},
		{"the oldest go first", `local e = require "ngx.errlog"
for i = 1, 100 do ngx.log(ngx.ERR, "line ", i, ";") end
local logs = e.get_logs(100)
local last = #logs / 3
ngx.print(last < 40 and last > 10, logs[3]:match("line (%d+);") == tostring(101 - last), logs[#logs]:match("line (%d+);"))`,
			"truetrue100"},
		{"max and a given table", `local e = require "ngx.errlog"
for i = 1, 3 do ngx.log(ngx.ERR, i, ";") end
local t = {1, 2, 3, 4, 5, 6, 7, 8}
local logs = e.get_logs(2, t)
ngx.print(logs == t, t[3]:match("(%d);"), t[6]:match("(%d);"), t[7], " ", e.get_logs(2)[3]:match("(%d);"))`, "true12nil 3"},
		{"filter level", `local e = require "ngx.errlog"
ngx.print(e.set_filter_level(ngx.ERR), select(2, e.set_filter_level(9)))
ngx.log(ngx.WARN, "not this")
ngx.log(ngx.ERR, "this")
ngx.print(#e.get_logs())`, "truebad log level: 93"},
		{"a line that cannot be held", `local e = require "ngx.errlog"
ngx.log(ngx.ERR, ("x"):rep(4000))
ngx.print(#e.get_logs())`, "0"},
	})
}

func TestLinesOfOthersAreCaptured(t *testing.T) {
	p, scripts := testPool(t, Options{Capture: 4096}, `
local logs = require "ngx.errlog".get_logs()
ngx.print(logs[1], " ", logs[3], " ", #logs)`)
	if !p.Captures() {
		t.Fatal("nothing is captured")
	}
	p.Capture(LevelCrit, []byte("of the gateway"))
	s := pinned(t, p)
	finish(s, s.Start(scripts[0], PhaseContent, nil))
	if got := string(s.Output()); got != "3 of the gateway 3" {
		t.Errorf("got %q", got)
	}
}

func TestNDK(t *testing.T) {
	quoted := "a'b\"c\\d\n$"
	var cases []answer
	for _, c := range []struct{ call, want string }{
		{`set_escape_uri("a/b c+\255~_-.'()*,")`, "a%2Fb%20c%2B%FF~_-.'()*,"},
		{`set_unescape_uri("a%2fb+c")`, "a/b c"},
		{`set_encode_base64("ab")`, "YWI="},
		{`set_decode_base64("YWI=")`, "ab"},
		{`set_decode_base64("*")`, ""},
		{`set_encode_base64url("\255\254")`, "__4"},
		{`set_decode_base64url("__4")`, "\xff\xfe"},
		{`set_md5("a")`, "0cc175b9c0f1b6a831c399e269772661"},
		{`set_sha1("a")`, "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"},
		{`set_encode_hex("\1\255")`, "01ff"},
		{`set_decode_hex("01Ff")`, "\x01\xff"},
		{`set_encode_base32("")`, ""},
		{`set_encode_base32("a")`, "c4======"},
		{`set_encode_base32("ab")`, "c5h0===="},
		{`set_encode_base32("abc")`, "c5h66==="},
		{`set_encode_base32("abcd")`, "c5h66p0="},
		{`set_encode_base32("abcde")`, "c5h66p35"},
		{`set_decode_base32("C5H66P35C4======")`, "abcdea"},
		{`set_decode_base32("c")`, ""},
		{`set_decode_base32("cz")`, ""},
		{`set_quote_sql_str([[` + quoted + `]])`, `'a\'b\"c\\d\n\$'`},
		{`set_quote_pgsql_str("")`, "''"},
		{`set_quote_pgsql_str("a'b")`, `E'a\'b'`},
		{`set_quote_pgsql_str("\195\164")`, "E'\xc3\xa4'"},
		{`set_quote_pgsql_str("\192\128")`, `E'\\300\\200'`},
		{`set_quote_json_str("")`, "null"},
		{`set_quote_json_str("a\"\n\1\127")`, "\"a\\\"\\n\\u0001\x7f\""},
		{`set_local_today(1) == ngx.today()`, "true"},
		{`set_formatted_gmt_time("%Y-%m-%d %H:%M:%S") == ngx.utctime()`, "true"},
		{`set_formatted_gmt_time("")`, ""},
		{`set_formatted_local_time("%Y-%m-%d %H:%M:%S") == ngx.localtime()`, "true"},
		{`set_secure_random_lcalpha(40):match("^%l+$") ~= nil`, "true"},
		{`set_secure_random_alphanum("40"):match("^%w+$") ~= nil`, "true"},
	} {
		cases = append(cases, answer{c.call, "ngx.print(ndk.set_var." + c.call + ")", c.want})
	}
	failed := func(call, want string) {
		cases = append(cases, answer{call, "ngx.print(select(2, pcall(function() " + call + " end)))", want})
	}
	failed("ndk.set_var.set_decode_hex('0x')", "script0:1: calling directive set_decode_hex failed with code -1")
	failed("ndk.set_var.set_secure_random_lcalpha(65)", "script0:1: calling directive set_secure_random_lcalpha failed with code -1")
	failed("return ndk.set_var.set_no_such", `script0:1: ndk.set_var: directive "set_no_such" not found or does not use ndk_set_var_value`)
	failed("ndk.set_var.x = 1", "script0:1: not allowed")
	cases = append(cases, answer{"module", `ngx.print(require "ndk" == ndk)`, "true"})
	checkAnswers(t, Options{}, cases)
}
