//go:build cgo && luajit

package luavm

import (
	"fmt"
	"strings"
	"testing"
)

func TestOutput(t *testing.T) {
	runRequestCases(t, []requestCase{
		{name: "print", lua: "ngx.print('a', 1, 1.5, 1e15, nil, true, false, ngx.null, {'x', {2, {}, 'y'}, true})", want: "a11.51e+15niltruefalsenullx2ytrue"},
		{name: "say", lua: "ngx.say('a', 'b') ngx.say()", want: "ab\n\n"},
		{name: "returns", lua: "ngx.print(ngx.print('a'), ngx.print(''))", want: "a11"},
		{name: "holes", lua: "ngx.print({1, nil, 3})", want: "1nil3"},
		{name: "a hash", lua: "ngx.print({a = 1})", err: "t:1: bad argument #1 to 'print' (non-array table found)"},
		{name: "a function", lua: "ngx.say('a', print)", err: "t:1: bad argument #2 to 'say' (string, number, boolean, nil, ngx.null, or array table expected, but got function)"},
		{name: "a function in a table", lua: "ngx.say({{print}})", err: "t:1: bad argument #1 to 'say' (bad data type function found)"},
		{name: "itself", lua: "local t = {} t[1] = t ngx.print(t)", err: "t:1: bad argument #1 to 'print' (table nested too deep)"},
		{name: "elsewhere", phase: PhaseLog, lua: "ngx.say('x')", err: "t:1: API disabled in the context of log_by_lua*"},
		{name: "access", phase: PhaseAccess, lua: "ngx.say('x')", want: "x\n"},
		{name: "HEAD", method: "HEAD", lua: "local a = ngx.say('x') local b, err = ngx.say('y') ngx.header.x = tostring(a) .. tostring(b) .. err", logged: "after sending out"},
		{name: "HEAD results", method: "HEAD", lua: "local a = ngx.say('x') local b, err = ngx.say('y') ngx.var.tenant = tostring(a) .. tostring(b) .. err", edits: "11 tenant=1nilheader only|"},
		{name: "HTTP/1.0", minor: -1, lua: "ngx.print('x') ngx.print(ngx.headers_sent, ngx.flush())", want: "xfalsenilbuffering"},
		{name: "HTTP/1.0 with a length", minor: -1, lua: "ngx.header.content_length = 5 ngx.print('x') ngx.print(ngx.headers_sent)", want: "xtrue"},
		{name: "flush nothing", lua: "ngx.print(ngx.flush(true))", want: "nilnothing to flush"},
		{name: "flush a number", lua: "ngx.flush(1)", err: "t:1: bad argument #1 to 'flush' (boolean expected, got number)"},
		{name: "flush too much", lua: "ngx.flush(true, 1)", err: "t:1: attempt to pass 2 arguments, but accepted 0 or 1"},
		{name: "eof with an argument", lua: "ngx.eof(1)", err: "t:1: no argument is expected"},
		{name: "eof elsewhere", phase: PhaseHeaderFilter, lua: "ngx.eof()", err: "t:1: API disabled in the context of header_filter_by_lua*"},
		{name: "too much", lua: "local s = ('x'):rep(2 ^ 20) local f = function() for i = 1, 100 do local ok, err = ngx.print(s) if not ok then return err end end end " +
			"local err; string.gsub('x', 'x', function() err = f() end) ngx.var.tenant = err", edits: "11 tenant=nginx output filter error|", want: strings.Repeat("x", 64<<20)},
	})
}

// runOps plays a driver: it performs ops and writes down what it saw.
func runOps(slot *Slot, outcome Outcome, in *Input) (Outcome, string) {
	var seen strings.Builder
	for outcome.Kind == Wait {
		op := outcome.Op
		fmt.Fprintf(&seen, "%d/%d %d|", op.Kind, op.Int, len(slot.Output()))
		slot.ClearOutput()
		switch {
		case op.Kind == OpReadBody && in.Body != nil:
			op.Result = 413
		case op.Kind == OpReadBody:
			in.Body = []byte("a=1&b=2")
		}
		outcome = slot.Resume(op, in)
	}
	fmt.Fprintf(&seen, "end %d", len(slot.Output()))
	return outcome, seen.String()
}

