package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

const subrequestHead = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
workers: 2
limits: {subrequest_bytes: 4KiB}
variables: {dog: "config", cat: ""}
upstreams: {o: {endpoints: [%q], timeouts: {response: 200ms}}}
error_pages: {404: /lost}
routes:
  - {name: lost, match: {paths: ["= /lost"]}, respond: {status: 200, body: "page"}}
  - {name: origin, match: {paths: ["/o/"]}, upstream: o}
  - {name: text, internal: true, match: {paths: ["= /text"]}, respond: {status: 201, body: "made here"}}
  - name: said
    match: {paths: ["= /said"]}
    lua:
      content: |
        ngx.header.X_One = "1"
        ngx.header["X-Two"] = {"a", "b"}
        ngx.print(ngx.req.get_method(), " ", ngx.var.uri, " ", ngx.var.args or "-", " ",
          ngx.req.get_body_data() or "-")
      header_filter: 'ngx.header["X-Filter"] = ngx.is_subrequest and "sub" or "main"'
      body_filter: 'ngx.arg[1] = ngx.arg[1]:gsub("said", "SAID")'
      log: 'ngx.log(ngx.ERR, "log of /said")'
  - name: request
    match: {paths: ["= /request"]}
    lua:
      content: |
        ngx.say(ngx.var.request, "|", ngx.var.request_uri, "|", ngx.var.request_method)
        ngx.say(ngx.var.http_x_given or "-", "|", ngx.var.http_x_own or "-", "|", ngx.var.content_length or "-")
  - name: vars
    match: {paths: ["= /vars"]}
    lua:
      content: |
        ngx.var.cat = ngx.var.cat .. "+"
        ngx.print(ngx.var.dog, " ", ngx.var.cat)
  - name: ctx
    match: {paths: ["= /ctx"]}
    lua: {content: 'ngx.ctx.sub = (ngx.ctx.sub or 0) + 1 ngx.print(ngx.ctx.given or "-")'}
  - name: sleep
    match: {paths: ["= /sleep"]}
    lua: {content: 'ngx.sleep(tonumber(ngx.var.arg_s)) ngx.print("slept ", ngx.var.arg_s)'}
  - name: fails
    match: {paths: ["= /fails"]}
    lua: {content: 'ngx.header.X_Set = "before" error("broken")'}
  - name: exit
    match: {paths: ["= /exit"]}
    lua: {content: 'ngx.header.X_Set = "before" return ngx.exit(tonumber(ngx.var.arg_n))'}
  - name: big
    match: {paths: ["= /big"]}
    lua: {content: 'for i = 1, 5 do ngx.print(string.rep("x", 1000)) ngx.flush(true) end'}
  - name: deep
    match: {paths: ["= /deep"]}
    lua:
      content: |
        local n = tonumber(ngx.var.arg_n)
        local res = ngx.location.capture("/deep?n=" .. n + 1)
        ngx.print(res.status == 200 and res.body or n)
