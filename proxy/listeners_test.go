package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"perigee/proxy/proxytest"
)

// ask sends one request to an address and returns the answer's body.
func ask(t *testing.T, network, address, host string) string {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestRoutesOfListeners(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false) // as of a process that was killed
	left.Close()
	g := proxytest.Start(t, strings.ReplaceAll(`
listeners: [{address: "127.0.0.1:0"}, {address: "unix:SOCKET"}]
admin: {address: "off"}
access_log: {format: "off"}
routes:
  - {name: tcp, match: {listeners: ["127.0.0.1:0"]}, respond: {body: tcp}}
  - {name: socket, match: {listeners: ["unix:SOCKET"]}, respond: {body: "socket $remote_addr"}}
  - {name: named, match: {listeners: ["unix:SOCKET"], hosts: [named]}, respond: {body: named}}
  - {name: both, match: {hosts: [both]}, respond: {body: both}}
`, "SOCKET", socket))
	for _, test := range []struct{ network, address, host, want string }{
		{"tcp", g.Addr, "x", "tcp"},
		{"tcp", g.Addr, "named", "tcp"},
		{"tcp", g.Addr, "both", "both"},
		{"unix", socket, "x", "socket unix:"},
		{"unix", socket, "named", "named"},
		{"unix", socket, "both", "both"},
	} {
		if got := ask(t, test.network, test.address, test.host); got != test.want {
			t.Errorf("%s, host %s: %q, wanted %q", test.network, test.host, got, test.want)
		}
	}
}
