package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

func TestRetryOfRoutes(t *testing.T) {
	var asked atomic.Int64
	origin := proxytest.NewOrigin(t, proxytest.Answering(func(r *http.Request, _ []byte) string {
		status := r.URL.Query().Get("first")
		if r.URL.Path == "/late" {
			time.Sleep(20 * time.Millisecond)
		}
		if asked.Add(1) > 1 {
			status = "200"
		}
		return "HTTP/1.1 " + status + " X\r\nContent-Length: 0\r\n\r\n"
	}))
	// The same endpoint twice, by name and address.
	g := proxytest.Start(t, strings.NewReplacer("ONE", origin.Addr, "TWO", strings.Replace(origin.Addr, "127.0.0.1", "localhost", 1)).Replace(`
listeners: [{address: "127.0.0.1:0"}]
access_log: {format: "off"}
upstreams: {o: {endpoints: [ONE, TWO], retry: {on: ["503"]}}}
routes:
  - {name: upstream, match: {paths: [/upstream]}, upstream: o}
  - {name: own, match: {paths: [/own]}, upstream: o, retry: {on: [403, 404, 429, 500]}}
  - {name: any, match: {paths: [/any]}, upstream: o, retry: {on: [500], any_method: true}}
  - {name: once, match: {paths: [/once]}, upstream: o, retry: {attempts: 1, on: [500]}}
  - {name: late, match: {paths: [/late]}, upstream: o, retry: {on: [500], within: 10ms}}
  - {name: soon, match: {paths: [/soon]}, upstream: o, retry: {on: [500], within: 60s}}
`))
	for _, c := range []struct {
		method, path, first string
		want, attempts      int
	}{
		{"GET", "/upstream", "503", 200, 2}, {"GET", "/upstream", "500", 500, 1},
		{"GET", "/own", "500", 200, 2}, {"GET", "/own", "403", 200, 2}, {"GET", "/own", "404", 200, 2}, {"GET", "/own", "429", 200, 2},
		{"GET", "/own", "503", 503, 1}, {"POST", "/own", "500", 500, 1},
		{"POST", "/any", "500", 200, 2}, {"GET", "/once", "500", 500, 1}, {"GET", "/soon", "500", 200, 2}, {"GET", "/late", "500", 500, 1},
	} {
		t.Run(fmt.Sprint(c.method, c.path, c.first), func(t *testing.T) {
			asked.Store(0)
			a := g.Do(c.method, c.path+"?first="+c.first, "x")
			if a.StatusCode != c.want || int(asked.Load()) != c.attempts {
				t.Errorf("status %d after %d attempts, wanted %d after %d", a.StatusCode, asked.Load(), c.want, c.attempts)
			}
		})
	}
}