`

// subrequestCases are content scripts of the parent and what it answers.
var subrequestCases = []struct{ name, script, want string }{
	{"script", `local r = ngx.location.capture("/said?a=1") ngx.say(r.status, " ", r.body, " ", r.truncated)`, "200 GET /SAID a=1 - false\n"},
	{"header", `local h = ngx.location.capture("/said").header
		ngx.say(h["X-One"], h["X-Two"][1], h["X-Two"][2], h["X-Filter"], h["Content-Type"])`, "1absubtext/plain\n"},
	{"nothing is sent of it", `ngx.header.X_Mine = "m" ngx.location.capture("/said") ngx.say(ngx.header["X-One"], ngx.header["X-Mine"])`, "nilm\n"},
	{"internal route", `local r = ngx.location.capture("/text") ngx.say(r.status, " ", r.body, " ", r.header["Content-Length"] + 0)`, "201 made here 9\n"},
	{"method and body", `local r = ngx.location.capture("/said", {method = ngx.HTTP_PUT, body = "B"}) ngx.say(r.body)`, "PUT /SAID - B\n"},
	{"args", `ngx.say(ngx.location.capture("/said?a=1", {args = {b = "x y", c = true}}).body:gsub("^.-%?", "") > "" and
		#ngx.location.capture("/said?a=1", {args = "b=2"}).body)`, "19\n"},
	{"decoded path", `ngx.say(ngx.location.capture("/sa%69d").body)`, "GET /SAID - -\n"},
	{"HEAD", `local r = ngx.location.capture("/said", {method = ngx.HTTP_HEAD}) ngx.say(r.status, "[", r.body, "]")`, "200[]\n"},
	{"request line is the client's", `ngx.print(ngx.location.capture("/request", {method = ngx.HTTP_POST, body = "12"}).body)`,
		"GET /main HTTP/1.1|/main|POST\nclient|-|2\n"},
	{"fields as the script has set them", `ngx.req.set_header("X-Given", "script") ngx.req.set_header("X-Own", "o")
		ngx.print(ngx.location.capture("/request").body)`, "GET /main HTTP/1.1|/main|GET\nscript|o|-\n"},
	{"fields of its own", `ngx.print(ngx.location.capture("/request", {headers = {["x-given"] = "sub"}}).body)`,
		"GET /main HTTP/1.1|/main|GET\nsub|-|-\n"},
	{"variables of its own", `ngx.var.dog = "mine" ngx.say(ngx.location.capture("/vars").body, " ", ngx.var.dog, ngx.var.cat)`, "config + mine\n"},
	{"given variables", `ngx.say(ngx.location.capture("/vars", {vars = {dog = "sub", cat = 7}}).body, " ", ngx.var.dog, ngx.var.cat)`, "sub 7+ config\n"},
	{"copied variables", `ngx.var.dog, ngx.var.cat = "mine", "m"
		ngx.say(ngx.location.capture("/vars", {copy_all_vars = true, vars = {cat = "c"}}).body, " ", ngx.var.cat)`, "mine c+ m\n"},
	{"shared variables", `ngx.var.cat = "m" ngx.say(ngx.location.capture("/vars", {share_all_vars = true}).body, " ", ngx.var.cat)`, "config m+ m+\n"},
	{"args as a variable", `ngx.say(ngx.location.capture("/said", {vars = {args = "q=1"}}).body)`, "GET /SAID q=1 -\n"},
	{"ctx of its own", `ngx.ctx.given = "main" ngx.say(ngx.location.capture("/ctx").body, ngx.ctx.sub)`, "-nil\n"},
	{"ctx shared", `ngx.ctx.given = "main" ngx.say(ngx.location.capture("/ctx", {ctx = ngx.ctx}).body, ngx.ctx.sub)`, "main1\n"},
	{"ctx given", `local t = {given = "t"} ngx.say(ngx.location.capture("/ctx", {ctx = t}).body, t.sub, ngx.ctx.sub)`, "t1nil\n"},
	{"several at once", `local t = ngx.now()
		local a, b, c = ngx.location.capture_multi{{"/sleep?s=0.4"}, {"/said"}, {"/sleep?s=0.5", {}}}
		ngx.update_time() ngx.say(a.body, ", ", b.body, ", ", c.body, ", ", ngx.now() - t < 0.9)`, "slept 0.4, GET /SAID - -, slept 0.5, true\n"},
	{"threads", `local function get(p) return ngx.location.capture(p).body end
		local a, b = ngx.thread.spawn(get, "/sleep?s=0.02"), ngx.thread.spawn(get, "/said")
		local _, first = ngx.thread.wait(a, b) local _, second = ngx.thread.wait(a) ngx.say(first, ", ", second)`, "GET /SAID - -, slept 0.02\n"},
	{"a thread with one cannot be killed", `local t = ngx.thread.spawn(ngx.location.capture, "/sleep?s=0.01")
		ngx.say(ngx.thread.kill(t)) ngx.thread.wait(t)`, "nilpending subrequests\n"},
	{"upstream", `local r = ngx.location.capture("/o/full") ngx.say(r.status, r.body, r.header["X-Origin"], r.truncated)`, "200GET /o/full 0yesfalse\n"},
	{"upstream gets the body", `ngx.say(ngx.location.capture("/o/full", {method = ngx.HTTP_POST, body = "four"}).body)`, "POST /o/full 4\n"},
	{"upstream breaks", `local r = ngx.location.capture("/o/cut") ngx.say(r.status, r.body, r.truncated)`, "200parttrue\n"},
	{"upstream is silent", `local r = ngx.location.capture("/o/silent") ngx.say(r.status, "[", r.body, "]")`, "504[]\n"},
	{"nothing there", `local r = ngx.location.capture("/nowhere") ngx.say(r.status, "[", r.body, "]", r.truncated)`, "404[]true\n"},
	{"its script fails", `local r = ngx.location.capture("/fails") ngx.say(r.status, "[", r.body, "]")`, "500[]\n"},
	{"its script exits", `local r = ngx.location.capture("/exit?n=403") ngx.say(r.status, "[", r.body, "]", r.header["X-Set"])`, "403[]before\n"},
	{"its script exits with an error", `ngx.say(ngx.location.capture("/exit?n=-1").status)`, "500\n"},
	{"too large an answer", `local r = ngx.location.capture("/big") ngx.say(r.status, " ", #r.body, " ", r.truncated)`, "200 4096 true\n"},
	{"nesting is bounded", `ngx.say(ngx.location.capture("/deep?n=1").body)`, "50\n"},
}

