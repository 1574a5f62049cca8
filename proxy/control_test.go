package proxy_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

const controlHead = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
workers: 1
variables: {kept: ""}
upstreams: {o: {endpoints: [%q]}}
routes:
  - {name: origin, match: {paths: ["/o/"]}, upstream: o}
  - name: other
    match: {paths: ["= /other"]}
    internal: true
    lua: {content: 'ngx.say(ngx.var.uri, "|", ngx.var.args or "-", "|", ngx.var.kept, "|", ngx.ctx.lost or "-", "|", ngx.req.is_internal() and "internal" or "-")'}
  - name: noted
    match: {paths: ["= /noted"]}
    internal: true
    lua:
      content: |
        local noted = debug.getregistry().ngx_lua_ctx_tables[tonumber(ngx.var.kept)]
        ngx.say(noted.lost, ngx.ctx.lost or "-")
  - name: named
    internal: true
    match: {paths: ["= /@named"]}
    lua:
      rewrite: 'ngx.var.kept = ngx.var.kept .. "+rewrite"'
      content: 'ngx.say("named ", ngx.var.uri, "|", ngx.var.args or "-", "|", ngx.var.kept, "|", ngx.ctx.lost or "-")'
  - name: elsewhere
    internal: true
    match: {hosts: [b.test], paths: ["= /@named"]}
    lua: {content: 'ngx.say("named of b")'}
  - name: circle
    match: {paths: ["= /circle"]}
    lua: {content: 'ngx.exec("/circle")'}
`

// execCases are scripts of the routes /rewrite, /access and /content.
var execCases = []struct {
	name, script string
	status       int
	want         string
}{
	{"path", `ngx.var.kept = "v" ngx.ctx.lost = "x" ngx.exec("/other")`, 200, "/other|-|v|-|internal\n"},
	{"query in the path", `ngx.exec("/other?a=1")`, 200, "/other|a=1||-|internal\n"},
	{"query beside it", `ngx.exec("/other?a=1", "b=2")`, 200, "/other|a=1&b=2||-|internal\n"},
	{"query as a table", `ngx.exec("/other", {b = "x y"})`, 200, "/other|b=x%20y||-|internal\n"},
	{"no query", `ngx.exec("/other", nil)`, 200, "/other|-||-|internal\n"},
	{"decoded path", `ngx.exec("/oth%65r")`, 200, "/other|-||-|internal\n"},
	{"named route", `ngx.var.kept = "v" ngx.ctx.lost = "x" ngx.exec("@named")`, 200, "named /PATH|q=1|v+rewrite|-\n"},
	{"named route that is not there", `ngx.exec("@nowhere")`, 500, "500 Internal Server Error\n"},
	{"nothing behind it runs", `ngx.exec("/other") ngx.log(ngx.ERR, "ran on")`, 200, "/other|-||-|internal\n"},
	{"pcall does not see it", `pcall(ngx.exec, "/other") ngx.log(ngx.ERR, "ran on")`, 200, "/other|-||-|internal\n"},
	{"from a thread", `ngx.thread.spawn(function() ngx.sleep(0.001) ngx.exec("/other") end) ngx.sleep(5)`, 200, "/other|-||-|internal\n"},
	{"upstream", `ngx.exec("/o/x?y=1")`, 200, "origin /o/x?y=1"},
	{"circle", `ngx.exec("/circle")`, 500, "500 Internal Server Error\n"},
	{"unsafe path", `ngx.say((select(2, pcall(ngx.exec, "/../x"))))`, 200, "unsafe uri\n"},
	{"empty path", `ngx.say((select(2, pcall(ngx.exec, ""))))`, 200, "The uri argument is empty\n"},
	{"no path", `ngx.say((select(2, pcall(ngx.exec))))`, 200, "expecting one or two arguments, but got 0\n"},
	{"query that is none", `ngx.say((select(2, pcall(ngx.exec, "/other", true))))`, 200,
		"bad argument #2 to '?' (string, number, or table expected, but got boolean)\n"},
	{"too late", `ngx.say("a") ngx.say((select(2, pcall(ngx.exec, "/other"))))`, 200,
		"a\nattempt to call ngx.exec after sending out response headers\n"},
	{"with a subrequest under way", `local t = ngx.thread.spawn(ngx.location.capture, "/o/slow")
		for _, f in ipairs{"exec", "redirect", "exit"} do ngx.say((select(2, pcall(ngx[f], f == "exit" and 200 or "/other")))) end ngx.thread.wait(t)`, 200,
		strings.Repeat("attempt to abort with pending subrequests\n", 3)},
	{"a path that is set", `ngx.ctx.lost = "x" if ngx.get_phase() == "rewrite" then ngx.req.set_uri("/other", true) end ngx.exec("/other?q=1")`, 200, "/other|q=1||-|internal\n"},
	{"what was noted of the context", `ngx.ctx.lost = "x"
