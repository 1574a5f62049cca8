package proxy_test

import (
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// TestKeepaliveRequests: the last request that a connection may bring closes it,
// and its answer says so.
func TestKeepaliveRequests(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: x\r\n"
	five := strings.Repeat(request+"\r\n", 4) + request + "Connection: close\r\n\r\n"
	for name, test := range map[string]struct {
		limits   string
		answered int
	}{
		"any number": {"", 5},
		"three":      {"limits: {keepalive_requests: 3}\n", 3},
		"one":        {"limits: {keepalive_requests: 1}\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := proxytest.Start(t, test.limits+`
listeners: [{address: "127.0.0.1:0"}]
routes: [{name: r, respond: {body: "here"}}]
`)
			all := g.Talk(five, 30*time.Second)
			answers := strings.Split(all, "HTTP/1.1 200 ")[1:]
			if len(answers) != test.answered {
				t.Fatalf("%d of 5 requests were answered, not %d:\n%s", len(answers), test.answered, all)
			}
			for i, a := range answers {
				closes := strings.Contains(strings.ToLower(a), "connection: close")
				if last := i == len(answers)-1; closes != last {
					t.Errorf("answer %d says that it closes the connection: %v, not %v:\n%s", i+1, closes, last, all)
				}
			}
		})
	}
}
