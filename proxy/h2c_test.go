package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// h2Origin is net/http's server, by HTTP/2 without TLS.
type h2Origin struct {
	addr   string
	opened atomic.Int64
	server *http.Server
}

func newH2Origin(t *testing.T, streams int, serve http.HandlerFunc) *h2Origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &h2Origin{addr: ln.Addr().String()}
	o.server = &http.Server{Handler: serve, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streams}}
	o.server.Protocols.SetUnencryptedHTTP2(true)
	o.server.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			o.opened.Add(1)
		}
	}
	go o.server.Serve(ln)
	t.Cleanup(func() { o.server.Close() })
	return o
}

func h2Gateway(t *testing.T, origin string) *proxytest.Gateway {
	t.Helper()
	return oneUpstream(t, `endpoints: ["`+origin+`"], protocol: h2c`)
}

// oneUpstream is a gateway on one event loop with an upstream of these settings.
func oneUpstream(t *testing.T, settings string) *proxytest.Gateway {
	t.Helper()
	return proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0"}]
workers: 1
access_log: {format: "off"}
limits: {body_bytes: 64MiB}
upstreams:
  origin: {`+settings+`, retry: {attempts: 1}}
routes: [{name: all, match: {paths: [/]}, upstream: origin}]
`)
}

// serveTold answers as told.
func serveTold(w http.ResponseWriter, r *http.Request) {
	kind, size, tag := told(r.URL.Path)
	w.Header().Set("X-Tag", tag)
	body := filled(size, tag)
	switch kind {
	case "length":
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = w.Write(body)
	case "chunks":
		w.WriteHeader(http.StatusEarlyHints)
		for n := 0; len(body) > 0; body = body[n:] {
			n = min(len(body), 1+rand.IntN(5000))
			_, _ = w.Write(body[:n])
			w.(http.Flusher).Flush()
		}
	case "empty":
		w.WriteHeader(http.StatusNoContent)
	}
}

func TestH2C(t *testing.T) {
	for _, streams := range []int{3, 250} {
		t.Run(fmt.Sprint(streams, " streams"), func(t *testing.T) {
			origin := newH2Origin(t, streams, serveTold)
			g := h2Gateway(t, origin.addr)
			crowd(t, g, 40, 25)
			if n := origin.opened.Load(); shared() && n > int64(80/streams+2) {
				t.Errorf("%d connections for 40 clients", n)
			}
		})
	}
}

func TestH2CThousandStreams(t *testing.T) {
	var now, most atomic.Int64
	all := make(chan struct{})
	origin := newH2Origin(t, 250, func(w http.ResponseWriter, r *http.Request) {
		if n := now.Add(1); n == 1000 {
			close(all)
		}
		most.Store(now.Load())
		<-all
		serveTold(w, r)
	})
	g := h2Gateway(t, origin.addr)
	client := g.Client()
	var running sync.WaitGroup
	for i := range 1000 {
		running.Add(1)
		go func() {
			defer running.Done()
			if err := askTold(client, g, wish{"GET", "length", 500, fmt.Sprint("t", i)}); err != nil {
				t.Error(err)
			}
		}()
	}
	running.Wait()
	if n := origin.opened.Load(); shared() && n > 12 {
		t.Errorf("%d connections for 1000 exchanges", n)
	}
}

// TestH2CBodies sends long bodies both ways at a time, with and without length.
func TestH2CBodies(t *testing.T) {
	origin := newH2Origin(t, 100, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		w.Header().Set("Trailer", "X-Sum")
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("X-Sum", fmt.Sprint(n))
	})
	g := h2Gateway(t, origin.addr)
	client := g.Client()
	var running sync.WaitGroup
	for i := range 12 {
		running.Add(1)
		go func() {
			defer running.Done()
			body := filled(1<<20+i*77777, fmt.Sprint("b", i))
			var in io.Reader = bytes.NewReader(body)
			if i%2 == 0 {
				in = io.MultiReader(in) // no length
			}
			req, _ := http.NewRequest("POST", g.URL("/"), in)
			res, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			got, err := io.ReadAll(slowly{res.Body, i%3 == 0})
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d: sent %d bytes, got %d, %v", i, len(body), len(got), err)
			}
			if s := res.Trailer.Get("X-Sum"); s != fmt.Sprint(len(body)) {
				t.Errorf("trailer is %q, wanted %d", s, len(body))
			}
		}()
	}
	running.Wait()
}

type slowly struct {
	r    io.Reader
	slow bool
}

func (s slowly) Read(p []byte) (int, error) {
	if s.slow {
		time.Sleep(time.Millisecond)
	}
	return s.r.Read(p)
}

// TestH2CSlowClient has a client that reads nothing; the others on the
// connection go on, and the endpoint is held up.
func TestH2CSlowClient(t *testing.T) {
	var sent atomic.Int64
	origin := newH2Origin(t, 100, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/endless" {
			serveTold(w, r)
			return
		}
		for piece := make([]byte, 32<<10); ; sent.Add(int64(len(piece))) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	g := h2Gateway(t, origin.addr)
	nc, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
	for before := int64(-1); before != sent.Load(); time.Sleep(200 * time.Millisecond) {
		before = sent.Load()
	}
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("%d bytes were taken for a client that reads none", n)
	}
	crowd(t, g, 10, 10)
	if n := origin.opened.Load(); shared() && n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestH2CClientLeaves(t *testing.T) {
	var canceled atomic.Int64
	origin := newH2Origin(t, 100, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/hang") {
			<-r.Context().Done()
			canceled.Add(1)
			return
		}
		serveTold(w, r)
	})
	g := h2Gateway(t, origin.addr)
	client := g.Client()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for range 20 {
		running.Add(1)
		go func() {
			defer running.Done()
			req, _ := http.NewRequestWithContext(ctx, "GET", g.URL("/hang"), nil)
			if res, err := client.Do(req); err == nil {
				res.Body.Close()
				t.Errorf("status %d", res.StatusCode)
			}
		}()
	}
	crowd(t, g, 10, 5)
	cancel()
	running.Wait()
	crowd(t, g, 10, 5)
	for end := time.Now().Add(20 * time.Second); canceled.Load() < 10 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if n := canceled.Load(); n < 10 {
		t.Errorf("the endpoint was told of %d ends", n)
	}
	if n := origin.opened.Load(); shared() && n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestH2CEndpointLeaves has an endpoint say GOAWAY all the time, by stopping
// and starting at the same address: no request fails.
func TestH2CEndpointLeaves(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			one := &oneConn{nc: nc, gone: make(chan struct{})}
			s := &http.Server{Handler: http.HandlerFunc(serveTold), Protocols: new(http.Protocols)}
			s.Protocols.SetUnencryptedHTTP2(true)
			var served sync.Once
			s.ConnState = func(_ net.Conn, state http.ConnState) {
				if state != http.StateActive {
					return
				}
				served.Do(func() {
					time.AfterFunc(time.Duration(20+rand.IntN(30))*time.Millisecond, func() {
						_ = s.Shutdown(context.Background())
					})
				})
			}
			go s.Serve(one)
		}
	}()
	g := h2Gateway(t, ln.Addr().String())
	for range 5 {
		crowd(t, g, 20, 20)
	}
}

// oneConn is a listener of one connection.
type oneConn struct {
	nc   net.Conn
	once sync.Once
	gone chan struct{}
}

func (l *oneConn) Accept() (nc net.Conn, err error) {
	if nc, l.nc = l.nc, nil; nc != nil {
		return nc, nil
	}
	<-l.gone
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.gone) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// A head whose body does not come is passed on all the same.
func TestH2CHeadAlone(t *testing.T) {
	release := make(chan struct{})
	origin := newH2Origin(t, 100, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "4")
		w.(http.Flusher).Flush()
		<-release
		_, _ = io.WriteString(w, "body")
	})
	g := h2Gateway(t, origin.addr)
	client := g.Client()
	for range 3 {
		res, err := client.Get(g.URL("/"))
		if err != nil {
			t.Fatal(err)
		}
		release <- struct{}{} // the origin waits for this with the head on its way
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(body) != "body" || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
	}
}
