package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// upgrading is an origin that echoes after an upgrade and answers other requests.
func upgrading(c net.Conn, r *bufio.Reader) {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.Header.Get("Upgrade") != "" {
			break
		}
		_, _ = io.Copy(io.Discard, req.Body)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nearly ")
	_, _ = io.Copy(c, r)
}

const upgradeRequest = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

// secured is a configuration whose first listener is TLS.
func secured(t testing.TB, driver, origin, routes string) string {
	return strings.NewReplacer(`address: "127.0.0.1:0"`, `address: "127.0.0.1:0", driver: `+driver+tlsListener(t),
		"response: 500ms", "response: 60s").Replace(configText(origin, routes))
}

// TestUpgradeOverTLS: bytes that came behind the request, in its record or
// another, much in both ways, new keys meanwhile, a reload, and an end.
func TestUpgradeOverTLS(t *testing.T) {
	for _, driver := range []string{"loop", "goroutine"} {
		t.Run(driver, func(t *testing.T) {
			text := secured(t, driver, proxytest.NewOrigin(t, upgrading).Addr, proxyAll)
			g := proxytest.Start(t, text)
			c := newRecordClient(t, g.Addr)
			_ = c.SetDeadline(time.Now().Add(60 * time.Second))
			c.send(c.data("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), c.data(upgradeRequest+"ahead "), c.data("of time "))
			r := bufio.NewReader(c)
			for _, want := range []int{200, 101} {
				res, err := http.ReadResponse(r, nil)
				if err != nil || res.StatusCode != want {
					t.Fatalf("answer %v, %v; want %d", res, err, want)
				}
				if want == 200 {
					_, _ = io.Copy(io.Discard, res.Body)
				}
			}
			expect := func(want string) {
				t.Helper()
				got := make([]byte, len(want))
				if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
					t.Fatalf("%d bytes of %d, %.60q, %v; want %.60q", n, len(got), got[:n], err, want)
				}
			}
			expect("early ahead of time ")
			if err := g.Reload(text); err != nil {
				t.Fatal(err)
			}
			c.send(c.update(t), c.data("after a reload"))
			expect("after a reload")
			much := strings.Repeat("0123456789abcdef", 1000)
			records := make([][]byte, 200)
			for i := range records {
				records[i] = c.data(much)
			}
			go c.send(records...)
			expect(strings.Repeat(much, len(records)))
			c.send(c.record(alertRecord, "\x01\x00"))
			if _, err := r.ReadByte(); err != io.EOF {
				t.Errorf("after the client's end: %v, want EOF", err)
			}
			until(t, "the tunnel ends", func() bool {
				return metric(t, g, `perigee_connections{listener="127.0.0.1:0"}`) == 0
			})
			if n := metric(t, g, `perigee_loop_handovers_total{loop="0",reason="upgrade"}`); driver == "loop" && n != 1 {
				t.Errorf("%d hand-overs by upgrades", n)
			}
		})
	}
}

// metric reads one series as a whole number; -1: there is none.
func metric(t *testing.T, g *proxytest.Gateway, series string) int {
	t.Helper()
	var b bytes.Buffer
	if err := g.WriteMetrics(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			n := -1
			_, _ = fmt.Sscan(value, &n)
			return n
		}
	}
	return -1
}

