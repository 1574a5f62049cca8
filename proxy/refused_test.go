package proxy_test

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perigee/proxy"
	"perigee/proxy/config"
	"perigee/proxy/observe"
	"perigee/proxy/proxytest"
)

// TestRefusedStartAcceptsNothing knocks all the while that a configuration is
// built whose init takes a while and fails in the end.
func TestRefusedStartAcceptsNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	apply := func(failing string) (accepted int64, err error) {
		file, err := config.Parse("test.yaml", fmt.Appendf(nil, `
listeners: [{address: %q}]
admin: {address: "off"}
access_log: {format: "off"}
workers: 1
lua:
  cpu_budget: 0
  init: |
    local till = os.clock() + 0.3
    repeat until os.clock() > till
    %s
routes: [{name: r, respond: {body: ok}}]
`, address, failing), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		log := observe.NewLog(&proxytest.Buffer{}, observe.LevelInfo)
		server, err := proxy.NewServer(proxy.NewState(observe.BuildInfo{Version: "test"}, log))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			server.Close()
			_ = log.Close(time.Second)
		}()
		var connected atomic.Int64
		over, knocked := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(knocked)
			for {
				select {
				case <-over:
					return
				case <-time.After(time.Millisecond):
				}
				if c, err := net.Dial("tcp", address); err == nil {
					connected.Add(1)
					_ = c.Close()
				}
			}
		}()
		err = server.Apply(file)
		for tries := 0; err == nil && connected.Load() == 0 && tries < 1000; tries++ {
			time.Sleep(10 * time.Millisecond)
		}
		close(over)
		<-knocked
		return connected.Load(), err
	}
	if n, err := apply(`error("refused on purpose")`); err == nil || !strings.Contains(err.Error(), "refused on purpose") || n > 0 {
		t.Errorf("%d connections were accepted before the start was refused with %v", n, err)
	}
	if n, err := apply(""); err != nil || n == 0 {
		t.Errorf("%d connections were accepted after a start, %v", n, err)
	}
}
