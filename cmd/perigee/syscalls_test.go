package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"perigee/proxy/proxytest"
)

// What the kernel is asked for is most of what a small request costs. A proxied
// one needs a read and a write on each side, and one wake-up for each read when
// nothing else goes on; a read that finds nothing, a second write, or a question
// whether a pooled connection is still good would show here. strace counts.
func TestSystemCalls(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed: make deps-test")
	}
	origin := proxytest.RawOrigin(t, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
	_, port, err := net.SplitHostPort(origin)
	if err != nil {
		t.Fatal(err)
	}
	listen, seen := freeAddr(t), filepath.Join(t.TempDir(), "calls")
	g := launchUnder(t, []string{"strace", "-D", "-f", "-qq", "-e", "signal=none", "-e", "trace=" + traced, "-s", "0", "-o", seen}, fmt.Sprintf(`
listeners: [{address: %q, driver: loop}]
admin: {address: "off"}
access_log: {format: "off"}
lua: {shared_dicts: {d: 64KiB}}
upstreams: {o: {endpoints: [%q]}}
routes:
  - {name: plain, match: {paths: ["/"]}, upstream: o}
  - name: policy
    match: {paths: [/policy]}
    lua: {access: 'ngx.shared.d:incr("n", 1, 0)', header_filter: 'ngx.header["X-A"] = "b"'}
    upstream: o
  - {name: content, match: {paths: [/content]}, lua: {content: 'ngx.say("hello")'}}
  - name: socket
    match: {paths: [/socket]}
    lua:
      content: |
        local s = ngx.socket.tcp()
        assert(s:connect("127.0.0.1", %s))
        assert(s:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
        for _ = 1, 4 do assert(s:receive()) end
        ngx.print(assert(s:receive(2)))
        assert(s:setkeepalive())
`, listen, origin, port), listen)
	for _, c := range []struct {
		name, path           string
		reads, writes, polls float64
	}{
		{"proxied", "/", 2, 2, 2},
		{"scripts beside it", "/policy", 2, 2, 2},
		{"answered by a script", "/content", 1, 1, 1},
		{"a script's pooled socket", "/socket", 2, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := proxytest.NewRawClient(t, listen, "GET "+c.path+" HTTP/1.1\r\nHost: a\r\n\r\n")
			round := func(n int) {
				for range n {
					if answer, err := client.Round(); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
						t.Fatalf("%.200q, %v", answer, err)
					}
				}
			}
			round(200)
			const n = 1000
			before := countCalls(t, seen)
			round(n)
			after := countCalls(t, seen)
			for _, v := range []struct {
				what      string
				got, want float64
			}{
				{"reads", float64(after.reads-before.reads) / n, c.reads},
				{"writes", float64(after.writes-before.writes) / n, c.writes},
				{"polls", float64(after.polls-before.polls) / n, c.polls},
			} {
				// What the process does beside is little; a call more per request
				// would be one. A call less means that strace has seen nothing.
				if v.got > v.want+0.3 || v.got < v.want-0.3 {
					t.Errorf("%.2f %s per request, want %v", v.got, v.what, v.want)
				}
			}
		})
	}
	if code := g.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// traced are the calls by which bytes are moved and waited for.
const traced = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,poll,ppoll,?epoll_wait,epoll_pwait,?epoll_pwait2"

var tracedCall = regexp.MustCompile(`(?m)^\d+ +(\w+)\(`)

type kernelCalls struct{ reads, writes, polls int }

// countCalls counts the calls that strace has written down. The end of a call that
// was interrupted by another thread's is not a second one.
func countCalls(t *testing.T, file string) (n kernelCalls) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range tracedCall.FindAllSubmatch(text, -1) {
		switch name := string(m[1]); {
		case strings.HasPrefix(name, "re"):
			n.reads++
		case strings.HasPrefix(name, "write"), strings.HasPrefix(name, "send"):
			n.writes++
		default:
			n.polls++
		}
	}
	return n
}
