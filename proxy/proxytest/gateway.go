// Package proxytest starts whole gateways for tests: a configuration text, real
// sockets on loopback, a log that can be read, and origins that do as they are
// told.
package proxytest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/proxy"
	"perigee/proxy/config"
	"perigee/proxy/observe"
)

// Gateway is a gateway that serves until its test ends.
type Gateway struct {
	*proxy.Server
	// Addr is the first listener's address.
	Addr string
	// Log is what the gateway logged so far.
	Log *Buffer

	t   testing.TB
	dir string
}

// Start serves the configuration text. Its first listener should have port 0;
// admin is not started.
func Start(t testing.TB, text string) *Gateway {
	t.Helper()
	g := &Gateway{t: t, Log: &Buffer{}, dir: t.TempDir()}
	file, err := g.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	log := observe.NewLog(g.Log, observe.LevelInfo)
	g.Server, err = proxy.NewServer(proxy.NewState(observe.BuildInfo{Version: "test"}, log))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Apply(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := g.Server.Drain(ctx); err != nil {
			t.Errorf("drain: %v", err)
		}
		g.Server.Close()
		_ = log.Close(time.Second)
	})
	g.Addr = g.Addresses()[file.Listeners[0].Address].String()
	return g
}

// Parse reads a configuration text as Start does.
func (g *Gateway) Parse(text string) (*config.File, error) {
	file, err := config.Parse("test.yaml", []byte(text), g.dir)
	if err == nil {
		drive(file)
	}
	return file, err
}

// drive makes the driver that PERIGEE_DRIVER names serve what it can: tests do
// not know which one they run on.
func drive(file *config.File) {
	driver := config.Driver(os.Getenv("PERIGEE_DRIVER"))
	for i := range file.Listeners {
		if l := &file.Listeners[i]; driver != "" && l.Driver == "" {
			l.Driver = driver
		}
	}
}

// Reload applies another configuration text.
func (g *Gateway) Reload(text string) error {
	file, err := g.Parse(text)
	if err != nil {
		return err
	}
	return g.Apply(file)
}

// Talk sends raw bytes on a new connection and returns everything that came
// until the gateway closed it, or wait was over.
func (g *Gateway) Talk(send string, wait time.Duration) string {
	g.t.Helper()
	c, err := net.Dial("tcp", g.Addr)
	if err != nil {
		g.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, send); err != nil {
		g.t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(wait))
	answer, _ := io.ReadAll(c)
	return string(answer)
}

// Client is an HTTP client that follows no redirects and decodes nothing.
func (g *Gateway) Client() *http.Client {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	g.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       20 * time.Second,
	}
}

// URL is the address of a path on the gateway.
func (g *Gateway) URL(path string) string { return "http://" + g.Addr + path }

// Get fetches a path; headers are name, value pairs.
func (g *Gateway) Get(path string, headers ...string) Answer {
	g.t.Helper()
	return g.Do("GET", path, "", headers...)
}

// Do sends a request and reads the whole answer.
func (g *Gateway) Do(method, path, body string, headers ...string) Answer {
	g.t.Helper()
	req, err := http.NewRequest(method, g.URL(path), strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if strings.EqualFold(headers[i], "host") {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := g.Client().Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	return Answer{Response: res, Body: string(content), Err: err}
}

// Answer is a response that was read to its end, or until Err.
type Answer struct {
	*http.Response
	Body string
	Err  error
}

// WaitLog waits until the log contains text.
func (g *Gateway) WaitLog(text string) bool {
	for range 200 {
		if strings.Contains(g.Log.String(), text) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// Buffer collects what is written to it, by anybody.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// Close implements io.Closer.
func (b *Buffer) Close() error { return nil }

// String is what was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Origin is a server that speaks bytes, not HTTP: a test decides about each one.
type Origin struct {
	Addr string
	// Seen is all that connections received, in order of arrival.
	Seen *Buffer

	ln    net.Listener
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	n     int
}

// NewOrigin starts an origin that gives every connection to serve.
func NewOrigin(t testing.TB, serve func(c net.Conn, r *bufio.Reader)) *Origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &Origin{Addr: ln.Addr().String(), Seen: &Buffer{}, ln: ln, conns: map[net.Conn]struct{}{}}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		o.mu.Lock()
		for c := range o.conns {
			_ = c.Close()
		}
		o.mu.Unlock()
		running.Wait()
	})
	running.Add(1)
	go func() {
		defer running.Done()
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns[c] = struct{}{}
			o.n++
			o.mu.Unlock()
			running.Add(1)
			go func() {
				defer running.Done()
				defer c.Close()
				serve(c, bufio.NewReader(io.TeeReader(c, o.Seen)))
			}()
		}
	}()
	return o
}

// Connections is how many connections were accepted.
func (o *Origin) Connections() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n
}

// Answering is a serve function for NewOrigin: it reads requests with net/http's
// parser and answers each with what answer returns.
func Answering(answer func(r *http.Request, body []byte) string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			if _, err := io.WriteString(c, answer(req, body)); err != nil {
				return
			}
		}
	}
}
