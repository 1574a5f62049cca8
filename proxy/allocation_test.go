package proxy_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"perigee/proxy/proxytest"
)

const policyRoutes = `
  - {name: all, match: {paths: ["/"]}, upstream: o}
  - name: policy
    match: {paths: ["= /policy"]}
    lua:
      access: |
        local h = ngx.req.get_headers()
        local key, agent = h["x-api-key"], h["user-agent"]
        if not key then return ngx.exit(401) end
        ngx.shared.d:incr("n", 1, 0)
        ngx.req.set_header("X-Consumer", agent)
      header_filter: 'ngx.header["X-Gateway"] = "perigee"'
    upstream: o
  - name: content
    match: {paths: ["= /content"]}
    lua:
      content: |
        ngx.header["Content-Length"] = 6
        ngx.print("hello\n")
  - {name: fixed, match: {paths: ["= /fixed"]}, respond: {body: "fixed\n"}}
`

// TestAllocations holds the path of a request free of allocations: those of the
// whole process are counted, and client and origin make none.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	big := strings.Repeat("x", 100<<10)
	small := proxytest.RawOrigin(t, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
	large := proxytest.RawOrigin(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(big), big))
	const head = " HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nX-Api-Key: k\r\nAccept: */*\r\n"
	post := func(body string) string {
		return fmt.Sprintf("POST /%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
	}
	for _, c := range []struct {
		name, origin, request string
		most                  float64
	}{
		{"plain", small, "GET /" + head + "\r\n", 0},
		{"body in one buffer", small, post(big[:1024]), 0},
		{"Lua policy", small, "GET /policy" + head + "\r\n", 0},
		{"Lua content", small, "GET /content" + head + "\r\n", 0},
		{"static answer", small, "GET /fixed" + head + "\r\n", 0},
		{"streamed response", large, "GET /" + head + "\r\n", 6},
		{"streamed request", small, post(big), 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := proxytest.Start(t, configText(c.origin, policyRoutes))
			client := proxytest.NewRawClient(t, g.Addr, c.request)
			round := func() {
				if answer, err := client.Round(); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
					t.Fatalf("%.100q, %v", answer, err)
				}
			}
			for range 300 {
				round()
			}
			// Timers and pools of the runtime add a few over thousands.
			if n := testing.AllocsPerRun(2000, round); n > c.most {
				t.Errorf("%v allocations per request, want at most %v", n, c.most)
			}
		})
	}
}
