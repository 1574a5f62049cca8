package proxy_test

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
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
  - name: limited
    match: {paths: ["= /limited"]}
    limit:
      - {name: keys, key: ["header:X-Api-Key", ip, route], rate: 1000000/s, burst: 1000000}
      - {name: hosts, key: ["$host"], rate: 1000000/s, algorithm: sliding}
      - {name: inside, concurrent: 100}
      - {name: volume, rate: 1000000000/d, algorithm: fixed, charge: bytes, weight: "$http_x_cost"}
    upstream: o
`

// none leaves room for what the runtime, its timers and its pools allocate at
// their own pace, a few objects over thousands of requests, and for nothing
// that one request in twenty would do.
const none = 0.05

// allocations is the mean number of objects that the process allocates in a
// round. testing.AllocsPerRun would round it down, letting 0.99 pass as none,
// and would leave one P, on which goroutines meet in one order alone. The least
// of three counts: a collection empties pools, and not every run meets one.
func allocations(rounds int, round func()) float64 {
	least := math.Inf(1)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			round()
		}
		runtime.ReadMemStats(&after)
		least = min(least, float64(after.Mallocs-before.Mallocs)/float64(rounds))
	}
	return least
}

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
		{"limits", small, "GET /limited" + head + "\r\n", none},
		{"plain", small, "GET /" + head + "\r\n", none},
		{"body in one buffer", small, post(big[:1024]), none},
		{"Lua policy", small, "GET /policy" + head + "\r\n", none},
		{"Lua content", small, "GET /content" + head + "\r\n", none},
		{"static answer", small, "GET /fixed" + head + "\r\n", none},
		{"pipelined", small, "GET /" + head + "\r\n", none},
		{"traced", small, "GET /" + head + "Traceparent: " + callersParent[:53] + "00\r\nTracestate: a=1\r\nBaggage: k=v\r\n\r\n", none},
		{"traced Lua policy", small, "GET /policy" + head + "\r\n", none},
		{"streamed response", large, "GET /" + head + "\r\n", 6},
		{"streamed request", small, post(big), 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := configText(c.origin, policyRoutes)
			if c.name == "pipelined" {
				text = strings.Replace(text, "timeouts:", "pipeline: 8, timeouts:", 1)
			}
			if strings.HasPrefix(c.name, "traced") {
				text = "tracing: {endpoint: http://127.0.0.1:1, sample: 0%}\n" + text
			}
			g := proxytest.Start(t, text)
			client := proxytest.NewRawClient(t, g.Addr, c.request)
			round := func() {
				if answer, err := client.Round(); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
					t.Fatalf("%.100q, %v", answer, err)
				}
			}
			for range 300 {
				round()
			}
			n := allocations(2000, round)
			t.Logf("%.4f allocations per request", n)
			if n > c.most {
				t.Errorf("%.4f allocations per request, want at most %v", n, c.most)
			}
		})
	}
}
