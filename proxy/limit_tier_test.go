package proxy_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

const tierSecret = "0123456789abcdef0123456789abcdef"

// planToken is a token of somebody who has a plan.
func planToken(sub, plan string) string {
	in := b64url([]byte(`{"alg":"HS256"}`)) + "." + b64url(fmt.Appendf(nil, `{"sub":%q,"plan":%q,"exp":%d}`, sub, plan, time.Now().Unix()+3600))
	mac := hmac.New(sha256.New, []byte(tierSecret))
	mac.Write([]byte(in))
	return in + "." + b64url(mac.Sum(nil))
}

// Who asks decides which numbers count: the first tier that fits.
func TestLimitTiers(t *testing.T) {
	const text = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
consumers:
  probe: {groups: [gold], keys: [{plain: probe-key-0123456789}]}
  rich: {groups: [gold, old], keys: [{plain: rich-key-0123456789}]}
  plain: {keys: [{plain: plain-key-0123456789}]}
auth: {issuers: {us: {any_audience: true, algorithms: [HS256], keys: [{secret: %s}]}}}
routes:
  - name: api
    match: {paths: ["/"]}
    auth: {api_key: {}, jwt: {}, optional: true}
    limit:
      - name: t
        key: [consumer]
        rate: 1/h
        tiers:
          - {consumer: probe, unlimited: true}
          - {group: gold, rate: 3/h}
          - {claim: plan=big, rate: 2/h, burst: 4}
    respond: {}
`
	g := proxytest.Start(t, fmt.Sprintf(text, tierSecret))
	for _, c := range []struct {
		name   string
		fields []string
		admits int
		policy string
	}{
		{"nobody", nil, 1, `"t";q=1;w=3600`},
		{"in no tier", []string{"X-Api-Key=plain-key-0123456789"}, 1, `"t";q=1;w=3600`},
		{"of a group", []string{"X-Api-Key=rich-key-0123456789"}, 3, `"t";q=3;w=3600`},
		{"one consumer, without a limit", []string{"X-Api-Key=probe-key-0123456789"}, 8, ""},
		{"of a plan", []string{"Authorization=Bearer " + planToken("joe", "big")}, 4, `"t";q=4;w=7200`},
		{"of another plan", []string{"Authorization=Bearer " + planToken("ann", "small")}, 1, `"t";q=1;w=3600`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range 8 {
				want := http.StatusOK
				if i >= c.admits {
					want = http.StatusTooManyRequests
				}
				status, head, _ := get(t, g, "/", c.fields...)
				if status != want || head.Get("RateLimit-Policy") != c.policy {
					t.Fatalf("request %d: %d, want %d; policy %q, want %q", i, status, want, head.Get("RateLimit-Policy"), c.policy)
				}
			}
		})
	}
}

// What a request turned out to cost is charged when it has ended: tokens that
// the upstream has counted, or bytes.
func TestLimitChargesAfterwards(t *testing.T) {
	origin := proxytest.NewOrigin(t, proxytest.Answering(func(r *http.Request, body []byte) string {
		return "HTTP/1.1 200 OK\r\nX-Tokens: " + r.Header.Get("X-Ask") + "\r\nContent-Length: 0\r\n\r\n"
	}))
	for _, c := range []struct {
		name, limit string
		asks        []string
		want        []int
	}{
		{"tokens", `rate: 100/h, charge: "header:X-Tokens"`, []string{"60", "39", "500", "1"}, []int{200, 200, 200, 429}},
		{"tokens of a fixed window", `rate: 100/365d, algorithm: fixed, charge: "header:X-Tokens"`, []string{"60", "40", "1"}, []int{200, 200, 429}},
		{"no number costs nothing", `rate: 1/h, charge: "header:X-Tokens"`, []string{"many", "-3", ""}, []int{200, 200, 200}},
		{"bytes that came", `rate: 400/h, charge: bytes_in`, []string{strings.Repeat("1", 500), "1"}, []int{200, 429}},
		{"bytes both ways", `rate: 100/h, charge: bytes`, []string{"1", "1"}, []int{200, 429}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := proxytest.Start(t, configText(origin.Addr, fmt.Sprintf(`
  - {name: a, match: {paths: ["/"]}, limit: [{name: n, key: [ip], %s}], upstream: o}
`, c.limit)))
			for i, want := range c.want {
				// A request is charged at its end, which its client may see first.
				ask := func() int {
					status, _, _ := get(t, g, "/", "X-Ask="+c.asks[i])
					return status
				}
				if want == http.StatusOK {
					if got := ask(); got != want {
						t.Fatalf("request %d: %d, want %d", i, got, want)
					}
					ended := uint64(i + 1)
					until(t, "the request has ended", func() bool { return g.Routes()[0].Requests >= ended })
					continue
				}
				until(t, "what was charged refuses", func() bool { return ask() == want })
			}
		})
	}
}

// Fields are told always, on refusals, or never; Retry-After comes with each
// refusal.
func TestLimitHeaders(t *testing.T) {
	for headers, told := range map[string][2]bool{"always": {true, true}, "refused": {false, true}, "never": {false, false}} {
		t.Run(headers, func(t *testing.T) {
			g := limited(t, `- {name: n, rate: 1/h, headers: `+headers+`}`)
			for i, want := range []int{200, 429} {
				status, head, _ := get(t, g, "/")
				if status != want || (head.Get("RateLimit") != "") != told[i] || (head.Get("RateLimit-Policy") != "") != told[i] || (head.Get("Retry-After") != "") != (i == 1) {
					t.Errorf("request %d: %d, %v", i, status, head)
				}
			}
		})
	}
}

// A dry run refuses nobody, tells clients nothing, and operators what it would
// have done.
func TestLimitDryRunIsSeen(t *testing.T) {
	lines := filepath.Join(t.TempDir(), "access.log")
	g := proxytest.Start(t, strings.Replace(configText("127.0.0.1:1", `
  - {name: a, match: {paths: ["/"]}, limit: [{name: n, rate: 1/h, dry_run: true}], respond: {}}
`), `{format: "off"}`, `{file: `+lines+`}`, 1))
	for i := range 3 {
		if status, head, _ := get(t, g, "/"); status != 200 || head.Get("RateLimit") != "" || head.Get("Retry-After") != "" {
			t.Errorf("request %d: %d %v", i, status, head)
		}
	}
	if n := g.Limits().Limits[0].Decisions["would_deny"]; n != 2 {
		t.Errorf("%d would have been refused", n)
	}
	until(t, "access lines tell", func() bool {
		text, _ := os.ReadFile(lines)
		return strings.Count(string(text), `"limit":"n","limit_outcome":"would_deny"`) == 2
	})
}
