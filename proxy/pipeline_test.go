package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// shared tells whether exchanges share connections: the goroutine driver gives
// each one of its own.
func shared() bool { return os.Getenv("PERIGEE_DRIVER") != "goroutine" }

func pipelining(t *testing.T, origin, more string) *proxytest.Gateway {
	t.Helper()
	return proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0"}]
workers: 1
access_log: {format: "off"}
upstreams:
  origin: {endpoints: ["`+origin+`"], pipeline: 16, retry: {attempts: 1}`+more+`}
routes: [{name: all, match: {paths: [/]}, upstream: origin}]
`)
}

// told is what a request's path asks an origin for: /KIND/SIZE/TAG.
func told(path string) (kind string, size int, tag string) {
	part := strings.Split(path, "/")
	_, _ = fmt.Sscan(part[2], &size)
	return part[1], size, part[3]
}

// filled is size bytes that are tag's alone.
func filled(size int, tag string) []byte {
	return bytes.Repeat([]byte(tag+","), size/(len(tag)+1)+1)[:size]
}

// answerTold answers as told.
func answerTold(w io.Writer, r *http.Request) error {
	kind, size, tag := told(r.URL.Path)
	body := filled(size, tag)
	var all bytes.Buffer
	switch kind {
	case "length":
		fmt.Fprintf(&all, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Tag: %s\r\n\r\n", size, tag)
		if r.Method != "HEAD" {
			all.Write(body)
		}
	case "chunks":
		fmt.Fprintf(&all, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Tag: %s\r\n\r\n", tag)
		for n := 0; len(body) > 0 && r.Method != "HEAD"; body = body[n:] {
			n = min(len(body), 1+rand.IntN(5000))
			fmt.Fprintf(&all, "%x\r\n%s\r\n", n, body[:n])
		}
		if r.Method != "HEAD" {
			all.WriteString("0\r\n\r\n")
		}
	case "empty":
		fmt.Fprintf(&all, "HTTP/1.1 204 No Content\r\nX-Tag: %s\r\n\r\n", tag)
	}
	for all.Len() > 0 { // in pieces that respect nothing
		if _, err := w.Write(all.Next(1 + rand.IntN(1<<15))); err != nil {
			return err
		}
	}
	return nil
}

// wish is what an origin is told to answer.
type wish struct {
	method, kind string
	size         int
	tag          string
}

// askTold fetches what was wished and compares.
func askTold(client *http.Client, g *proxytest.Gateway, w wish) error {
	method, kind, size, tag := w.method, w.kind, w.size, w.tag
	req, _ := http.NewRequest(method, g.URL(fmt.Sprintf("/%s/%d/%s", kind, size, tag)), nil)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	want := filled(size, tag)
	if method == "HEAD" || kind == "empty" {
		want = nil
	}
	if err != nil || res.Header.Get("X-Tag") != tag || !bytes.Equal(got, want) {
		return fmt.Errorf("%s %s %d %s: status %d, tag %q, %d bytes, %v", method, kind, size, tag, res.StatusCode, res.Header.Get("X-Tag"), len(got), err)
	}
	return nil
}

// crowd asks from many clients at a time for mixed answers.
func crowd(t *testing.T, g *proxytest.Gateway, clients, rounds int) {
	t.Helper()
	client := g.Client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = clients
	var running sync.WaitGroup
	for i := range clients {
		running.Add(1)
		go func() {
			defer running.Done()
			for j := range rounds {
				kind := []string{"length", "chunks", "empty", "length"}[rand.IntN(4)]
				size := []int{0, 1, 100, 3000, 70000}[rand.IntN(5)]
				method := []string{"GET", "GET", "HEAD"}[rand.IntN(3)]
				if err := askTold(client, g, wish{method, kind, size, fmt.Sprintf("t%d-%d", i, j)}); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	running.Wait()
}

func TestPipelineAnswersInOrder(t *testing.T) {
	origin := proxytest.NewOrigin(t, func(c net.Conn, r *bufio.Reader) {
		out := bufio.NewWriter(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil || answerTold(out, req) != nil || rand.IntN(3) > 0 && out.Flush() != nil {
				return
			}
			if r.Buffered() < 1000 && out.Flush() != nil {
				return // the next request is not whole, perhaps
			}
		}
	})
	g := pipelining(t, origin.Addr, "")
	crowd(t, g, 40, 25)
	if n := origin.Connections(); shared() && n > 20 {
		t.Errorf("%d connections for 40 clients", n)
	}
}

// TestPipelineOriginCloses has an origin that ends connections wherever it
// likes, but answers something first: nothing may fail.
func TestPipelineOriginCloses(t *testing.T) {
	for _, c := range []struct {
		name     string
		announce bool
	}{{"said so", true}, {"at once", false}} {
		t.Run(c.name, func(t *testing.T) {
			origin := proxytest.NewOrigin(t, func(nc net.Conn, r *bufio.Reader) {
				for n := 1 + rand.IntN(30); ; n-- {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					if n == 0 && c.announce {
						_, size, tag := told(req.URL.Path)
						fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Tag: %s\r\nContent-Length: %d\r\n\r\n%s", tag, size, filled(size, tag))
					}
					if n == 0 {
						linger(nc, r)
						return
					}
					if answerTold(nc, req) != nil {
						return
					}
				}
			})
			g := pipelining(t, origin.Addr, "")
			client := g.Client()
			var running sync.WaitGroup
			for i := range 20 {
				running.Add(1)
				go func() {
					defer running.Done()
					for j := range 25 {
						if err := askTold(client, g, wish{"GET", "length", 10 + i, fmt.Sprintf("t%d-%d", i, j)}); err != nil {
							t.Error(err)
							return
						}
					}
				}()
			}
			running.Wait()
		})
	}
}

// linger ends a connection without an RST that would destroy what was sent.
func linger(nc net.Conn, r io.Reader) {
	_ = nc.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, r)
}

func TestPipelineIsForSafeRequests(t *testing.T) {
	var most, now atomic.Int64
	origin := proxytest.NewOrigin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			if r.Buffered() > 0 {
				most.Store(1)
			}
			now.Add(1)
			time.Sleep(2 * time.Millisecond)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	g := pipelining(t, origin.Addr, "")
	client := g.Client()
	var running sync.WaitGroup
	for i := range 30 {
		running.Add(1)
		go func() {
			defer running.Done()
			method, body := "POST", io.Reader(strings.NewReader("some"))
			if i%2 == 0 {
				method = "PUT"
			}
			req, _ := http.NewRequest(method, g.URL("/x"), body)
			if res, err := client.Do(req); err != nil || res.StatusCode != 200 {
				t.Errorf("%s: %v %v", method, res, err)
			}
		}()
	}
	running.Wait()
	if most.Load() != 0 {
		t.Error("a request with a body stood behind another one on the connection")
	}
}

// TestPipelineSlowHead has requests behind a slow one go on alone.
func TestPipelineSlowHead(t *testing.T) {
	hold := make(chan struct{})
	origin := proxytest.NewOrigin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if strings.HasPrefix(req.URL.Path, "/length/9/slow") {
				<-hold
			}
			if answerTold(c, req) != nil {
				return
			}
		}
	})
	g := pipelining(t, origin.Addr, ", pipeline_wait: 100ms")
	client := g.Client()
	slow := make(chan error, 1)
	go func() { slow <- askTold(client, g, wish{"GET", "length", 9, "slow"}) }()
	for !strings.Contains(origin.Seen.String(), "slow") {
		time.Sleep(time.Millisecond)
	}
	for i := range 5 {
		if err := askTold(client, g, wish{"GET", "length", 20, fmt.Sprint("quick", i)}); err != nil {
			t.Error(err)
		}
	}
	close(hold)
	if err := <-slow; err != nil {
		t.Error(err)
	}
	crowd(t, g, 5, 5)
}

// TestPipelineClientLeaves cancels some of the requests on a connection; the
// others must not notice.
func TestPipelineClientLeaves(t *testing.T) {
	origin := proxytest.NewOrigin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
			if answerTold(c, req) != nil {
				return
			}
		}
	})
	g := pipelining(t, origin.Addr, "")
	client := g.Client()
	var running sync.WaitGroup
	for i := range 20 {
		running.Add(1)
		go func() {
			defer running.Done()
			for j := range 10 {
				tag := fmt.Sprintf("t%d-%d", i, j)
				if i%4 != 0 {
					if err := askTold(client, g, wish{"GET", "chunks", 3000, tag}); err != nil {
						t.Error(err)
					}
					continue
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(10))*time.Millisecond)
				req, _ := http.NewRequestWithContext(ctx, "GET", g.URL("/length/200000/"+tag), nil)
				if res, err := client.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				cancel()
			}
		}()
	}
	running.Wait()
}

// TestPipelineUnasked has an origin send an answer that nobody asked for.
func TestPipelineUnasked(t *testing.T) {
	origin := proxytest.NewOrigin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _, tag := told(req.URL.Path)
			if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Tag: %s\r\n\r\n%s"+
				"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", tag, filled(10, tag)); err != nil {
				return
			}
		}
	})
	g := pipelining(t, origin.Addr, "")
	client := g.Client()
	for i := range 10 {
		if err := askTold(client, g, wish{"GET", "length", 10, fmt.Sprint("t", i)}); err != nil {
			t.Error(err)
		}
	}
}
