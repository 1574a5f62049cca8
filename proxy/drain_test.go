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
