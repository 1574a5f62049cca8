package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"perigee/proxy/config"
	"perigee/proxy/observe"
)

// TestTunnelLetsItsVMsGo: a tunnel outlives any number of reloads, the VMs of
// its configuration do not wait for it.
func TestTunnelLetsItsVMsGo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(c, r)
	}()
	file, err := config.Parse("t.yaml", []byte(fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
upstreams: {o: {endpoints: [%q]}}
routes:
  - {name: all, match: {paths: ["/"]}, upstream: o, lua: {access: 'ngx.ctx.a = 1', log: 'ngx.log(ngx.ERR, "end")'}}
`, ln.Addr())), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(NewState(observe.BuildInfo{}, observe.NewLog(discard{}, observe.LevelEmerg)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Apply(file); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", s.Addresses()["127.0.0.1:0"].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(c)
	if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	first := s.gateway.current.Load()
	for range 3 {
		if err := s.Apply(file); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-first.pool.Done():
	case <-time.After(5 * time.Second):
		t.Error("the VMs of a replaced configuration wait for a tunnel")
	}
	_, _ = io.WriteString(c, "still here\n")
	if line, err := r.ReadString('\n'); err != nil || line != "still here\n" {
		t.Errorf("through the tunnel: %q, %v", line, err)
	}
}
