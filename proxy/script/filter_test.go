package script_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
	"perigee/proxy/script"
)

// gateway runs the access script of a route whose origin tells what it received.
func gateway(t *testing.T, lua, scripts string) *proxytest.Gateway {
	origin := proxytest.NewOrigin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			var head bytes.Buffer
			fmt.Fprintf(&head, "%s %s\n", req.Method, req.RequestURI)
			_ = req.Header.Write(&head)
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", head.Len(), head.String())
		}
	})
	return proxytest.Start(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
lua: {%s}
upstreams: {o: {endpoints: [%q]}}
routes:
  - name: r
    match: {paths: ["/"]}
    upstream: o
    lua:
%s`, lua, origin.Addr, scripts))
}

func metrics(t *testing.T, g *proxytest.Gateway) string {
	var b bytes.Buffer
	if err := g.WriteMetrics(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEditsCannotBreakTheMessage(t *testing.T) {
	for _, c := range []struct{ name, script, absent string }{
		{"hop by hop", `ngx.req.set_header("Connection", "X-Forwarded-For") ngx.req.set_header("tRailer", "x")`, "(?i)\nTrailer:|\nConnection: X"},
		{"framing", `ngx.req.set_header("Content-Length", "5") ngx.req.set_header("transfer-encoding", "chunked")`, "(?i)\n(Content-Length|Transfer-Encoding): (5|chunked)"},
		{"framing with a space", `ngx.req.set_header("Transfer-Encoding ", "chunked")`, "(?i)\nTransfer-Encoding *:"},
		{"line end in a value", `ngx.req.set_header("X-A", "1\r\nX-Evil: 1")`, "\nX-Evil"},
		{"line end in a name", `ngx.req.set_header("X-A: 1\r\nX-Evil", "1")`, "\nX-Evil"},
		{"line end in the query", `ngx.req.set_uri_args("a=1 HTTP/1.1\r\nX-Evil: 1\r\nX: ")`, "\nX-Evil"},
		{"response line end", `ngx.header["X-A"] = "1\r\nX-Evil: 1"`, "\nX-Evil"},
		{"response framing", `ngx.header["Transfer-Encoding"] = "gzip" ngx.header["Connection"] = "X"`, "(?i)\nTransfer-Encoding: gzip|\nConnection: X"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := gateway(t, "", "      access: |\n        "+c.script+"\n")
			got := g.Talk("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", 3*time.Second)
			if m := regexp.MustCompile(c.absent).FindString(got); m != "" {
				t.Errorf("%q is in %q", m, got)
			}
			if !strings.HasPrefix(got, "HTTP/1.1 200") && !strings.HasPrefix(got, "HTTP/1.1 500") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestTotalTimeEndsASleepingScript(t *testing.T) {
	g := gateway(t, "total_time: 200ms", "      access: 'ngx.sleep(5)'\n")
	begin := time.Now()
	if a := g.Get("/"); a.StatusCode != 500 {
		t.Errorf("status %d", a.StatusCode)
	}
	if took := time.Since(begin); took < 150*time.Millisecond || took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	if m := metrics(t, g); !regexp.MustCompile(`perigee_lua_errors_total\{[^}]*kind="total_time"[^}]*\} 1`).MatchString(m) {
		t.Errorf("not counted: %s", regexp.MustCompile(`perigee_lua_errors.*`).FindAllString(m, -1))
	}
	if !g.WaitLog("lua.total_time") {
		t.Error("not logged")
	}
}

func TestErrorIDLeadsToTheLog(t *testing.T) {
	g := gateway(t, "", "      access: 'error(\"inside\")'\n")
	a := g.Get("/")
	id := a.Header.Get(script.ErrorIDHeader)
	if a.StatusCode != 500 || id == "" || strings.Contains(a.Body, "inside") {
		t.Fatalf("%d %q %v", a.StatusCode, a.Body, a.Header)
	}
	if !g.WaitLog(id) || !g.WaitLog("inside") {
		t.Errorf("id %s is not in the log:\n%s", id, g.Log)
	}
}

func TestHangupAnswersNothing(t *testing.T) {
	g := gateway(t, "", "      access: 'ngx.exit(444)'\n")
	if got := g.Talk("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 3*time.Second); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestClearedHostBecomesTheEndpoints(t *testing.T) {
	g := gateway(t, "", "      access: 'ngx.req.clear_header(\"Host\")'\n")
	if a := g.Get("/"); a.StatusCode != 200 {
		t.Errorf("%d %q", a.StatusCode, a.Body)
	}
}

func TestReasonBehindTheStatus(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"own", `require "ngx.resp".set_status(404, "Gone Fishing") ngx.say("x") ngx.exit(ngx.OK)`, "HTTP/1.1 404 Gone Fishing\r\n"},
		{"taken back", `require "ngx.resp".set_status(404, "Gone Fishing") ngx.status = 403 ngx.say("x") ngx.exit(ngx.OK)`, "HTTP/1.1 403 Forbidden\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := gateway(t, "", "      access: |\n        "+c.script+"\n")
			if got := g.Talk("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", 3*time.Second); !strings.HasPrefix(got, c.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestScriptsReadTheLog(t *testing.T) {
	g := gateway(t, "capture_error_log: 16KiB", `      access: |
        if ngx.var.arg_fail then error("on purpose") end
        ngx.log(ngx.WARN, "of this run")
        ngx.say(table.concat(require "ngx.errlog".get_logs(), "\n"))
        return ngx.exit(200)
