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

// config is a configuration with an upstream "o" at origin and these routes.
func configText(origin, routes string) string {
	return fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
lua: {shared_dicts: {d: 64KiB}}
upstreams: {o: {endpoints: [%q], timeouts: {response: 500ms}}}
routes:
%s`, origin, routes)
}

const proxyAll = `
  - {name: all, match: {paths: ["/"]}, upstream: o}
`

func echo(r *http.Request, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\n", r.Method, r.URL.RequestURI(), r.Host)
	for _, name := range []string{"X-A", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Connection", "Te", "X-Hop", "Content-Length"} {
		if v := r.Header.Values(name); len(v) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(v, "|"))
		}
	}
	if r.ContentLength > 0 {
		fmt.Fprintf(&b, "length %d\n", r.ContentLength)
	}
	if len(r.TransferEncoding) > 0 {
		fmt.Fprintf(&b, "coding %s\n", r.TransferEncoding[0])
	}
	if len(r.Trailer) > 0 {
		fmt.Fprintf(&b, "trailer %v\n", r.Trailer)
	}
	b.Write(body)
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", b.Len(), b.String())
}

func TestForwarding(t *testing.T) {
	origin := proxytest.NewOrigin(t, proxytest.Answering(echo))
	g := proxytest.Start(t, configText(origin.Addr, proxyAll))
	for _, c := range []struct{ name, send, want string }{
		{"get", "GET /a?b=c HTTP/1.1\r\nHost: h\r\nX-a: 1\r\nX-A: 2\r\nConnection: close\r\n\r\n",
			"GET /a?b=c h\nX-A: 1|2\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: h\n"},
		{"target is sent on as it came", "GET /a%2fb//c/../d?%zz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
			"GET /a%2fb//c/../d?%zz h\n"},
		{"hop-by-hop fields stay", "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nX-Hop: 1\r\nConnection: x-hop, close\r\n\r\n",
			"GET / h\nX-Forwarded-For"},
		{"what the client forwards is not believed", "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nConnection: close\r\n\r\n",
			"X-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: h\n"},
		{"absolute target", "GET http://other/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "GET /x other\n"},
		{"http/1.0", "GET /old HTTP/1.0\r\n\r\n", "GET /old 127.0.0.1"},
		{"body with length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", "length 5\nhello"},
		{"empty post", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "Content-Length: 0\n"},
		{"chunked body and trailer", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 9\r\n\r\n",
			"coding chunked\ntrailer map[X-Sum:[9]]\nhello!"},
		{"expect", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nok", "length 2\nok"},
		{"head", "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := g.Talk(c.send, 3*time.Second)
			if !strings.Contains(got, c.want) {
				t.Errorf("answer:\n%s\nwant in it:\n%s", got, c.want)
			}
			if strings.Contains(got, "X-Hop") || strings.Contains(got, "Te:") || strings.Contains(got, "6.6.6.6") {
				t.Errorf("a field that must not arrive did:\n%s", got)
			}
		})
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	origin := proxytest.NewOrigin(t, proxytest.Answering(echo))
	g := proxytest.Start(t, configText(origin.Addr, proxyAll))
	got := g.Talk("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 3*time.Second)
	one, two, three := strings.Index(got, "GET /1"), strings.Index(got, "POST /2"), strings.Index(got, "GET /3")
	if one < 0 || two < one || three < two || !strings.Contains(got, "abc") {
		t.Errorf("answers:\n%s", got)
	}
	if n := origin.Connections(); n != 1 {
		t.Errorf("%d connections to the origin for three requests in a row, want 1", n)
	}
}

func TestResponseTrailers(t *testing.T) {
	origin := proxytest.NewOrigin(t, proxytest.Answering(func(*http.Request, []byte) string {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n"
	}))
	g := proxytest.Start(t, configText(origin.Addr, proxyAll))
	got := g.Talk("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: close\r\n\r\n", 3*time.Second)
	if !strings.HasSuffix(got, "3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n") {
		t.Errorf("answer %q, want its trailer behind the last chunk", got)
	}
}

// A body's first byte leaves before the origin has sent its last, whatever the
// framing, and body_filter sees the pieces.
func TestStreaming(t *testing.T) {
	for _, c := range []struct{ name, head, first, last, path string }{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "first", "later", "/"},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nfirst\r\n", "5\r\nlater\r\n0\r\n\r\n", "/"},
		{"until close", "HTTP/1.1 200 OK\r\n\r\n", "first", "later", "/"},
		{"events", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nfirst\r\n", "5\r\nlater\r\n0\r\n\r\n", "/"},
		{"body filter", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "first", "later", "/filtered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			goOn := make(chan struct{})
			origin := proxytest.NewOrigin(t, func(nc net.Conn, r *bufio.Reader) {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				_, _ = io.WriteString(nc, c.head+c.first)
				<-goOn
				_, _ = io.WriteString(nc, c.last)
			})
			g := proxytest.Start(t, configText(origin.Addr, proxyAll+`
  - name: filtered
    match: {paths: ["/filtered"]}
    upstream: o
    lua: {body_filter: 'ngx.arg[1] = ngx.arg[1]'}
`))
			res, err := g.Client().Get(g.URL(c.path))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			first := make([]byte, 5)
			if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "first" {
				t.Fatalf("read %q, %v before the origin went on", first, err)
			}
			close(goOn)
			rest, err := io.ReadAll(res.Body)
			if err != nil || string(rest) != "later" {
				t.Errorf("then %q, %v", rest, err)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	broken := map[string]string{
		"/short":   "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
		"/garbage": "nonsense\r\n\r\n",
		"/barelf":  "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
		"/both":    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"/none":    "",
	}
	origin := proxytest.NewOrigin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.URL.Path == "/slow" {
			time.Sleep(2 * time.Second)
			return
		}
		_, _ = io.WriteString(c, broken[req.URL.Path])
	})
	g := proxytest.Start(t, configText(origin.Addr, proxyAll+`
  - {name: posts, match: {paths: ["/posts"], methods: [POST]}, respond: {body: "posted\n"}}
  - {name: nothing, match: {paths: ["= /nothing"], hosts: [only.example]}, respond: {status: 204}}
`))
	for _, c := range []struct {
		name, path string
		status     int
	}{
		{"origin speaks no HTTP", "/garbage", 502},
		{"origin ends lines with LF", "/barelf", 502},
		{"origin sends two framings", "/both", 502},
		{"origin closes without a word", "/none", 502},
		{"origin is silent", "/slow", 504},
		{"path cannot be decoded", "/%00", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := g.Talk("GET "+c.path+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 4*time.Second)
			if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", c.status)) {
				t.Errorf("answer %q, want status %d", got, c.status)
			}
		})
	}
	if a := g.Get("/short"); a.Err == nil {
		t.Error("a body shorter than its Content-Length was read without an error")
	}
	if a := g.Get("/nothing", "Host", "only.example"); a.StatusCode != 204 || a.ContentLength > 0 {
		t.Errorf("204 came as %d with length %d", a.StatusCode, a.ContentLength)
	}
}

func TestOriginDown(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := ln.Addr().String()
	ln.Close()
	origin := proxytest.NewOrigin(t, proxytest.Answering(echo))
	g := proxytest.Start(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
upstreams:
  dead: {endpoints: [%q]}
  half: {endpoints: [%q, %q], retry: {attempts: 2, on: [connect]}}
error_pages: {502: /sorry}
routes:
  - {name: dead, match: {paths: ["/dead"]}, upstream: dead}
  - {name: half, match: {paths: ["/"]}, upstream: half}
  - {name: sorry, internal: true, match: {paths: ["= /sorry"]}, respond: {status: 502, body: "sorry\n"}}
  - {name: post, match: {paths: ["= /post"], methods: [POST]}, respond: {body: "x"}}
`, dead, dead, origin.Addr))
	if a := g.Get("/dead"); a.StatusCode != 502 || a.Body != "sorry\n" {
		t.Errorf("dead origin: %d %q, want 502 and its page", a.StatusCode, a.Body)
	}
	for i := range 6 {
		if a := g.Do("POST", "/x", "body"); a.StatusCode != 200 || !strings.HasSuffix(a.Body, "body") {
			t.Errorf("request %d with one endpoint of two down: %d %q", i, a.StatusCode, a.Body)
		}
	}
	if a := g.Get("/sorry"); a.StatusCode == 502 {
		t.Error("an internal route answered a client")
	}
}