func TestWaits(t *testing.T) {
	cases := []struct {
		requestCase
		ops string
	}{
		{requestCase{name: "flush", lua: "ngx.print('ab') ngx.var.tenant = tostring(ngx.flush(true)) .. tostring(ngx.flush()) ngx.print('c')", edits: "11 tenant=11|"}, "4/1 2|4/0 0|end 1"},
		{requestCase{name: "flush in a coroutine", lua: "coroutine.wrap(function() ngx.print('ab') assert(ngx.flush(true)) end)() ngx.print('c')"}, "4/1 2|end 1"},
		{requestCase{name: "much output", lua: "for i = 1, 20 do ngx.print(('x'):rep(10000)) end"}, "4/1 70000|4/1 70000|end 60000"},
		{requestCase{name: "much buffered output", minor: -1, lua: "for i = 1, 20 do ngx.print(('x'):rep(10000)) end"}, "end 200000"},
		{requestCase{name: "eof", lua: "ngx.print('ab') ngx.var.tenant = tostring(ngx.eof()) .. tostring(select(2, ngx.eof())) .. select(2, ngx.print('x'))", edits: "11 tenant=1seen eofseen eof|"}, "5/0 2|end 0"},
		{requestCase{name: "send_headers", lua: "ngx.send_headers() ngx.send_headers() ngx.print(ngx.headers_sent)"}, "6/0 0|end 4"},
		{requestCase{name: "read_body", lua: "ngx.req.read_body() ngx.req.read_body() ngx.print(ngx.req.get_body_data(), ngx.req.get_body_data(3), ngx.req.get_post_args().b, ngx.req.get_body_file(), ngx.var.request_body)"}, "2/0 0|end 21"},
		{requestCase{name: "discard_body", lua: "ngx.req.discard_body() ngx.req.discard_body() ngx.print(ngx.req.get_body_data(), next(ngx.req.get_post_args()), pcall(ngx.req.set_body_data, 'x'))"}, "3/0 0|end 56"},
	}
	list := make([]requestCase, len(cases))
	for i, c := range cases {
		list[i] = c.requestCase
	}
	run := requestPool(t, list)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			slot, outcome, _ := run(t, i)
			defer slot.Release()
			outcome, seen := runOps(slot, outcome, &Input{Head: []byte(testHead)})
			if outcome.Kind != Done {
				t.Fatalf("got %+v %v", outcome, outcome.Err)
			}
			if seen != c.ops {
				t.Errorf("ops %q\n want %q", seen, c.ops)
			}
			if got := editText(slot); c.edits != "" && got != c.edits {
				t.Errorf("edits %q\n want %q", got, c.edits)
			}
		})
	}
}

func TestReadBodyTooLarge(t *testing.T) {
	run := requestPool(t, []requestCase{{lua: "ngx.req.read_body() error('not reached')"}})
	slot, outcome, _ := run(t, 0)
	defer slot.Release()
	outcome, _ = runOps(slot, outcome, &Input{Body: []byte("part")})
	if outcome.Kind != Exit || outcome.Status != 413 {
		t.Fatalf("got %+v %v", outcome, outcome.Err)
	}
}