// subrequestOrigin tells what it was asked, or answers as the path says.
func subrequestOrigin(c net.Conn, r *bufio.Reader) {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(req.Body)
		switch req.URL.Path {
		case "/o/cut":
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart")
			return
		case "/o/silent":
			_, _ = r.ReadByte() // until the gateway gives up
			return
		}
		text := fmt.Sprintf("%s %s %d", req.Method, req.URL.Path, len(body))
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Origin: yes\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}
}

func TestSubrequests(t *testing.T) {
	var routes strings.Builder
	for i, c := range subrequestCases {
		fmt.Fprintf(&routes, "  - {name: main%d, match: {paths: [\"= /main\"], headers: {X-Case: \"%d\"}}, lua: {content: %q}}\n", i, i, c.script)
	}
	origin := proxytest.NewOrigin(t, subrequestOrigin)
	g := proxytest.Start(t, fmt.Sprintf(subrequestHead, origin.Addr)+routes.String())
	for i, c := range subrequestCases {
		t.Run(c.name, func(t *testing.T) {
			a := g.Get("/main", "X-Case", fmt.Sprint(i), "X-Given", "client")
			if a.StatusCode != 200 || a.Body != c.want {
				t.Errorf("%d %q, want %q", a.StatusCode, a.Body, c.want)
			}
		})
	}
	if strings.Contains(g.Log.String(), "log of /said") {
		t.Error("the log stage of a subrequest ran")
	}
	if !g.WaitLog("subrequests cycle while processing") {
		t.Error("nothing was logged of too deep a nesting")
	}
}

// What a subrequest's call raises, and what nginx answers by ending the request.
func TestSubrequestsRefused(t *testing.T) {
	cases := []struct{ name, script, want string }{
		{"no uri", `ngx.location.capture()`, "expecting one or two arguments"},
		{"empty uri", `ngx.location.capture("")`, "unsafe uri in argument #1"},
		{"climbing uri", `ngx.location.capture("/../etc")`, "unsafe uri in argument #1: /../etc"},
		{"hidden climbing uri", `ngx.location.capture("/%2e%2e/etc")`, "unsafe uri"},
		{"options are no table", `ngx.location.capture("/x", 1)`, "expecting table as the 2nd argument for subrequest 0, but got number"},
		{"unknown method", `ngx.location.capture("/x", {method = 10240})`, "failed to adjust the subrequest: -1"},
		{"method is no number", `ngx.location.capture("/x", {method = "GET"})`, "Bad http request method"},
		{"body is a table", `ngx.location.capture("/x", {body = {}})`, "Bad http request body"},
		{"unknown variable", `ngx.location.capture("/x", {vars = {bird = 1}})`, "failed to adjust the subrequest: -1"},
		{"fixed variable", `ngx.location.capture("/x", {vars = {uri = "/y"}})`, "failed to adjust the subrequest: 500"},
		{"value of a variable", `ngx.location.capture("/x", {vars = {dog = true}})`, "attempt to use bad variable value type boolean"},
		{"vars are a string", `ngx.location.capture("/x", {vars = "a"})`, "Bad vars option value"},
		{"args with a number for a key", `ngx.location.capture("/x", {args = {"a"}})`, `attempt to use a non-string key in the "args" option table`},
		{"ctx is a number", `ngx.location.capture("/x", {ctx = 1})`, "Bad ctx option value type number, expected a Lua table"},
		{"none", `ngx.location.capture_multi{}`, "at least one subrequest should be specified"},
		{"no table", `ngx.location.capture_multi(1)`, "bad argument #1 to 'capture_multi' (table expected, got number)"},
		{"query is no table", `ngx.location.capture_multi{"/x"}`, "the query argument 0 is not a table, but a string"},
		{"query is empty", `ngx.location.capture_multi{{"/x"}, {}}`, "query argument 1 expecting one or two arguments"},
	}
	text := fmt.Sprintf(subrequestHead, "127.0.0.1:1")
	for i, c := range cases {
		text += fmt.Sprintf("  - {name: r%d, match: {paths: [\"= /%d\"]}, lua: {content: %q}}\n", i, i,
			"local ok, err = pcall(function() "+c.script+" end) ngx.say(err)")
	}
	g := proxytest.Start(t, text)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if a := g.Get(fmt.Sprintf("/%d", i)); !strings.Contains(a.Body, c.want) {
				t.Errorf("raised %q, want %q", a.Body, c.want)
			}
		})
	}
}

