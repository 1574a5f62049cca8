//go:build cgo && luajit

package luavm

import (
	"fmt"
	"strings"
	"testing"
)

const testHead = "GET /t?a=1&b=%20x&a=2&c&E=&=z HTTP/1.1\r\n" +
	"Host: Example.com:8080\r\n" +
	"User-Agent: curl/7\r\n" +
	"X-One: 1\r\n" +
	"x-one: 2\r\n" +
	"Cookie: sid=abc; Theme=dark\r\n" +
	"Cookie: lang=en\r\n" +
	"X-Forwarded-For: 1.1.1.1\r\n" +
	"X-Forwarded-For: 2.2.2.2\r\n" +
	"Content-Type: text/plain\r\n" +
	"Content-Length: 5\r\n" +
	"Empty:\r\n" +
	"\r\n"

const testResp = "HTTP/1.1 200 OK\r\n" +
	"Content-Type: text/html\r\n" +
	"Connection: close\r\n" +
	"Transfer-Encoding: chunked\r\n" +
	"Set-Cookie: a=1\r\n" +
	"Set-Cookie: b=2\r\n" +
	"X-Up: yes\r\n" +
	"\r\n"

// requestCase is one snippet and what it prints, or how it fails.
type requestCase struct {
	name   string
	lua    string
	phase  Phase // PhaseContent when 0
	head   string
	resp   string
	body   string
	flags  Flags
	method string
	minor  int32 // HTTP/1.minor; 1 when 0, 0 when -1
	want   string
	err    string // part of the error's text
	status int    // of ngx.exit or redirect
	edits  string // each edit as "kind name=value|"
	logged string // part of the log
}

