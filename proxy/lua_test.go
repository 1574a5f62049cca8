package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/luavm"
	"perigee/proxy/proxytest"
)

const luaRoutes = `
  - {name: all, match: {paths: ["/"]}, upstream: o}
  - name: hello
    match: {paths: ["= /hello"]}
    lua: {content: 'ngx.say("hello ", ngx.var.arg_name or "world")'}
  - name: typeless
    match: {paths: ["= /typeless"]}
    lua: {content: 'ngx.header["Content-Type"] = nil ngx.say("raw")'}
  - name: access
    match: {paths: ["= /access"]}
    lua:
      rewrite: 'ngx.ctx.seen = "rewrite"'
      access: |
        ngx.ctx.seen = ngx.ctx.seen .. " access"
        ngx.req.set_header("X-A", ngx.ctx.seen)
        ngx.req.clear_header("User-Agent")
      header_filter: |
        ngx.header["X-Ctx"] = ngx.ctx.seen .. " header_filter"
        ngx.header["X-Phase"] = ngx.get_phase()
      log: 'ngx.log(ngx.NOTICE, "logged ", ngx.status, " ", ngx.var.upstream_status, " ", ngx.ctx.seen)'
    upstream: o
  - name: denied
    match: {paths: ["= /denied"]}
    lua:
      access: |
        ngx.header["WWW-Authenticate"] = "Basic"
        return ngx.exit(401)
    upstream: o
  - name: redirect
    match: {paths: ["= /redirect"]}
    lua: {access: 'return ngx.redirect("/elsewhere", 302)'}
    upstream: o
  - name: early
    match: {paths: ["= /early"]}
    lua: {access: 'ngx.status = 418 ngx.say("short") return ngx.exit(ngx.HTTP_OK)'}
    upstream: o
  - name: uri
    match: {paths: ["= /uri"]}
    lua: {rewrite: 'ngx.req.set_uri("/new path") ngx.req.set_uri_args({q = "1 2"})'}
    upstream: o
  - name: jump
    match: {paths: ["= /jump"]}
    lua: {rewrite: 'ngx.req.set_uri("/hello", true)'}
    upstream: o
  - name: loop
    match: {paths: ["= /loop"]}
    lua: {rewrite: 'ngx.req.set_uri("/loop", true)'}
    upstream: o
  - name: body
    match: {paths: ["= /body"]}
    lua:
      access: |
        ngx.req.read_body()
        local b = ngx.req.get_body_data()
        ngx.req.set_body_data(string.upper(b) .. #b)
    upstream: o
  - name: filter
    match: {paths: ["= /filter"]}
    lua:
      header_filter: 'ngx.header.content_length = nil'
      body_filter: |
        ngx.ctx.n = (ngx.ctx.n or 0) + #ngx.arg[1]
        ngx.arg[1] = ngx.arg[1]:upper()
        if ngx.arg[2] then ngx.arg[1] = ngx.arg[1] .. "TOTAL " .. ngx.ctx.n end
    upstream: o
  - name: broken
    match: {paths: ["= /broken"]}
    lua:
      access: |
        local function deeper() error("on purpose") end
        deeper()
    upstream: o
  - name: brokenfilter
    match: {paths: ["= /brokenfilter"]}
    lua: {header_filter: 'error("in the filter")'}
    upstream: o
  - name: sleep
    match: {paths: ["= /sleep"]}
    lua: {content: 'ngx.sleep(0.3) ngx.say("slept ", ngx.ctx.x or "clean") ngx.ctx.x = "dirty"'}
  - name: flush
    match: {paths: ["= /flush"]}
    lua: {content: 'ngx.say("one") ngx.flush(true) ngx.sleep(0.2) ngx.say("two") ngx.eof() ngx.sleep(0.05) ngx.log(ngx.NOTICE, "after eof")'}
  - name: spin
    match: {paths: ["= /spin"]}
    lua: {content: 'while true do end'}
  - name: hoard
    match: {paths: ["= /hoard"]}
    lua: {content: 'local t = {} for i = 1, 1e9 do t[i] = {i} end'}
`

func luaGateway(t *testing.T) *proxytest.Gateway {
	origin := proxytest.NewOrigin(t, proxytest.Answering(echo))
	return proxytest.Start(t, strings.Replace(configText(origin.Addr, luaRoutes),
		"lua: {", "lua: {cpu_budget: 50ms, memory_limit: 32MiB, ", 1))
}

