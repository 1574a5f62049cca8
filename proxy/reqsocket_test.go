package proxy_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

const reqSocketRoutes = `
  - name: lines
    match: {paths: ["= /lines"]}
    lua:
      content: |
        local s, err = ngx.req.socket()
        if not s then return ngx.say(err) end
        s:settimeout(50)
        ngx.say(s:receive()) ngx.say(s:receive(3)) ngx.say(s:receive("*a")) ngx.say(s:receive(1))
        ngx.say(ngx.req.socket()) ngx.say(pcall(s.send))
  - name: late
    match: {paths: ["= /late"]}
    lua:
      content: |
        local s = ngx.req.socket()
        s:settimeout(50)
        local a, b, c = s:receive(6) ngx.print(a, b, c, " ") s:settimeout(5000) ngx.say(s:receive(6))
  - name: raw
    match: {paths: ["= /raw"]}
    lua:
      content: |
        ngx.status = 101
        ngx.header.upgrade = "echo"
        ngx.send_headers()
        ngx.flush(true)
        local s = assert(ngx.req.socket(true))
        assert(select(2, ngx.say("x")) == "raw request socket acquired")
        while true do
          local line, err = s:receive()
          if not line then return end
          s:send({line:upper(), "\n"})
        end
  - name: bare
    match: {paths: ["= /bare"]}
    lua: {content: 'local s = ngx.req.socket(true) s:send("HTTP/1.0 299 Mine\r\n\r\nbody") error("after")'}
`

func TestReqSocketReadsTheBody(t *testing.T) {
	g := proxytest.Start(t, configText("127.0.0.1:1", reqSocketRoutes))
	for _, c := range []struct{ name, body, want string }{
		{"in pieces", "one\r\nabcdef", "one\nabc\ndef\nnilclosed\nnilrequest body already exists\nfalseattempt"},
		{"none", "", "no body\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.Do("POST", "/lines", c.body)
			if got := strings.Split(a.Body, " to call")[0]; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	// Chunked bodies are refused, as in OpenResty.
	got := g.Talk("POST /lines HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\n\r\n", 5*time.Second)
	if !strings.Contains(got, "chunked request bodies not supported yet") {
		t.Errorf("got %q", got)
	}
}

// A time-out of the script's own leaves the body readable.
func TestReqSocketGoesOnAfterATimeout(t *testing.T) {
	g := proxytest.Start(t, configText("127.0.0.1:1", reqSocketRoutes))
	c, r := dialRaw(t, g.Addr)
	_, _ = io.WriteString(c, "POST /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10\r\n\r\nabcd")
	time.Sleep(150 * time.Millisecond)
	_, _ = io.WriteString(c, "efghij")
	all, _ := io.ReadAll(r)
	if !strings.Contains(string(all), "niltimeoutabcd efghij") {
		t.Errorf("got %q", all)
	}
}

func TestRawReqSocket(t *testing.T) {
	g := proxytest.Start(t, configText("127.0.0.1:1", reqSocketRoutes))
	c, r := dialRaw(t, g.Addr)
	// The first line comes with the head.
	_, _ = io.WriteString(c, "GET /raw HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nfirst\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			break
		}
	}
	for _, word := range []string{"first", "second", "third"} {
		if word != "first" {
			_, _ = io.WriteString(c, word+"\n")
		}
		if line, err := r.ReadString('\n'); err != nil || line != strings.ToUpper(word)+"\n" {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	_ = c.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

// What a script sends on the raw socket is all that the client gets, even if it
// fails then.
func TestRawReqSocketAnswersAlone(t *testing.T) {
	g := proxytest.Start(t, configText("127.0.0.1:1", reqSocketRoutes))
	got := g.Talk("GET /bare HTTP/1.1\r\nHost: a\r\n\r\n", 5*time.Second)
	if want := "HTTP/1.0 299 Mine\r\n\r\nbody"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !g.WaitLog("after") {
		t.Errorf("log: %s", g.Log)
	}
}

func dialRaw(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c, bufio.NewReader(c)
}