ngx.var.kept = require "ffi".C.ngx_http_lua_ffi_get_ctx_ref(require "resty.core.base".get_request(), nil, nil) ngx.exec("/noted")`, 200, "x-\n"},
}

func controlOrigin(c net.Conn, r *bufio.Reader) {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.URL.Path == "/o/slow" {
			time.Sleep(20 * time.Millisecond)
		}
		text := "origin " + req.RequestURI
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}
}

func TestExec(t *testing.T) {
	origin := proxytest.NewOrigin(t, controlOrigin)
	text := fmt.Sprintf(controlHead, origin.Addr)
	for i, c := range execCases {
		for _, stage := range []string{"rewrite", "access", "content"} {
			text += fmt.Sprintf("  - {name: %s%d, match: {paths: [\"= /%s%d\"]}, lua: {%s: %q}}\n", stage, i, stage, i, stage, c.script)
		}
	}
	g := proxytest.Start(t, text)
	for i, c := range execCases {
		for _, stage := range []string{"rewrite", "access", "content"} {
			t.Run(c.name+"/"+stage, func(t *testing.T) {
				path := fmt.Sprintf("%s%d", stage, i)
				a := g.Get("/" + path + "?q=1")
				if want := strings.Replace(c.want, "PATH", path, 1); a.StatusCode != c.status || a.Body != want {
					t.Errorf("%d %q, want %d %q", a.StatusCode, a.Body, c.status, want)
				}
			})
		}
	}
	if a := g.Get("/content6", "Host", "b.test"); a.Body != "named of b\n" {
		t.Errorf("a host's own named route: %q", a.Body)
	}
	if strings.Contains(g.Log.String(), "ran on") {
		t.Error("a script ran on behind ngx.exec")
	}
	if !g.WaitLog(`unsafe URI \"/../x\" was detected`) && !g.WaitLog(`unsafe URI "/../x" was detected`) {
		t.Error("an unsafe path was not logged")
	}
}

// abortCases are scripts whose client leaves while they wait. want are the log's
// lines of them, in order; none is another.
var abortCases = []struct {
	name, script string
	unminded     bool // check_client_abort is not on
	want         []string
}{
	{"ends", `mark("begin") ngx.sleep(0.6) mark("not reached")`, false, []string{"begin", "log 499"}},
	{"ends threads", `ngx.thread.spawn(function() ngx.sleep(0.6) mark("not reached") end) mark("begin") ngx.sleep(0.7) mark("nor this")`, false, []string{"begin", "log 499"}},
	{"goes on where nobody minds", `mark("begin") ngx.sleep(0.3) mark("end")`, true, []string{"begin", "end", "log 200"}},
	{"callback", `ngx.on_abort(function() mark("gone") end) mark("begin") ngx.sleep(0.3) mark("end")`, false, []string{"begin", "gone", "end", "log 200"}},
	{"callback ends it", `ngx.on_abort(function() mark("gone") ngx.exit(499) end) mark("begin") ngx.sleep(0.6) mark("not reached")`, false, []string{"begin", "gone", "log 499"}},
	{"callback closes", `ngx.on_abort(function() mark("gone") ngx.exit(444) end) mark("begin") ngx.sleep(0.6) mark("not reached")`, false, []string{"begin", "gone", "log 444"}},
	{"callback is waited for", `ngx.on_abort(function() ngx.sleep(0.4) mark("gone") end) mark("begin") ngx.sleep(0.3) mark("end")`, false, []string{"begin", "end", "gone", "log 200"}},
	{"callback fails", `ngx.on_abort(function() mark("gone") error("oh") end) mark("begin") ngx.sleep(0.3) mark("end")`, false, []string{"begin", "gone", "end", "log 200"}},
	{"in a thread", `ngx.thread.spawn(function() ngx.on_abort(function() mark("gone") ngx.exit(499) end) ngx.sleep(0.6) mark("not reached") end) mark("begin")`, false, []string{"begin", "gone", "log 499"}},
	{"with a subrequest", `ngx.on_abort(function() mark("gone " .. tostring((pcall(ngx.exit, 200)))) ngx.exit(499) end) mark("begin") ngx.location.capture("/sleep") mark("not reached")`, false, []string{"begin", "gone false", "log 499"}},
	{"subrequest without a callback", `mark("begin") ngx.location.capture("/sleep") mark("not reached")`, false, []string{"begin", "log 499"}},
	{"who reads what the client sends is told", `local s = ngx.req.socket() mark("begin") mark(select(2, s:receive("*a")))`, false, []string{"begin", "client aborted", "log 200"}},
	{"after ngx.eof", `ngx.say("hi") ngx.eof() mark("begin") ngx.sleep(0.3) mark("end")`, true, []string{"begin", "end", "log 200"}},
}

