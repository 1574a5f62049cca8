package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"perigee/proxy/proxytest"
)

// What the kernel is asked for is most of what a small request costs. A proxied
// one needs a read and a write on each side, and one wake-up for each read when
// nothing else goes on; a read that finds nothing, or a second write, would show
// here.
func TestSystemCalls(t *testing.T) {
	origin := proxytest.RawOrigin(t, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
	listen, admin := freeAddr(t), freeAddr(t)
	g := runGateway(t, fmt.Sprintf(`
listeners: [{address: %q, driver: loop}]
admin: {address: %q}
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
`, listen, admin, origin), listen)
	for _, c := range []struct {
		name, path           string
		reads, writes, polls float64
	}{
		{"proxied", "/", 2, 2, 2},
		{"scripts beside it", "/policy", 2, 2, 2},
		{"answered by a script", "/content", 1, 1, 1},
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
			const n = 2000
			reads, writes, polls := calls(t, g.cmd.Process.Pid, admin)
			round(n)
			r, w, p := calls(t, g.cmd.Process.Pid, admin)
			for _, v := range []struct {
				what      string
				got, want float64
			}{{"reads", (r - reads) / n, c.reads}, {"writes", (w - writes) / n, c.writes}, {"polls", (p - polls) / n, c.polls}} {
				// What the process does beside, its own metrics among it, is
				// little; a call more per request would be one.
				if v.got > v.want+0.3 {
					t.Errorf("%.2f %s per request, want %v", v.got, v.what, v.want)
				}
			}
		})
	}
	if code := g.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

var loopPolls = regexp.MustCompile(`(?m)^perigee_loop_polls_total\{loop="\d+"\} (\d+)$`)

// calls are the process's read and write calls and its loops' polls so far.
func calls(t *testing.T, pid int, admin string) (reads, writes, polls float64) {
	t.Helper()
	_, text := get(t, "http://"+admin+"/metrics")
	for _, m := range loopPolls.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		polls += n
	}
	io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(io), "\n") {
		_, _ = fmt.Sscanf(line, "syscr: %g", &reads)
		_, _ = fmt.Sscanf(line, "syscw: %g", &writes)
	}
	return reads, writes, polls
}
