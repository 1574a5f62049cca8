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

// eachDrain runs f ten times for each driver, with a gateway that drains at once.
func eachDrain(t *testing.T, f func(t *testing.T, g *proxytest.Gateway)) {
	for _, driver := range []string{"loop", "goroutine"} {
		t.Run(driver, func(t *testing.T) {
			for range 10 {
				f(t, proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0", driver: `+driver+`}]
routes: [{name: r, respond: {body: "here"}}]
drain: {delay: 0s}
`))
			}
		})
	}
}

// asker is a client's connection.
type asker struct {
	net.Conn
	r *bufio.Reader
}

func newAsker(t *testing.T, g *proxytest.Gateway) asker {
	t.Helper()
	c, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return asker{c, bufio.NewReader(c)}
}

func (a asker) ask(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(a, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

func (a asker) answer() error {
	res, err := http.ReadResponse(a.r, nil)
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
	}
	return err
}

// drainAndRead drains while all await an answer, and leaves when it has come.
func drainAndRead(t *testing.T, g *proxytest.Gateway, all []asker) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = g.Server.Drain(ctx) }()
	for i, a := range all {
		if err := a.answer(); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
		a.Close()
	}
	<-ended
}

// TestDrainAnswersWhatHasCome: a request that has reached the machine before a drain
// begins is answered, though nobody has read it yet.
func TestDrainAnswersWhatHasCome(t *testing.T) {
	eachDrain(t, func(t *testing.T, g *proxytest.Gateway) {
		var all [64]asker
		for i := range all {
			all[i] = newAsker(t, g)
			all[i].ask(t)
			if err := all[i].answer(); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range all {
			a.ask(t)
		}
		drainAndRead(t, g, all[:])
	})
}

// TestDrainTakesWhatIsQueued: connections that the kernel has made are served,
// though nobody has accepted them yet.
func TestDrainTakesWhatIsQueued(t *testing.T) {
	eachDrain(t, func(t *testing.T, g *proxytest.Gateway) {
		if answer := g.Get("/"); answer.Body != "here" { // it accepts
			t.Fatal(answer)
		}
		var all [32]asker
		for i := range all {
			all[i] = newAsker(t, g)
			all[i].ask(t)
		}
		drainAndRead(t, g, all[:])
	})
}
