package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// TestDrainAsksToConnectAnew: from its begin on a drain tells keep-alive clients to
// connect elsewhere, while it still answers them.
func TestDrainAsksToConnectAnew(t *testing.T) {
	const site = `
listeners: [{address: "127.0.0.1:0"}]
routes: [{name: r, respond: {body: "here"}}]
`
	g := proxytest.Start(t, site+"drain: {delay: 1m}\n")
	c, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	ask := func() (closes bool) {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		return res.Close
	}
	if ask() {
		t.Error("an answer closes its connection before the drain")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.Server.Drain(ctx)
	}()
	for ready := true; ready; ready, _ = g.Ready() {
		time.Sleep(time.Millisecond)
	}
	if !ask() {
		t.Error("an answer of a drain keeps its connection")
	}
	cancel()
	<-ended
	// The gateway's own end shall not wait for a minute.
	if err := g.Reload(site); err != nil {
		t.Error(err)
	}
}

// TestDrainAnswersWhatHasCome: a request that has reached the machine before a drain
// begins is answered, though nobody has read it yet.
func TestDrainAnswersWhatHasCome(t *testing.T) {
	for _, driver := range []string{"loop", "goroutine"} {
		t.Run(driver, func(t *testing.T) {
			for range 10 {
				g := proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0", driver: `+driver+`}]
routes: [{name: r, respond: {body: "here"}}]
drain: {delay: 0s}
`)
				drainWithRequests(t, g)
			}
		})
	}
}

func drainWithRequests(t *testing.T, g *proxytest.Gateway) {
	const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	var clients [64]net.Conn
	var readers [64]*bufio.Reader
	answer := func(i int) error {
		res, err := http.ReadResponse(readers[i], nil)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
		}
		return err
	}
	for i := range clients {
		c, err := net.Dial("tcp", g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		clients[i], readers[i] = c, bufio.NewReader(c)
		if _, err = io.WriteString(c, request); err == nil {
			err = answer(i)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range clients {
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = g.Server.Drain(ctx) }()
	for i := range clients {
		if err := answer(i); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
		clients[i].Close()
	}
	<-ended
}

// TestDrainTakesWhatIsQueued: connections that the kernel has made are served,
// though nobody has accepted them yet.
func TestDrainTakesWhatIsQueued(t *testing.T) {
	for _, driver := range []string{"loop", "goroutine"} {
		t.Run(driver, func(t *testing.T) {
			for range 10 {
				g := proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0", driver: `+driver+`}]
routes: [{name: r, respond: {body: "here"}}]
drain: {delay: 0s}
`)
				if answer := g.Get("/"); answer.Body != "here" { // it accepts
					t.Fatal(answer)
				}
				var clients [32]net.Conn
				for i := range clients {
					c, err := net.Dial("tcp", g.Addr)
					if err == nil {
						_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
					}
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(10 * time.Second))
					clients[i] = c
				}
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				ended := make(chan struct{})
				go func() { defer close(ended); _ = g.Server.Drain(ctx) }()
				for i, c := range clients {
					if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
						t.Errorf("client %d: %v", i, err)
					}
					c.Close()
				}
				<-ended
			}
		})
	}
}