// A subrequest that nginx would end the request for ends its parent.
func TestSubrequestEndsParent(t *testing.T) {
	g := proxytest.Start(t, fmt.Sprintf(subrequestHead, "127.0.0.1:1")+`
  - name: main
    match: {paths: ["= /main"]}
    lua: {content: 'ngx.location.capture("/exit?n=444") ngx.say("not reached")', log: 'ngx.log(ngx.WARN, "main ends with ", ngx.status)'}
`)
	if got := g.Talk("GET /main HTTP/1.1\r\nHost: a\r\n\r\n", 2*time.Second); got != "" {
		t.Errorf("answered %q", got)
	}
	if !g.WaitLog("main ends with 444") {
		t.Error("the log stage has not run")
	}
}

// The parent's body goes to a subrequest that may have one.
func TestSubrequestBody(t *testing.T) {
	g := proxytest.Start(t, fmt.Sprintf(subrequestHead, "127.0.0.1:1")+`
  - name: main
    match: {paths: ["= /main"]}
    lua:
      content: |
        if not ngx.var.arg_unread then ngx.req.read_body() end
        local r = ngx.location.capture("/said", {method = ngx["HTTP_" .. ngx.var.arg_m], always_forward_body = ngx.var.arg_f == "1"})
        ngx.print(r.body)
`)
	for _, c := range []struct{ name, query, want string }{
		{"GET", "m=GET", "GET /SAID - -"},
		{"GET, asked for", "m=GET&f=1", "GET /SAID - the body"},
		{"POST", "m=POST", "POST /SAID - the body"},
		{"PUT", "m=PUT", "PUT /SAID - the body"},
		{"DELETE", "m=DELETE", "DELETE /SAID - -"},
		{"POST, not read", "m=POST&unread=1", "POST /SAID - -"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if a := g.Do("POST", "/main?"+c.query, "the body"); a.Body != c.want {
				t.Errorf("%q, want %q", a.Body, c.want)
			}
		})
	}
}

// A client that leaves while a subrequest waits for its endpoint ends both.
func TestSubrequestClientGone(t *testing.T) {
	reached, over := make(chan struct{}), make(chan struct{})
	origin := proxytest.NewOrigin(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		close(reached)
		_, _ = r.ReadByte() // until the gateway gives up
		close(over)
	})
	g := proxytest.Start(t, fmt.Sprintf(strings.Replace(subrequestHead, "200ms", "20s", 1), origin.Addr)+`
  - name: main
    match: {paths: ["= /main"]}
    lua: {content: 'ngx.location.capture("/o/x") ngx.log(ngx.ERR, "not reached")', log: 'ngx.log(ngx.ERR, "ended with ", ngx.status)'}
`)
	c, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("GET /main HTTP/1.1\r\nHost: a\r\n\r\n"))
	<-reached
	_ = c.Close()
	select {
	case <-over:
	case <-time.After(5 * time.Second):
		t.Fatal("the endpoint is still waited for")
	}
	if !g.WaitLog("ended with 499") {
		t.Errorf("log: %s", g.Log.String())
	}
	if strings.Contains(g.Log.String(), "not reached") {
		t.Error("the script went on")
	}
}

// What a phase may take bounds its subrequests too.
func TestSubrequestTotalTime(t *testing.T) {
	g := proxytest.Start(t, strings.Replace(fmt.Sprintf(subrequestHead, "127.0.0.1:1"), "workers: 2", "workers: 2\nlua: {total_time: 100ms}", 1)+`
  - name: main
    match: {paths: ["= /main"]}
    lua: {content: 'ngx.location.capture_multi{{"/said"}, {"/sleep?s=5"}} ngx.say("not reached")'}
  - name: named
    match: {paths: ["= /named"]}
    lua: {content: 'ngx.location.capture("/erring")'}
  - name: erring
    match: {paths: ["= /erring"]}
    lua: {content: 'error("on purpose")'}
`)
	began := time.Now()
	a := g.Get("/main")
	if a.StatusCode != 500 || time.Since(began) > 3*time.Second {
		t.Errorf("%d after %v", a.StatusCode, time.Since(began))
	}
	// Whose time is over first, the parent's or the subrequest's, is chance.
	if !g.WaitLog("the phase took longer than lua.total_time, 100ms") {
		t.Error(g.Log.String())
	}
	if g.Get("/named"); !g.WaitLog(`subrequest: "/erring"`) {
		t.Error(g.Log.String())
	}
}
