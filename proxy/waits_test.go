package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// echoLines is a server that sends every line back, for scripts' sockets.
func echoLines(t *testing.T) (port int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return ln.Addr().(*net.TCPAddr).Port
}

// waitingLua waits in every way that there is and answers with a word.
const waitingLua = `
        local function wait(word)
          ngx.sleep(0.005)
          local sock = ngx.socket.tcp()
          assert(sock:connect("127.0.0.1", PORT))
          assert(sock:send(word .. "\n"))
          local line = assert(sock:receive())
          assert(sock:setkeepalive())
          local sem = require("ngx.semaphore").new()
          local co = ngx.thread.spawn(function() ngx.sleep(0.002) sem:post() return "!" end)
          assert(sem:wait(1))
          local _, mark = ngx.thread.wait(co)
          return line .. mark
        end
`

func waitingGateway(t *testing.T, everywhere bool) *proxytest.Gateway {
	t.Helper()
	origin := proxytest.NewOrigin(t, proxytest.Answering(func(r *http.Request, _ []byte) string {
		return "HTTP/1.1 200 OK\r\nX-From: origin\r\nContent-Length: 6\r\n\r\nfrom " + r.URL.Path[len(r.URL.Path)-1:]
	}))
	lua := strings.ReplaceAll(waitingLua, "PORT", fmt.Sprint(echoLines(t)))
	filters := `
      wait_everywhere: ` + fmt.Sprint(everywhere) + `
      header_filter: |` + lua + `
        ngx.header["X-Own"] = {"a", "b"}
        local word = wait("header")
        ngx.header["X-Waited"] = word .. " " .. ngx.status .. " " .. table.concat(ngx.header["X-Own"], ",")
          .. " " .. tostring(ngx.header["X-From"])
        ngx.header["Content-Length"] = nil
      body_filter: |` + lua + `
        if ngx.arg[1] == "" then return end
        local word = wait("body")
        ngx.arg[1] = ngx.arg[1] .. " " .. word .. "\n"
      log: |` + lua + `
        ngx.log(ngx.NOTICE, "at the end: ", wait("log"), " ", ngx.status, " ", ngx.var.upstream_status)
`
	return proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
lua:
  init_worker_waits: `+fmt.Sprint(everywhere)+`
  init_worker: |`+lua+`
        word = wait("worker")
upstreams:
  o:
    endpoints: ["127.0.0.1:1"]
    lua:
      wait_everywhere: `+fmt.Sprint(everywhere)+`
      balancer: |`+lua+`
        ngx.log(ngx.NOTICE, "balancer ", wait("balancer"))
        assert(require("ngx.balancer").set_current_peer("127.0.0.1", `+origin.Addr[strings.LastIndex(origin.Addr, ":")+1:]+`))
routes:
  - name: proxied
    match: {paths: ["= /p"]}
    upstream: o
    lua:`+filters+`
  - name: local
    match: {paths: ["= /l"]}
    lua:
      content: 'ngx.print("one") ngx.flush(true) ngx.print("two ", word)'`+filters)
}

func TestWaitsEverywhere(t *testing.T) {
	g := waitingGateway(t, true)
	for range 3 {
		a := g.Get("/p")
		if a.StatusCode != 200 || a.Body != "from p body!\n" || a.Header.Get("X-Waited") != "header! 200 a,b origin" {
			t.Errorf("%d %q %v", a.StatusCode, a.Body, a.Header)
		}
		a = g.Get("/l")
		if a.Body != "one body!\ntwo worker! body!\n" || a.Header.Get("X-Waited") != "header! 200 a,b nil" {
			t.Errorf("%q %v", a.Body, a.Header)
		}
	}
	for _, line := range []string{"balancer balancer!", "at the end: log! 200 200", "at the end: log! 200 nil"} {
		if !g.WaitLog(line) {
			t.Errorf("no %q in\n%s", line, g.Log)
		}
	}
}

// A client that leaves while a script waits ends nothing but its exchange.
func TestClientLeavesWhileEverywhereWaits(t *testing.T) {
	g := waitingGateway(t, true)
	for i := range 30 {
		c, err := net.Dial("tcp", g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(c, "GET /%c HTTP/1.1\r\nHost: a\r\n\r\n", "pl"[i%2])
		time.Sleep(time.Duration(i) * time.Millisecond)
		c.Close()
	}
	if a := g.Get("/p"); a.Body != "from p body!\n" {
		t.Errorf("%q", a.Body)
	}
	for range 200 {
		if strings.Count(g.Log.String(), "at the end: log!") == 31 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d log phases have ended, want 31", strings.Count(g.Log.String(), "at the end: log!"))
}

func TestWaitsWhereOpenRestyForbidsThem(t *testing.T) {
	g := waitingGateway(t, false)
	if a := g.Get("/l"); a.StatusCode != 500 {
		t.Errorf("header_filter: %d", a.StatusCode)
	}
	if a := g.Get("/p"); a.StatusCode != 500 {
		t.Errorf("balancer: %d", a.StatusCode)
	}
	for _, phase := range []string{"init_worker", "balancer", "header_filter", "log"} {
		if !g.WaitLog("API disabled in the context of " + phase + "_by_lua*") {
			t.Errorf("%s did not refuse in\n%s", phase, g.Log)
		}
	}
}

// What a body filter made of one piece is not in the next.
func TestPiecesThatAreReplaced(t *testing.T) {
	g := proxytest.Start(t, configText("127.0.0.1:1", `
  - name: a
    lua:
      content: 'ngx.print("one") ngx.flush(true) ngx.print("two")'
      body_filter: 'if ngx.arg[1] ~= "" then ngx.arg[1] = "<" .. ngx.arg[1] .. ">" end'
`))
	if a := g.Get("/"); a.Body != "<one><two>" {
		t.Errorf("%q", a.Body)
	}
}