`)
	g.Get("/?fail=1")
	body := g.Get("/").Body
	for _, want := range []string{"on purpose", `, client: 127.0.0.1, server: `, `request: "GET /?fail=1 HTTP/1.1"`, "of this run"} {
		if n := strings.Count(body, want); n == 0 || want == "of this run" && n != 1 {
			t.Errorf("%q is there %d times in %s", want, n, body)
		}
	}
	if !g.WaitLog("of this run") {
		t.Error("the log itself lacks what was captured")
	}
}

func TestServerRewriteDecidesTheRoute(t *testing.T) {
	g := proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
lua: {shared_dicts: {d: 64KiB}}
routes:
  - name: all
    match: {paths: ["/"]}
    lua:
      server_rewrite: |
        ngx.ctx.phase = ngx.get_phase()
        ngx.ctx.n = (ngx.ctx.n or 0) + 1
        if ngx.var.arg_to then ngx.req.set_uri(ngx.var.arg_to, ngx.var.arg_jump == "1") end
        if ngx.var.arg_say then ngx.say("early") end
        if ngx.var.arg_exit then ngx.exit(503) end
        if ngx.var.arg_sleep then ngx.sleep(0.001) end
      content: ngx.say("all ", ngx.var.uri, " ", ngx.ctx.phase, " ", ngx.ctx.n, " ", tostring(ngx.req.is_internal()))
  - name: other
    match: {paths: ["= /other"]}
    lua:
      server_rewrite: ngx.ctx.n = 100
      content: ngx.say("other ", ngx.ctx.phase, " ", ngx.ctx.n)
`)
	for _, c := range []struct {
		name, path string
		status     int
		want       string
	}{
		{"stays", "/a", 200, "all /a server_rewrite 1 false\n"},
		{"waits", "/a?sleep=1", 200, "all /a server_rewrite 1 false\n"},
		{"moves", "/a?to=/other", 200, "other server_rewrite 1\n"},
		{"jumps", "/a?to=/other&jump=1", 200, "other nil nil\n"},
		{"moves to itself", "/a?to=/b", 200, "all /b server_rewrite 1 true\n"},
		{"answers", "/a?say=1", 200, "early\n"},
		{"exits", "/a?exit=1", 503, "503 Service Unavailable\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if a := g.Get(c.path); a.StatusCode != c.status || a.Body != c.want {
				t.Errorf("%d %q, want %d %q", a.StatusCode, a.Body, c.status, c.want)
			}
		})
	}
}