func TestSetBody(t *testing.T) {
	runRequestCases(t, []requestCase{
		{name: "set", flags: FlagBodyRead, body: "hello", lua: "ngx.req.set_body_data('a=new') ngx.print(ngx.req.get_body_data(), ngx.req.get_post_args().a, ngx.req.get_headers().content_length)",
			want: "a=newnew5", edits: "10 =a=new|1 Content-Length=5|"},
		{name: "set empty", flags: FlagBodyRead, body: "hello", lua: "ngx.req.set_body_data('') ngx.print(ngx.req.get_body_data(), next(ngx.req.get_post_args()))", want: "nilnil"},
		{name: "set unread", lua: "ngx.req.set_body_data('x')", err: "t:1: request body not read yet"},
		{name: "set nothing", lua: "ngx.req.set_body_data()", err: "t:1: expecting 1 arguments but seen 0"},
		{name: "set a table", flags: FlagBodyRead, lua: "ngx.req.set_body_data({})", err: "t:1: bad argument #1 to 'set_body_data' (string expected, got table)"},
		{name: "build", flags: FlagBodyRead, lua: "local r = ngx.req r.init_body(10) r.append_body('ab') r.append_body(5) r.finish_body() ngx.print(r.get_body_data(), pcall(r.append_body, 'x'))",
			want: "ab5falserequest_body not initialized", edits: "10 =|10 =ab5|1 Content-Length=3|"},
		{name: "build nothing", lua: "ngx.req.append_body('x')", err: "t:1: request_body not initialized"},
		{name: "build unread", lua: "ngx.req.init_body()", err: "t:1: request body not read yet"},
		{name: "build a negative size", flags: FlagBodyRead, lua: "ngx.req.init_body(-1)", err: "t:1: bad size argument: -1"},
		{name: "post args unread", lua: "ngx.req.get_post_args()", err: "t:1: no request body found; maybe you should turn on lua_need_request_body?"},
		{name: "post args", flags: FlagBodyRead, body: "a=1&a&b=%41+&=x", lua: "local a, err = ngx.req.get_post_args(2) ngx.print(a.a[1], a.a[2], err)", want: "1truetruncated"},
		{name: "read with arguments", lua: "ngx.req.read_body(1)", err: "t:1: expecting 0 arguments but seen 1"},
		{name: "read elsewhere", phase: PhaseLog, lua: "ngx.req.read_body()", err: "t:1: API disabled in the context of log_by_lua*"},
	})
}

func TestBodyFilter(t *testing.T) {
	for _, c := range []struct {
		name, lua, data string
		last            bool
		want            string
		wantLast        bool
		err             string
	}{
		{"untouched", "", "abc", false, "abc", false, ""},
		{"read", "ngx.var.tenant = ngx.arg[1] .. tostring(ngx.arg[2]) .. tostring(ngx.arg[3])", "abc", true, "abc", true, ""},
		{"upper", "ngx.arg[1] = ngx.arg[1]:upper() ngx.arg[1] = ngx.arg[1] .. '!'", "abc", false, "ABC!", false, ""},
		{"number", "ngx.arg[1] = 12", "abc", false, "12", false, ""},
		{"drop", "ngx.arg[1] = nil assert(ngx.arg[1] == '')", "abc", true, "", true, ""},
		{"table", "ngx.arg[1] = {'x', {1, 'y'}, ngx.arg[1]}", "abc", false, "x1yabc", false, ""},
		{"last", "ngx.arg[2] = true", "abc", false, "abc", true, ""},
		{"not last", "ngx.arg[2] = false", "abc", true, "abc", false, ""},
		{"no data", "ngx.var.tenant = ngx.arg[1]", "", true, "", true, ""},
		{"boolean", "ngx.arg[1] = true", "abc", false, "", false, "t:1: bad chunk data type: boolean"},
		{"boolean in table", "ngx.arg[1] = {true}", "abc", false, "", false, "t:1: bad argument #3 to '__newindex' (bad data type boolean found)"},
		{"index", "ngx.arg[3] = 1", "abc", false, "", false, "t:1: bad index: 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool, scripts := requestScripts(t, new(strings.Builder), c.lua)
			slot, err := pool.Pin(0)
			if err != nil {
				t.Fatal(err)
			}
			defer slot.Release()
			fillSlot(t, slot, &requestCase{})
			slot.BeginChunk(c.last)
			data := []byte(c.data)
			out := slot.Start(scripts[0], PhaseBodyFilter, &Input{Head: []byte(testHead), Data: data})
			if out.Kind == Failed {
				if c.err == "" || !strings.HasSuffix(out.Err.Message, strings.TrimPrefix(c.err, "t")) {
					t.Fatalf("failed: %v, want %q", out.Err, c.err)
				}
				return
			}
			chunk, last := slot.EndChunk(data)
			if string(chunk) != c.want || last != c.wantLast || c.err != "" {
				t.Errorf("got %q %v, want %q %v, error %q", chunk, last, c.want, c.wantLast, c.err)
			}
		})
	}
}