func TestClientAbort(t *testing.T) {
	text := fmt.Sprintf(strings.Replace(controlHead, "workers: 1", `workers: 1
lua:
  init: 'function mark(...) ngx.log(ngx.WARN, "<", ngx.var.uri, " ", ..., ">") end'`, 1), "127.0.0.1:1") + `
  - {name: sleep, internal: true, match: {paths: ["= /sleep"]}, lua: {content: "ngx.sleep(0.6) ngx.log(ngx.WARN, '<sub end>')"}}
`
	for i, c := range abortCases {
		for _, stage := range []string{"rewrite", "content"} {
			text += fmt.Sprintf("  - {name: %s%d, match: {paths: [\"= /%s%d\"]}, lua: {check_client_abort: %t, %s: %q, log: 'mark(\"log \" .. ngx.status)'}%s}\n",
				stage, i, stage, i, !c.unminded, stage, c.script, map[string]string{"rewrite": ", respond: {status: 200}"}[stage])
		}
	}
	g := proxytest.Start(t, text)
	for i, c := range abortCases {
		for _, stage := range []string{"rewrite", "content"} {
			t.Run(c.name+"/"+stage, func(t *testing.T) {
				t.Parallel()
				path := fmt.Sprintf("/%s%d", stage, i)
				conn, err := net.Dial("tcp", g.Addr)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello", path)
				if !g.WaitLog("<" + path + " begin>") {
					t.Fatal("the script has not begun")
				}
				_ = conn.Close()
				if !g.WaitLog("<" + path + " log ") {
					t.Fatal("the exchange does not end")
				}
				var marks []string
				for _, line := range strings.Split(g.Log.String(), "<"+path+" ")[1:] {
					mark, _, _ := strings.Cut(line, ">")
					marks = append(marks, mark)
				}
				if strings.Join(marks, ", ") != strings.Join(c.want, ", ") {
					t.Errorf("%q, want %q", marks, c.want)
				}
			})
		}
	}
	t.Cleanup(func() {
		if strings.Contains(g.Log.String(), "<sub end>") {
			t.Error("a subrequest outlived its client")
		}
	})
}

// A client that leaves before the script has asked to be told is told of.
func TestClientLeavesEarly(t *testing.T) {
	g := proxytest.Start(t, fmt.Sprintf(controlHead, "127.0.0.1:1")+`
  - name: told
    match: {paths: ["= /told"]}
    lua:
      check_client_abort: true
      content: |
        os.execute("sleep 0.1")
        ngx.on_abort(function() ngx.log(ngx.WARN, "<gone>") ngx.exit(499) end)
        ngx.sleep(60)
  - name: ends
    match: {paths: ["= /ends"]}
    lua: {check_client_abort: true, content: 'os.execute("sleep 0.1") ngx.log(ngx.WARN, "<waits>") ngx.sleep(60)', log: 'ngx.log(ngx.WARN, "<ended ", ngx.status, ">")'}
`)
	for path, want := range map[string]string{"/told": "<gone>", "/ends": "<ended 499>"} {
		conn, err := net.Dial("tcp", g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
		_ = conn.Close()
		if !g.WaitLog(want) {
			t.Errorf("%s: no %s in the log", path, want)
		}
	}
}

// What ngx.on_abort answers, and that a client who stays is served.
func TestOnAbortAnswers(t *testing.T) {
	g := proxytest.Start(t, fmt.Sprintf(controlHead, "127.0.0.1:1")+`
  - {name: "off", match: {paths: ["= /off"]}, lua: {content: 'ngx.say(ngx.on_abort(print))'}}
  - {name: twice, match: {paths: ["= /twice"]}, lua: {check_client_abort: true, content: 'ngx.say(ngx.on_abort(print)) ngx.say(ngx.on_abort(print))'}}
  - {name: none, match: {paths: ["= /none"]}, lua: {check_client_abort: true, content: 'ngx.say((select(2, pcall(ngx.on_abort))))'}}
  - {name: stays, match: {paths: ["= /stays"]}, lua: {check_client_abort: true, rewrite: 'ngx.on_abort(function() end)', access: 'ngx.say(ngx.on_abort(function() end)) ngx.sleep(0.01) ngx.say("end")'}}
`)
	for _, c := range []struct{ path, want string }{
		{"/off", "nillua_check_client_abort is off\n"},
		{"/twice", "1\nnilduplicate call\n"},
		{"/none", "bad argument #1 to 'on_abort' (Lua function expected)\n"},
		{"/stays", "1\nend\n"},
	} {
		for range 2 {
			if a := g.Get(c.path); a.Body != c.want {
				t.Errorf("%s: %q, want %q", c.path, a.Body, c.want)
			}
		}
	}
}