func TestScripts(t *testing.T) {
	g := luaGateway(t)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string
		header, value            string
	}{
		{"content", "GET", "/hello?name=you", "", 200, "hello you\n", "Content-Type", "text/plain"},
		{"no default type", "GET", "/typeless", "", 200, "raw\n", "Content-Type", ""},
		{"ctx through the phases", "GET", "/access", "", 200, "X-A: rewrite access\n", "X-Ctx", "rewrite access header_filter"},
		{"exit keeps headers", "GET", "/denied", "", 401, "401 Unauthorized\n", "Www-Authenticate", "Basic"},
		{"redirect", "GET", "/redirect", "", 302, "", "Location", "/elsewhere"},
		{"answer from access", "GET", "/early", "", 418, "short\n", "", ""},
		{"uri and args", "GET", "/uri", "", 200, "GET /new%20path?q=1%202 ", "", ""},
		{"jump matches again", "GET", "/jump?name=jumper", "", 200, "hello jumper\n", "", ""},
		{"jumps are bounded", "GET", "/loop", "", 500, "500 ", "", ""},
		{"request body", "POST", "/body", "abc", 200, "length 4\nABC3", "", ""},
		{"body filter", "GET", "/filter", "", 200, "TOTAL ", "", ""},
		{"runtime error", "GET", "/broken", "", 500, "500 Internal Server Error\n", "", ""},
		{"error in a filter", "GET", "/brokenfilter", "", 500, "500 Internal Server Error\n", "", ""},
		{"endless loop", "GET", "/spin", "", 500, "500 ", "", ""},
		{"endless table", "GET", "/hoard", "", 500, "500 ", "", ""},
		{"still there", "GET", "/hello", "", 200, "hello world\n", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.Do(c.method, c.path, c.body)
			if a.StatusCode != c.status || !strings.Contains(a.Body, c.want) || a.Err != nil {
				t.Errorf("%d %q (%v), want %d with %q", a.StatusCode, a.Body, a.Err, c.status, c.want)
			}
			if c.header != "" && a.Header.Get(c.header) != c.value {
				t.Errorf("%s: %q, want %q", c.header, a.Header.Get(c.header), c.value)
			}
			if strings.Contains(a.Body, "lua") || strings.Contains(a.Body, "purpose") {
				t.Errorf("the answer tells of the inside: %q", a.Body)
			}
		})
	}
	for _, want := range []string{"on purpose", "in function 'deeper'", "access_by_lua(test.yaml:", "logged 200 200 rewrite access", overBudget()} {
		if !g.WaitLog(want) {
			t.Errorf("log lacks %q:\n%s", want, g.Log)
		}
	}
}

// overBudget is what the log says of an endless loop: a stock LuaJIT cannot end
// a compiled one as a Lua error, its VM is abandoned.
func overBudget() string {
	if luavm.Hardened() {
		return "execution time limit"
	}
	return "abandoned with its VM"
}

// A script that waits holds neither its VM nor its thread.
func TestSleepersDoNotHinderEachOther(t *testing.T) {
	g := luaGateway(t)
	client := g.Client()
	began := time.Now()
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			res, err := client.Get(g.URL("/sleep"))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			var line string
			_, _ = fmt.Fscanln(res.Body, &line, &line)
			if line != "clean" {
				t.Errorf("ngx.ctx of another exchange: %q", line)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("200 sleeps of 0.3 s side by side took %v", took)
	}
}

func TestFlushAndEOF(t *testing.T) {
	g := luaGateway(t)
	res, err := g.Client().Get(g.URL("/flush"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, 4)
	began := time.Now()
	if _, err := res.Body.Read(first); err != nil || string(first) != "one\n" {
		t.Fatalf("first piece %q, %v", first, err)
	}
	var rest strings.Builder
	if _, err := fmt.Fscanln(res.Body, &first); err != nil {
		t.Fatal(err)
	}
	_ = rest
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("the second piece came %v after the first: the flush sent both", took)
	}
	if !g.WaitLog("after eof") {
		t.Error("the script did not run on behind ngx.eof")
	}
}

func TestReloadKeepsExchangesAndDicts(t *testing.T) {
	origin := proxytest.NewOrigin(t, proxytest.Answering(echo))
	text := func(word string) string {
		return configText(origin.Addr, `
  - name: version
    match: {paths: ["/"]}
    lua: {content: 'ngx.sleep(0.05) ngx.say("`+word+` ", (ngx.shared.d:incr("n", 1, 0)))'}
`)
	}
	g := proxytest.Start(t, text("v0"))
	if a := g.Get("/"); a.Body != "v0 1\n" {
		t.Fatalf("%q", a.Body)
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			client := g.Client()
			for {
				select {
				case <-stop:
					return
				default:
				}
				res, err := client.Get(g.URL("/"))
				if err != nil {
					t.Errorf("a request failed during reloads: %v", err)
					return
				}
				if res.StatusCode != http.StatusOK {
					t.Errorf("status %d during reloads", res.StatusCode)
				}
				res.Body.Close()
			}
		})
	}
	for i := range 25 {
		if err := g.Reload(text(fmt.Sprintf("v%d", i+1))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	all.Wait()
	a := g.Get("/")
	var word string
	var n int
	if _, err := fmt.Sscan(a.Body, &word, &n); err != nil || word != "v25" || n < 10 {
		t.Errorf("after the last reload: %q", a.Body)
	}
	if err := g.Reload(strings.Replace(text("v26"), "ngx.say(", "ngx.say((", 1)); err == nil {
		t.Error("a script that does not compile was applied")
	} else if !strings.Contains(err.Error(), "version_by_lua") && !strings.Contains(err.Error(), "content_by_lua(test.yaml:") {
		t.Errorf("the refusal does not say where: %v", err)
	}
	if a := g.Get("/"); !strings.HasPrefix(a.Body, "v25 ") {
		t.Errorf("after a refused reload: %q", a.Body)
	}
}
