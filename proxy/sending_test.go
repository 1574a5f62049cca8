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

// sendingConfig has a route per way of sending on; ORIGIN is replaced.
const sendingConfig = `
listeners: [{address: "127.0.0.1:0"}]
access_log: {format: "off"}
upstreams:
  origin: {endpoints: [ORIGIN], timeouts: {read: 300ms}}
routes:
  - {name: own, match: {paths: [/own]}, upstream: origin}
  - {name: pass, match: {paths: [/pass]}, upstream: origin, proxy: {forwarded: pass}}
  - {name: close, match: {paths: [/close]}, upstream: origin, proxy: {close: true}}
  - {name: buffered, match: {paths: [/buffered]}, upstream: origin, proxy: {buffering: true}}
  - {name: plain, match: {paths: [/plain]}, upstream: origin}
  - name: exec
    match: {paths: [/exec/]}
    lua: {content: 'ngx.req.set_header("X-A", "a"); ngx.exec(ngx.var.uri:sub(6))'}
  - name: captured
    match: {paths: [/captured]}
    lua:
      content: |
        local res = ngx.location.capture(ngx.var.arg_of)
        ngx.say(#res.body, " ", res.truncated)
`

func sendingGateway(t *testing.T, origin string) *proxytest.Gateway {
	return proxytest.Start(t, strings.ReplaceAll(sendingConfig, "ORIGIN", origin))
}

func TestForwardingFields(t *testing.T) {
	origin := proxytest.NewOrigin(t, proxytest.Answering(func(r *http.Request, _ []byte) string {
		said := "for=" + strings.Join(r.Header["X-Forwarded-For"], ";") + " host=" + r.Header.Get("X-Forwarded-Host") +
			" real=" + r.Header.Get("X-Real-Ip") + " a=" + r.Header.Get("X-A") + " close=" + r.Header.Get("Connection")
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(said), said)
	}))
	g := sendingGateway(t, origin.Addr)
	for _, c := range []struct{ name, path, want string }{
		{"own", "/own", "for=127.0.0.1 host=a.test real= a= close="},
		{"passed", "/pass", "for=9.9.9.9 host= real=8.8.8.8 a= close="},
		{"own behind edits and exec", "/exec/own", "for=127.0.0.1 host=a.test real= a=a close="},
		{"passed behind edits and exec", "/exec/pass", "for=9.9.9.9 host= real=8.8.8.8 a=a close="},
		{"close", "/close", "for=127.0.0.1 host=a.test real= a= close=close"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.Get(c.path, "Host", "a.test", "X-Forwarded-For", "9.9.9.9", "X-Real-IP", "8.8.8.8")
			if a.Body != c.want {
				t.Errorf("the endpoint saw %q, wanted %q", a.Body, c.want)
			}
		})
	}
	// What the requests above have left, and may leave a little late, goes first.
	until(t, "two requests that close take two new connections", func() bool {
		before := origin.Connections()
		g.Get("/close")
		g.Get("/close")
		return origin.Connections()-before == 2
	})
}

func TestBuffering(t *testing.T) {
	const piece = 4 << 10
	for _, c := range []struct {
		name, path, head string
		pieces           []int // 0 waits until the client has read to the next mark
		marks            []int // what the client has when it asks for more
	}{
		{"small pieces at once", "/plain", "", []int{5, 0, 5, 0}, []int{5, 10}},
		{"small pieces are gathered", "/buffered", "", []int{5, 5, 5}, []int{15}},
		{"a large one goes on", "/buffered", "", []int{2 * piece, 0, 5}, []int{8192, 8197}},
		{"the endpoint refuses buffering", "/buffered", "X-Accel-Buffering: no\r\n", []int{5, 0, 5, 0}, []int{5, 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := make(chan struct{}, 10)
			origin := proxytest.NewOrigin(t, func(conn net.Conn, r *bufio.Reader) {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n"+c.head+"\r\n")
				for _, n := range c.pieces {
					if n == 0 {
						<-next
						continue
					}
					_, _ = io.WriteString(conn, strings.Repeat("x", n))
				}
			})
			g := sendingGateway(t, origin.Addr)
			res, err := g.Client().Get(g.URL(c.path))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			total := 0
			buf := make([]byte, piece)
			for _, mark := range c.marks {
				for total < mark {
					n, err := res.Body.Read(buf)
					if total += n; err != nil && total < mark {
						t.Fatalf("%d bytes, then %v", total, err)
					}
				}
				next <- struct{}{}
			}
			if n, _ := io.Copy(io.Discard, res.Body); n != 0 {
				t.Errorf("%d more bytes than wanted", n)
			}
		})
	}
}

// TestBufferedBreak holds what becomes of the beginning of a piece whose rest
// does not come: it is passed on when the endpoint breaks off, as it is when it
// ends, and lost when the endpoint falls silent.
func TestBufferedBreak(t *testing.T) {
	done := make(chan struct{})
	origin := proxytest.NewOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
		if req.URL.RawQuery == "silent" {
			select {
			case <-done:
			case <-time.After(30 * time.Second):
			}
		}
	})
	t.Cleanup(func() { close(done) })
	g := sendingGateway(t, origin.Addr)
	for _, c := range []struct{ name, of, want string }{
		{"broken off", "/buffered", "5 true\n"},
		{"silent", "/buffered%3Fsilent", "0 true\n"},
		{"silent, not buffered", "/plain%3Fsilent", "5 true\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			of := strings.ReplaceAll(c.of, "%3F", "?")
			text := strings.ReplaceAll(sendingConfig, "ngx.var.arg_of", `"`+of+`"`)
			if err := g.Reload(strings.ReplaceAll(text, "ORIGIN", origin.Addr)); err != nil {
				t.Fatal(err)
			}
			if a := g.Get("/captured"); a.Body != c.want {
				t.Errorf("captured %q, wanted %q", a.Body, c.want)
			}
		})
	}
}