// requestScripts is a started pool of one VM with a script of each text. All
// that they log is added to logged.
func requestScripts(t testing.TB, logged *strings.Builder, texts ...string) (*Pool, []*Script) {
	t.Helper()
	pool, err := NewPool(Options{
		LogLevel: LevelDebug,
		Log: func(_ *Slot, _ int, line []byte) {
			logged.Write(line)
			logged.WriteByte('\n')
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	scripts := make([]*Script, len(texts))
	for i, text := range texts {
		scripts[i], err = pool.Add(Source{Name: fmt.Sprint(i), Chunk: "=t", Text: text})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := pool.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, scripts
}

// requestPool compiles the snippets and returns a function that runs one.
func requestPool(t testing.TB, cases []requestCase) func(testing.TB, int) (*Slot, Outcome, string) {
	t.Helper()
	texts := make([]string, len(cases))
	for i, c := range cases {
		texts[i] = c.lua
	}
	var logged strings.Builder
	pool, scripts := requestScripts(t, &logged, texts...)
	return func(t testing.TB, i int) (*Slot, Outcome, string) {
		t.Helper()
		logged.Reset()
		slot, err := pool.Pin(0)
		if err != nil {
			t.Fatal(err)
		}
		c := cases[i]
		phase := c.phase
		if phase == 0 {
			phase = PhaseContent
		}
		fillSlot(t, slot, &c)
		in := &Input{Head: []byte(c.head), Resp: []byte(c.resp), Body: []byte(c.body)}
		if c.head == "" {
			in.Head = []byte(testHead)
		}
		outcome := slot.Start(scripts[i], phase, in)
		return slot, outcome, logged.String()
	}
}

func fillSlot(t testing.TB, s *Slot, c *requestCase) {
	t.Helper()
	for v, text := range map[Variable]string{
		VarURI: "/t", VarArgs: "a=1&b=%20x&a=2&c&E=&=z", VarRequestURI: "/t?a=1&b=%20x&a=2&c&E=&=z",
		VarMethod: "GET", VarHost: "example.com", VarScheme: "http", VarProtocol: "HTTP/1.1",
		VarRemoteAddr: "127.0.0.1", VarRemotePort: "4321", VarServerAddr: "10.0.0.1",
		VarServerPort: "8080", VarServerName: "example.com", VarRequestID: "deadbeef", VarRoute: "orders",
	} {
		if v == VarMethod && c.method != "" {
			text = c.method
		}
		if err := s.SetVarString(v, text); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"tenant": "acme", "1": "one", "2": ""} {
		if err := s.SetExtra(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetExtra("unset", nil); err != nil {
		t.Fatal(err)
	}
	minor := c.minor
	switch minor {
	case 0:
		minor = 1
	case -1:
		minor = 0
	}
	s.SetNumbers(&Numbers{
		StartTime: 1700000000.25, StartNS: 1, BytesSent: 11, BodyBytesSent: 7,
		RequestLength: 99, Connection: 42, ConnectionRequests: 3, HTTPMinor: minor,
	})
	s.SetFlags(c.flags)
	if c.resp != "" {
		s.SetStatus(200)
	}
}

func editText(s *Slot) string {
	var b strings.Builder
	for e := (Edit{}); s.NextEdit(&e); {
		fmt.Fprintf(&b, "%d %s=%s", e.Kind, e.Name, e.Value)
		if e.Aux != 0 {
			fmt.Fprintf(&b, "!%d", e.Aux)
		}
		b.WriteByte('|')
	}
	return b.String()
}

func runRequestCases(t *testing.T, cases []requestCase) {
	run := requestPool(t, cases)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			slot, outcome, logged := run(t, i)
			defer slot.Release()
			checkOutcome(t, &c, outcome)
			if got := string(slot.Output()); got != c.want {
				t.Errorf("printed %q\n   want %q", got, c.want)
			}
			if got := editText(slot); c.edits != "" && got != c.edits {
				t.Errorf("edits %q\n want %q", got, c.edits)
			}
			if !strings.Contains(logged, c.logged) {
				t.Errorf("logged %q, want %q", logged, c.logged)
			}
		})
	}
}

func checkOutcome(t *testing.T, c *requestCase, outcome Outcome) {
	t.Helper()
	switch outcome.Kind {
	case Failed:
		if c.err == "" || !strings.Contains(outcome.Err.Message, c.err) {
			t.Errorf("failed with %q, want %q", outcome.Err.Message, c.err)
		}
		if c.err != "" && !strings.HasPrefix(outcome.Err.Message, "t:") {
			t.Errorf("the error does not name the script's line: %q", outcome.Err.Message)
		}
	case Exit:
		if int(outcome.Status) != c.status || c.err != "" {
			t.Errorf("left with %d, want %d, error %q", outcome.Status, c.status, c.err)
		}
	case Done:
		if c.err != "" || c.status != 0 {
			t.Errorf("ended, want error %q, status %d", c.err, c.status)
		}
	default:
		t.Errorf("waits for op %d", outcome.Op.Kind)
	}
}

func TestVariables(t *testing.T) {
	get := func(name, want string) requestCase {
		return requestCase{name: name, lua: "ngx.print(ngx.var[" + fmt.Sprintf("%q", name) + "])", want: want}
	}
	cases := []requestCase{
		get("uri", "/t"), get("document_uri", "/t"), get("request_uri", "/t?a=1&b=%20x&a=2&c&E=&=z"),
		get("args", "a=1&b=%20x&a=2&c&E=&=z"), get("query_string", "a=1&b=%20x&a=2&c&E=&=z"), get("is_args", "?"),
		get("arg_a", "1"), get("arg_A", "1"), get("arg_b", "%20x"), get("arg_c", "nil"), get("arg_e", ""), get("arg_", "nil"),
		get("http_host", "Example.com:8080"), get("http_x_one", "1, 2"), get("HTTP_X_ONE", "1, 2"),
		get("http_x-one", "nil"), get("http_none", "nil"), get("http_empty", ""),
		get("http_x_forwarded_for", "1.1.1.1, 2.2.2.2"), get("http_cookie", "sid=abc; Theme=dark; lang=en"),
		get("cookie_sid", "abc"), get("cookie_theme", "dark"), get("cookie_lang", "en"), get("cookie_x", "nil"),
		get("host", "example.com"), get("scheme", "http"), get("https", ""), get("request", "GET /t?a=1&b=%20x&a=2&c&E=&=z HTTP/1.1"),
		get("request_method", "GET"), get("server_protocol", "HTTP/1.1"), get("remote_addr", "127.0.0.1"),
		get("binary_remote_addr", "\x7f\x00\x00\x01"), get("remote_port", "4321"), get("server_addr", "10.0.0.1"),
		get("server_port", "8080"), get("server_name", "example.com"), get("status", "000"), get("request_id", "deadbeef"),
		get("request_length", "99"), get("bytes_sent", "11"), get("body_bytes_sent", "7"), get("connection", "42"),
		get("connection_requests", "3"), get("content_type", "text/plain"), get("content_length", "5"),
		get("upstream_addr", "nil"), get("route", "orders"), get("tenant", "acme"), get("Tenant", "acme"), get("unset", "nil"),
		get("nothing", "nil"), get("", "nil"), get("1", "one"), get("nginx_version", "1.22.1"),
	}
	cases = append(cases,
		requestCase{name: "numbers are captures", lua: "ngx.print(ngx.var[1], '|', ngx.var[2], '|', ngx.var[3], '|', ngx.var[0])", want: "one||nil|nil"},
		requestCase{name: "time", lua: `ngx.print(ngx.var.msec:match("^%d+%.%d%d%d$") ~= nil, ngx.var.request_time:match("^%d+%.%d%d%d$") ~= nil,
			ngx.var.time_iso8601:match("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d[+-]%d%d:%d%d$") ~= nil,
			ngx.var.time_local:match("^%d%d/%a%a%a/%d%d%d%d:%d%d:%d%d:%d%d [+-]%d%d%d%d$") ~= nil)`, want: "truetruetruetrue"},
		requestCase{name: "tls", lua: "ngx.print(ngx.var.https)", flags: FlagTLS, want: "on"},
		requestCase{name: "body", lua: "ngx.print(ngx.var.request_body)", flags: FlagBodyRead, body: "hello", want: "hello"},
		requestCase{name: "body unread", lua: "ngx.print(ngx.var.request_body)", body: "hello", want: "nil"},
		requestCase{name: "sent_http", phase: PhaseLog, resp: testResp,
			lua:   "ngx.var.tenant = table.concat({ngx.var.sent_http_set_cookie, ngx.var.sent_http_content_type, tostring(ngx.var.sent_http_connection), ngx.var.status}, '/')",
			edits: "11 tenant=a=1, b=2/text/html/nil/200|"},
		requestCase{name: "write set variable", lua: "ngx.var.tenant = 'x'; ngx.var.TENANT = 12.5; ngx.print(ngx.var.tenant)", want: "12.5", edits: "11 tenant=x|11 TENANT=12.5|"},
		requestCase{name: "write nil", lua: "ngx.var.tenant = nil; ngx.print(ngx.var.tenant)", want: "nil", edits: "11 tenant=!1|"},
		requestCase{name: "write args", lua: "ngx.var.args = 'z=9'; ngx.print(ngx.var.arg_z, ngx.var.query_string, ngx.var.request_uri)", want: "9z=9/t?a=1&b=%20x&a=2&c&E=&=z", edits: "9 =z=9|"},
		requestCase{name: "write many", lua: "for i = 1, 2000 do ngx.var.tenant = ('x'):rep(i); ngx.var.unset = i end ngx.print(#ngx.var.tenant, ngx.var.unset, ngx.var.uri, ngx.var[1])", want: "20002000/tone"},
		requestCase{name: "write too much", lua: "for i = 1, 5000 do ngx.var.tenant = ('x'):rep(i) end", err: "t:1: no memory"},
		requestCase{name: "write uri", lua: "ngx.var.URI = '/x'", err: `t:1: variable "uri" not changeable`},
		requestCase{name: "write http_host", lua: "ngx.var.http_host = '/x'", err: `t:1: variable "http_host" not changeable`},
		requestCase{name: "write unknown", lua: "ngx.var.Foo = 1", err: `variable "foo" not found for writing; maybe it is a built-in variable that is not changeable or you forgot to use "set $foo '';" in the config file to define it first`},
		requestCase{name: "bad name", lua: "return ngx.var[true]", err: "t:1: bad variable name"},
		requestCase{name: "write bad name", lua: "ngx.var[1] = 1", err: "t:1: bad variable name"},
	)
	runRequestCases(t, cases)
}

func TestRequestFunctions(t *testing.T) {
	// sorted shows a table of headers or arguments the same way always
	const sorted = `local function show(t, err)
		local l = {}
		for k, v in pairs(t) do
			if type(v) == "table" then v = "{" .. table.concat(v, ",") .. "}" end
			l[#l + 1] = k .. "=" .. tostring(v)
		end
		table.sort(l)
		ngx.print(table.concat(l, " "), " ", err)
	end `
	runRequestCases(t, []requestCase{
		{name: "get_method", lua: "ngx.print(ngx.req.get_method())", want: "GET"},
		{name: "set_method", lua: "ngx.req.set_method(ngx.HTTP_PUT) ngx.print(ngx.req.get_method(), ngx.var.request_method)", want: "PUTPUT", edits: "7 =PUT|"},
		{name: "set_method name", lua: "ngx.req.set_method('PUT')", err: "t:1: bad method number"},
		{name: "set_method unknown", lua: "ngx.req.set_method(3)", err: "t:1: unsupported HTTP method: 3"},
		{name: "get_headers", lua: sorted + "show(ngx.req.get_headers())", want: "content-length=5 content-type=text/plain cookie={sid=abc; Theme=dark,lang=en} " +
			"empty= host=Example.com:8080 user-agent=curl/7 x-forwarded-for={1.1.1.1,2.2.2.2} x-one={1,2} nil"},
		{name: "get_headers raw", lua: sorted + "local h = ngx.req.get_headers(3, true) show(h) ngx.print(getmetatable(h))", want: "Host=Example.com:8080 User-Agent=curl/7 X-One=1 nilnil"},
		{name: "get_headers max", lua: sorted + "show(ngx.req.get_headers(2))", want: "host=Example.com:8080 user-agent=curl/7 truncated"},
		{name: "get_headers unlimited", lua: "for i = 1, 150 do ngx.req.set_header('x' .. i, i) end local n = 0 for _ in pairs(ngx.req.get_headers(0)) do n = n + 1 end " +
			"local h, err = ngx.req.get_headers() ngx.print(n, err)", want: "158truncated"},
		{name: "get_headers spelling", lua: "local h = ngx.req.get_headers() ngx.print(h.user_agent, h['USER-AGENT'], h.x_one[2], h.none)", want: "curl/7curl/72nil"},
		{name: "set_header", lua: sorted + "ngx.req.set_header('X-One', 'new') ngx.req.set_header('New', {1, 'b', true}) ngx.req.set_header('Empty', nil) show(ngx.req.get_headers()) ngx.print(ngx.var.http_x_one, ngx.var.http_new)",
			want: "content-length=5 content-type=text/plain cookie={sid=abc; Theme=dark,lang=en} " +
				"host=Example.com:8080 new={1,b,true} user-agent=curl/7 x-forwarded-for={1.1.1.1,2.2.2.2} x-one=new nilnew1, b, true",
			edits: "1 X-One=new|1 New=1|2 New=b|2 New=true|3 Empty=|"},
		{name: "set_header forms", lua: "local s = ngx.req.set_header s('a', '') s('b', {}) s('c', {'', ''}) s('User-Agent', {1, 2}) s(5, 1.5) ngx.req.clear_header('Host')",
			edits: "3 a=|3 b=|3 c=|2 c=|1 User-Agent=1|1 User-Agent=2|1 5=1.5|3 Host=|"},
		{name: "set_header escapes", lua: "ngx.req.set_header('a b:\\r\\nc', '\\r\\nd\\0\\t\\127') ngx.print(ngx.req.get_headers()['a%20b%3a%0d%0ac'])",
			edits: "1 a%20b%3A%0D%0Ac=%0D%0Ad%00\t%7F|", want: "%0D%0Ad%00\t%7F"},
		{name: "set_header host", lua: "ngx.req.set_header('Host', 'New.example:9') ngx.print(ngx.var.host, ' ', ngx.var.http_host)", want: "new.example New.example:9"},
		{name: "set_header bad host", lua: "ngx.req.set_header('Host', 'a/b')", err: "t:1: failed to set header"},
		{name: "set_header bad length", lua: "ngx.req.set_header('content-length', 'x')", err: "t:1: failed to set header"},
		{name: "set_header nil name", lua: "ngx.req.set_header(nil, 'x')", err: "t:1: bad 'name' argument: string expected, got nil"},
		{name: "add_header", lua: "local add = require('ngx.req').add_header add('x-one', 3) add('x-one', {4}) ngx.print(ngx.var.http_x_one)", want: "1, 2, 3, 4", edits: "2 x-one=3|2 x-one=4|"},
		{name: "add_header nil", lua: "require('ngx.req').add_header('x')", err: "t:1: bad 'value' argument: string or table expected, got nil"},
		{name: "add_header none", lua: "require('ngx.req').add_header('x', {})", err: "t:1: bad 'value' argument: non-empty table expected"},
		{name: "get_uri_args", lua: sorted + "show(ngx.req.get_uri_args())", want: "E= a={1,2} b= x c=true nil"},
		{name: "get_uri_args max", lua: sorted + "show(ngx.req.get_uri_args(2))", want: "a=1 b= x truncated"},
		{name: "get_uri_args tab", lua: sorted + "local t = {old = 1} show(ngx.req.get_uri_args(0, t)) ngx.print(t.old)", want: "E= a={1,2} b= x c=true nilnil"},
		{name: "set_uri_args", lua: "ngx.req.set_uri_args('x=a b&y=\\r\\n\\127é') ngx.print(ngx.var.args)", want: "x=a%20b&y=%0D%0A%7Fé", edits: "9 =x=a%20b&y=%0D%0A%7Fé|"},
		{name: "set_uri_args table", lua: "ngx.req.set_uri_args({a = 'x y&', b = {}}) ngx.print(ngx.var.args)", want: "a=x%20y%26"},
		{name: "set_uri_args empty", lua: "ngx.req.set_uri_args({}) ngx.print(ngx.var.args, ngx.var.is_args, next(ngx.req.get_uri_args()))", want: "nil"},
		{name: "set_uri_args nil", lua: "ngx.req.set_uri_args(nil)", err: "t:1: bad argument #1 to 'set_uri_args' (string, number, or table expected, but got nil)"},
		{name: "set_uri_args none", lua: "ngx.req.set_uri_args()", err: "t:1: expecting 1 argument but seen 0"},
		{name: "set_uri", lua: "ngx.req.set_uri('/new') ngx.print(ngx.var.uri, ngx.var.request_uri, ngx.req.is_internal())", want: "/new/t?a=1&b=%20x&a=2&c&E=&=ztrue", edits: "8 =/new|"},
		{name: "set_uri jump", phase: PhaseRewrite, lua: "ngx.req.set_uri('/new', true) error('not reached')", edits: "8 =/new!1|"},
		{name: "set_uri jump elsewhere", lua: "ngx.req.set_uri('/new', true)", err: "t:1: API disabled in the context of content_by_lua*"},
		{name: "set_uri none", lua: "ngx.req.set_uri()", err: "t:1: expecting 1, 2 or 3 arguments but seen 0"},
		{name: "set_uri nil", lua: "ngx.req.set_uri(nil)", err: "t:1: bad argument #1 to 'set_uri' (string expected, got nil)"},
		{name: "set_uri empty", lua: "ngx.req.set_uri('')", err: "t:1: attempt to use zero-length uri"},
		{name: "set_uri not boolean", lua: "ngx.req.set_uri('/x', 1)", err: "t:1: bad argument #2 to 'set_uri' (boolean expected, got number)"},
		{name: "set_uri unsafe", lua: "ngx.req.set_uri('/a\\r\\nb')", err: `t:1: unsafe byte "0x0d" in uri "/a\x0D\x0Ab" (maybe you want to set the 'binary' argument?)`},
		{name: "set_uri binary", lua: "ngx.req.set_uri('/a\\r', false, true)", edits: "8 =/a\r|"},
		{name: "http_version", lua: "ngx.print(ngx.req.http_version())", want: "1.1"},
		{name: "http_version 1.0", minor: -1, lua: "ngx.print(ngx.req.http_version())", want: "1"},
		{name: "http_version 2", minor: 20, lua: "ngx.print(ngx.req.http_version())", want: "2"},
		{name: "raw_header", lua: "ngx.print(ngx.req.raw_header())", want: testHead},
		{name: "raw_header without line", lua: "ngx.print(ngx.req.raw_header(true))", want: testHead[strings.Index(testHead, "\n")+1:]},
		{name: "raw_header of http2", minor: 20, lua: "ngx.req.raw_header()", err: "t:1: http2 requests not supported yet"},
		{name: "start_time", lua: "ngx.print(ngx.req.start_time())", want: "1700000000.25"},
		{name: "is_internal", lua: "ngx.print(ngx.req.is_internal())", want: "false"},
		{name: "no var in timers", phase: PhaseTimer, lua: "return ngx.var.uri", err: "t:1: API disabled in the current context"},
		{name: "encode_args", lua: "ngx.print(ngx.encode_args({['b r'] = 'hello world'}))", want: "b%20r=hello%20world"},
		{name: "encode_args list", lua: "ngx.print(ngx.encode_args({a = {1, true, false, 'x'}}), ' ', ngx.encode_args({a = true}), ' ', ngx.encode_args({a = false}))", want: "a=1&a&a=x a "},
		{name: "encode_args bad key", lua: "ngx.encode_args({1})", err: `t:1: attempt to use a non-string key in the "args" option table`},
		{name: "encode_args bad value", lua: "ngx.encode_args({a = print})", err: "t:1: attempt to use function as query arg value"},
		{name: "encode_args string", lua: "ngx.encode_args('x')", err: "t:1: bad argument #1 to 'encode_args' (table expected, got string)"},
		{name: "decode_args", lua: sorted + "show(ngx.decode_args('a=1&b=2+3&a=%41%zz&&=x&c'))", want: "a={1,A%zz} b=2 3 c=true nil"},
		{name: "decode_args max", lua: sorted + "show(ngx.decode_args('a=1&b=2&c=3', 2))", want: "a=1 b=2 truncated"},
		{name: "decode_args nothing", lua: "ngx.decode_args()", err: "t:1: expecting 1 or 2 arguments but seen 0"},
		{name: "escape_uri", lua: "ngx.print(ngx.escape_uri(' a-b/ü?'), ngx.escape_uri(' a/?', 0), ngx.escape_uri(nil), ngx.escape_uri(5))", want: "%20a-b%2F%C3%BC%3F%20a/%3F5"},
		{name: "escape_uri type", lua: "ngx.escape_uri('x', 'y')", err: `"type" is not a number`},
		{name: "escape_uri range", lua: "ngx.escape_uri('x', 7)", err: `"type" 7 out of range`},
		{name: "unescape_uri", lua: "ngx.print(ngx.unescape_uri('%20a+b%2'), ngx.unescape_uri('x'))", want: " a b%2x"},
	})
}

func TestResponseFunctions(t *testing.T) {
	const hf = PhaseHeaderFilter
	runRequestCases(t, []requestCase{
		{name: "read", phase: hf, resp: testResp, lua: "local h = ngx.header ngx.var.tenant = table.concat({h.content_type, h['X-UP'], h['set-cookie'][2], tostring(h.none), tostring(h.connection), ngx.status}, '|')",
			edits: "11 tenant=text/html|yes|b=2|nil|nil|200|"},
		{name: "write", phase: hf, resp: testResp, lua: "local h = ngx.header h.x_up = 'no' h['Set-Cookie'] = {'c=3', 'd=4'} h.Content_Type = nil h.new = 1 " +
			"ngx.var.tenant = table.concat({h.X_Up, #h.set_cookie, tostring(h['content-type']), h.New}, '|')",
			edits: "4 x-up=no|4 Set-Cookie=c=3|5 Set-Cookie=d=4|6 Content-Type=|4 new=1|11 tenant=no|2|nil|1|"},
		{name: "write forms", phase: hf, lua: "local h = ngx.header h.a = '' h.b = {} h.c = {'', ''} h.Location = {'/1', '/2'} h[5] = true h.X = {'', 'y'} h['a\\r\\nb'] = 'c\\r\\nd'",
			edits: "6 a=|6 b=|6 c=|4 Location=/1|4 Location=/2|4 5=true|6 X=|5 X=y|4 a%0D%0Ab=c%0D%0Ad|"},
		{name: "add", phase: hf, resp: testResp, lua: "local add = require('ngx.resp').add_header add('Set-Cookie', 'c=3') ngx.var.tenant = #ngx.header.set_cookie", edits: "5 Set-Cookie=c=3|11 tenant=3|"},
		{name: "add nil", phase: hf, lua: "require('ngx.resp').add_header('x')", err: "t:1: invalid header value"},
		{name: "bad length", lua: "ngx.header.content_length = 'x'", err: "t:1: failed to set header"},
		{name: "length", lua: "ngx.header.content_length = 12 ngx.print(ngx.header.content_length)", want: "12"},
		{name: "write after print", lua: "ngx.print('x') ngx.header.foo = 1 ngx.print(ngx.headers_sent)", want: "xtrue", logged: "attempt to set ngx.header.HEADER after sending out response headers"},
		{name: "write after print in header filter", phase: hf, flags: FlagCommitted, lua: "ngx.header.foo = 1 ngx.status = 201 assert(not ngx.headers_sent) ngx.var.tenant = ngx.status", edits: "4 foo=1|11 tenant=201|"},
		{name: "status", lua: "ngx.print(ngx.status) ", want: "0"},
		{name: "status write", lua: "ngx.status = '404' ngx.print(ngx.status)", want: "404"},
		{name: "status after print", lua: "ngx.print('') ngx.status = 404 ngx.print(ngx.status)", want: "200", logged: "attempt to set ngx.status after sending out response headers"},
		{name: "status range", lua: "ngx.status = 1000 ngx.print(ngx.status)", want: "0", logged: "invalid HTTP status code 1000"},
		{name: "headers_sent", lua: "ngx.print(ngx.headers_sent, ngx.is_subrequest)", want: "falsefalse"},
		{name: "is_subrequest", flags: FlagSubrequest, lua: "ngx.print(ngx.is_subrequest)", want: "true"},
		{name: "resp.get_headers", phase: hf, resp: testResp, lua: "ngx.header.foo = 'bar' local h, err = ngx.resp.get_headers() " +
			"ngx.var.tenant = table.concat({h['content-type'], h.set_cookie[1], h.foo, h.connection, h['X-Up'], tostring(h.transfer_encoding), tostring(err)}, '|')",
			edits: "4 foo=bar|11 tenant=text/html|a=1|bar|keep-alive|yes|nil|nil|"},
		{name: "resp.get_headers max", phase: hf, resp: testResp, lua: "local h, err = ngx.resp.get_headers(2, true) ngx.var.tenant = table.concat({h['Content-Type'], h.connection, tostring(h['Set-Cookie']), err}, '|')",
			edits: "11 tenant=text/html|keep-alive|nil|truncated|"},
		{name: "resp connection close", phase: hf, head: "GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", lua: "ngx.var.tenant = ngx.resp.get_headers().connection", edits: "11 tenant=close|"},
		{name: "resp connection 1.0", phase: hf, minor: -1, lua: "ngx.var.tenant = ngx.resp.get_headers().connection", edits: "11 tenant=close|"},
		{name: "redirect", lua: "ngx.redirect('/x?a=b') error('not reached')", edits: "4 Location=/x?a=b|", status: 302},
		{name: "redirect 301", phase: PhaseAccess, lua: "ngx.redirect('http://a/', ngx.HTTP_MOVED_PERMANENTLY)", edits: "4 Location=http://a/|", status: 301},
		{name: "redirect 200", lua: "ngx.redirect('/', 200)", err: "t:1: only ngx.HTTP_MOVED_TEMPORARILY, ngx.HTTP_MOVED_PERMANENTLY, ngx.HTTP_PERMANENT_REDIRECT, ngx.HTTP_SEE_OTHER, and ngx.HTTP_TEMPORARY_REDIRECT are allowed"},
		{name: "redirect nothing", lua: "ngx.redirect()", err: "t:1: expecting one or two arguments"},
		{name: "redirect late", lua: "ngx.print('x') ngx.redirect('/')", want: "x", err: "t:1: attempt to call ngx.redirect after sending out the headers"},
		{name: "redirect unsafe", lua: "ngx.redirect('/\\n\\tx')", err: `t:1: unsafe byte "0x0a" in redirect uri "/\x0A\x09x"`},
		{name: "redirect elsewhere", phase: hf, lua: "ngx.redirect('/')", err: "t:1: API disabled in the context of header_filter_by_lua*"},
	})
}