// TestTunnelOverTLSEndsInDrain: a drain that has no more time cuts tunnels.
func TestTunnelOverTLSEndsInDrain(t *testing.T) {
	for _, driver := range []string{"loop", "goroutine"} {
		t.Run(driver, func(t *testing.T) {
			g := proxytest.Start(t, secured(t, driver, proxytest.NewOrigin(t, upgrading).Addr, proxyAll))
			c := dialTLS(t, g.Addr, nil, &tls.Config{})
			defer c.Close()
			_, _ = io.WriteString(c, upgradeRequest)
			r := bufio.NewReader(c)
			if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != 101 {
				t.Fatal(res, err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			if err := g.Server.Drain(ctx); err == nil {
				t.Error("the drain did not know of the tunnel")
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Logf("the tunnel ended by %v", err)
			}
		})
	}
}

// TestReloadAndDrainOverTLS: clients that connect again and again, and some that
// keep their connections, see neither reloads nor a drain.
func TestReloadAndDrainOverTLS(t *testing.T) {
	for _, driver := range []string{"loop", "goroutine"} {
		t.Run(driver, func(t *testing.T) {
			text := secured(t, driver, proxytest.NewOrigin(t, upgrading).Addr, proxyAll)
			g := proxytest.Start(t, "drain: {delay: 1m}\n"+text)
			var leaving atomic.Bool
			var served atomic.Int64
			var clients sync.WaitGroup
			for i := range 8 {
				clients.Go(func() {
					for !leaving.Load() {
						if err := askOften(t, g.Addr, i, &served); err != nil {
							t.Errorf("client %d: %v", i, err)
							return
						}
					}
				})
			}
			for i := range 5 {
				goal := served.Load() + 50
				until(t, "requests are served", func() bool { return served.Load() >= goal || t.Failed() })
				if err := g.Reload(fmt.Sprintf("drain: {delay: 1m}\n%s  - {name: more-%d, match: {paths: [/more]}, respond: {}}\n", text, i)); err != nil {
					t.Error(err)
				}
			}
			leaving.Store(true) // who connects anew is led elsewhere
			ctx, endDelay := context.WithCancel(context.Background())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = g.Server.Drain(ctx)
			}()
			clients.Wait()
			endDelay()
			<-ended
			if err := g.Reload(text); err != nil { // its own end shall not wait
				t.Error(err)
			}
		})
	}
}

// askOften sends requests on one connection until the gateway ends it or it has
// had its share.
func askOften(t *testing.T, addr string, share int, served *atomic.Int64) error {
	c := dialTLS(t, addr, nil, &tls.Config{})
	defer c.Close()
	r := bufio.NewReader(c)
	for range 1 + share*20 {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			return err
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
			return fmt.Errorf("%d, %v", res.StatusCode, err)
		}
		served.Add(1)
		if res.Close {
			break
		}
	}
	return nil
}

// TestSlowReaderOverTLS: an answer of many records to a client that stops reading
// now and then arrives whole, and its end is told.
func TestSlowReaderOverTLS(t *testing.T) {
	body := make([]byte, 24<<20)
	_, _ = rand.New(rand.NewSource(1)).Read(body)
	origin := proxytest.RawOrigin(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	for _, driver := range []string{"loop", "goroutine"} {
		t.Run(driver, func(t *testing.T) {
			g := proxytest.Start(t, secured(t, driver, origin, proxyAll))
			c := dialTLS(t, g.Addr, nil, &tls.Config{})
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(60 * time.Second))
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			time.Sleep(200 * time.Millisecond)
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for err == nil {
				_, err = io.CopyN(&got, res.Body, 3<<20)
				time.Sleep(5 * time.Millisecond)
			}
			if err != io.EOF || !bytes.Equal(got.Bytes(), body) {
				t.Errorf("%d bytes of %d, %v", got.Len(), len(body), err)
			}
			if n, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("behind the answer: %d bytes, %v", n, err)
			}
		})
	}
}

// TestAllocationsOverTLS: crypto/tls allocates one reader of 32 bytes for each
// time it goes to the socket, at both ends; nobody else does anything.
func TestAllocationsOverTLS(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	origin := proxytest.RawOrigin(t, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
	g := proxytest.Start(t, secured(t, "loop", origin, policyRoutes))
	c := dialTLS(t, g.Addr, nil, &tls.Config{})
	defer c.Close()
	_ = c.SetDeadline(time.Time{})
	request := []byte("GET /policy HTTP/1.1\r\nHost: a.test\r\nX-Api-Key: k\r\nUser-Agent: test\r\n\r\n")
	answer := make([]byte, 4096)
	round := func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(answer); err != nil || !bytes.HasSuffix(answer[:n], []byte("\r\n\r\nok")) {
			t.Fatalf("%q, %v", answer[:n], err)
		}
	}
	for range 300 {
		round()
	}
	n := allocations(2000, round)
	t.Logf("%.4f allocations per request", n)
	if n > 2+none {
		t.Errorf("%.4f allocations per request, want at most %v", n, 2+none)
	}
}
