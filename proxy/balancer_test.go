package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// balanced starts a gateway whose one upstream is chosen by script; its own
// endpoint is own.
func balanced(t *testing.T, own, script, retry string) *proxytest.Gateway {
	t.Helper()
	text := fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
upstreams:
  o:
    endpoints: [%q]
    retry: %s
    lua:
      balancer: |
        local b = require "ngx.balancer"
%s
routes:
  - name: all
    match: {paths: ["/"]}
    upstream: o
    lua: {header_filter: 'ngx.header["X-Tries"] = ngx.ctx.tries'}
`, own, retry, "        "+strings.ReplaceAll(strings.TrimSpace(script), "\n", "\n        "))
	return proxytest.Start(t, text)
}

func named(t *testing.T, name string) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, name+" "+r.Header.Get("X-Attempt"))
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// refused is an address where nobody listens.
func refused(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestBalancerScript(t *testing.T) {
	own, other, dead := named(t, "own"), named(t, "other"), refused(t)
	_, otherPort, _ := net.SplitHostPort(other)
	_, deadPort, _ := net.SplitHostPort(dead)
	for _, c := range []struct {
		name, own, retry, script string
		status                   int
		body                     string
	}{
		{"names no endpoint", own, "{}", `ngx.ctx.tries = 1`, 200, "own "},
		{"names one", own, "{}", `assert(b.set_current_peer("127.0.0.1", ` + otherPort + `))`, 200, "other "},
		{"names it with its port", own, "{}", `assert(b.set_current_peer("127.0.0.1:` + otherPort + `"))`, 200, "other "},
		{"sees the request", own, "{}",
			`assert(ngx.var.arg_p == "1" and ngx.get_phase() == "balancer") b.set_current_peer("127.0.0.1", ` + otherPort + `)`, 200, "other "},
		{"may edit the request of each attempt", own, "{}", `ngx.req.set_header("X-Attempt", "first") b.recreate_request()`, 200, "own first"},
		{"tries again elsewhere", own, "{attempts: 5}", `
ngx.ctx.tries = (ngx.ctx.tries or 0) + 1
if ngx.ctx.tries == 1 then
  assert(b.get_last_failure() == nil)
  assert(b.set_more_tries(1))
  return b.set_current_peer("127.0.0.1", ` + deadPort + `)
end
local state, status = b.get_last_failure()
assert(state == "failed" and status == 502, tostring(status))
b.set_current_peer("127.0.0.1", ` + otherPort + `)`, 200, "other "},
		{"gets no more tries than allowed", own, "{attempts: 2}", `
ngx.ctx.tries = (ngx.ctx.tries or 0) + 1
if ngx.ctx.tries == 1 then
  local ok, warning = b.set_more_tries(9)
  assert(ok and warning == "reduced tries due to limit")
end
b.set_current_peer("127.0.0.1", ` + deadPort + `)`, 502, ""},
		{"refuses names", own, "{}", `
local ok, e = b.set_current_peer("localhost", 1)
assert(ok == nil and e == "no host allowed", e)`, 200, "own "},
		{"ends the request", own, "{}", `ngx.exit(403)`, 403, ""},
		{"ends the request with an error", own, "{}", `ngx.exit(ngx.ERROR)`, 500, ""},
		{"may not wait", own, "{}", `ngx.sleep(0.1)`, 500, ""},
		{"sets timeouts", own, "{}", `assert(b.set_timeouts(1, 2, 3.5)) assert(not pcall(b.set_timeouts, -1))`, 200, "own "},
		{"keeps connections", own, "{}",
			`assert(b.enable_keepalive(10, 1)) b.set_current_peer("127.0.0.1", ` + otherPort + `)`, 200, "other "},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := balanced(t, c.own, c.script, c.retry)
			for range 2 {
				res, err := http.Get("http://" + g.Addr + "/x?p=1")
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != c.status || c.body != "" && string(body) != c.body {
					t.Errorf("%d %q, want %d %q; log:\n%s", res.StatusCode, body, c.status, c.body, g.Log)
				}
			}
		})
	}
}

func TestBalancerOutsideOfItsPhase(t *testing.T) {
	g := proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
routes:
  - name: all
    match: {paths: ["/"]}
    lua: {content: 'ngx.say(select(2, require "ngx.balancer".set_current_peer("127.0.0.1", 1)))'}
`)
	if got := g.Talk("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", time.Second); !strings.Contains(got, "API disabled in the current context") {
		t.Error(got)
	}
}
