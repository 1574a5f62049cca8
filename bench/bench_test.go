package bench

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"perigee/proxy/proxytest"
)

const head = " HTTP/1.1\r\nHost: a.test\r\nUser-Agent: bench\r\nX-Api-Key: key-1\r\nAccept: */*\r\n\r\n"

// config has every benchmark's route; %s is the origin, then further routes.
const config = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
lua: {shared_dicts: {d: 1MiB}, cpu_budget: 10s}
upstreams: {o: {endpoints: [%q]}}
routes:
  - {name: plain, match: {paths: ["/plain"]}, upstream: o}
  - {name: fixed, match: {paths: ["= /fixed"]}, respond: {body: "fixed\n"}}
  - name: policy
    match: {paths: ["= /policy"]}
    lua:
      access: |
        local h = ngx.req.get_headers()
        local key, agent = h["x-api-key"], h["user-agent"]
        if not key then return ngx.exit(401) end
        ngx.shared.d:incr(key, 1, 0)
        ngx.req.set_header("X-Consumer", agent)
      header_filter: 'ngx.header["X-Gateway"] = "perigee"'
    upstream: o
  - name: beside
    match: {paths: ["= /beside"]}
    lua: {rewrite: 'ngx.req.set_header("X-Visit", ngx.var.request_id)', access: 'if ngx.var.arg_no then return ngx.exit(403) end'}
    upstream: o
  - name: access
    match: {paths: ["= /access"]}
    lua: {access: 'return'}
    upstream: o
  - name: content
    match: {paths: ["= /content"]}
    lua:
      content: |
        local cjson = require "cjson"
        local h = ngx.req.get_headers()
        ngx.header["Content-Type"] = "application/json"
        local s = cjson.encode { path = ngx.var.uri, agent = h["user-agent"], items = {1, 2, 3} }
        ngx.header["Content-Length"] = #s
        ngx.print(s)
%s`

func start(t testing.TB, routes string) *proxytest.Gateway {
	origin := proxytest.RawOrigin(t, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
	return proxytest.Start(t, fmt.Sprintf(config, origin, routes))
}

func measure(b *testing.B, path, routes string) {
	g := start(b, routes)
	client := proxytest.NewRawClient(b, g.Addr, "GET "+path+head)
	round := func() {
		if answer, err := client.Round(); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
			b.Fatalf("%.200q, %v", answer, err)
		}
	}
	for range 200 {
		round()
	}
	before := g.Crossings()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		round()
	}
	b.StopTimer()
	b.ReportMetric(float64(g.Crossings()-before)/float64(b.N), "crossings/op")
}

func BenchmarkPlain(b *testing.B)   { measure(b, "/plain", "") }
func BenchmarkRespond(b *testing.B) { measure(b, "/fixed", "") }
func BenchmarkContent(b *testing.B) { measure(b, "/content", "") }
func BenchmarkBeside(b *testing.B)  { measure(b, "/beside", "") }
func BenchmarkPolicy(b *testing.B)  { measure(b, "/policy", "") }

// BenchmarkRoutes1000 is BenchmarkPlain with a thousand more routes.
func BenchmarkRoutes1000(b *testing.B) {
	var routes strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&routes, "  - {name: r%d, match: {paths: [\"/service-%d/\"]}, upstream: o}\n", i, i)
	}
	measure(b, "/plain", routes.String())
}

// TestCrossings: a phase whose script does not wait enters C once.
func TestCrossings(t *testing.T) {
	g := start(t, "")
	for _, c := range []struct {
		path string
		want uint64
	}{{"/plain", 0}, {"/fixed", 0}, {"/access", 1}, {"/beside", 1}, {"/policy", 2}, {"/content", 1}} {
		client := proxytest.NewRawClient(t, g.Addr, "GET "+c.path+head)
		const rounds = 500
		round := func() {
			if answer, err := client.Round(); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
				t.Fatalf("%s: %.300q, %v", c.path, answer, err)
			}
		}
		for range 10 { // slots and their memory are made
			round()
		}
		before := g.Crossings()
		for range rounds {
			round()
		}
		if n := g.Crossings() - before; n != rounds*c.want {
			t.Errorf("%s: %d crossings for %d requests, want %d each", c.path, n, rounds, c.want)
		}
	}
}