func TestBodyLimit(t *testing.T) {
	origin := proxytest.NewOrigin(t, proxytest.Answering(echo))
	text := strings.Replace(configText(origin.Addr, proxyAll), "upstreams:", "limits: {body_bytes: 1KiB}\nupstreams:", 1)
	g := proxytest.Start(t, text)
	big := strings.Repeat("x", 2000)
	for name, send := range map[string]string{
		"length":  fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(big), big),
		"chunked": fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(big), big),
	} {
		if got := g.Talk(send, 4*time.Second); !strings.HasPrefix(got, "HTTP/1.1 413 ") {
			t.Errorf("%s: %q, want 413", name, got)
		}
	}
}

func TestClientLeavingCancelsUpstream(t *testing.T) {
	left := make(chan error, 1)
	origin := proxytest.NewOrigin(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := r.ReadByte()
		left <- err
	})
	text := strings.Replace(configText(origin.Addr, proxyAll), "response: 500ms", "response: 10s", 1)
	g := proxytest.Start(t, text)
	c, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	c.Close()
	if err := <-left; err == nil {
		t.Error("origin received a byte, want the end of its connection")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the origin noticed after %v", took)
	}
}

func TestUpgrade(t *testing.T) {
	origin := proxytest.NewOrigin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil || req.Header.Get("Upgrade") != "echo" || req.Header.Get("Connection") != "Upgrade" {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nearly ")
		_, _ = io.Copy(c, r)
	})
	text := configText(origin.Addr, proxyAll)
	g := proxytest.Start(t, text)
	c, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Upgrade") != "echo" {
		t.Fatalf("answer %v, %v", res, err)
	}
	if err := g.Reload(text); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "after a reload")
	got := make([]byte, len("early after a reload"))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "early after a reload" {
		t.Errorf("read %q, %v", got, err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after the client's end: %v, want EOF", err)
	}
}
