package proxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// limited starts a gateway with one route of these limits.
func limited(t *testing.T, limits string) *proxytest.Gateway {
	t.Helper()
	return proxytest.Start(t, configText("127.0.0.1:1", `
  - name: api
    match: {paths: ["/"]}
    limit:
`+indent(limits, "      ")+`
    lua: {log: 'ngx.ctx.x = 1'}
    respond: {body: "ok\n"}
`))
}

func indent(text, by string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return by + strings.Join(lines, "\n"+by)
}

// get asks once and tells status, head and body.
func get(t *testing.T, g *proxytest.Gateway, path string, fields ...string) (int, http.Header, string) {
	t.Helper()
	return getBy(t, g.Client(), g.URL(path), fields...)
}

// getBy is get by a client that keeps its connection: a request is read only when the
// one before has ended, be its answer here long since, so what that one has taken is
// given back and what it is to be charged is charged.
func getBy(t *testing.T, client *http.Client, url string, fields ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		req.Header.Set(name, value)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

func TestLimitRefuses(t *testing.T) {
	g := limited(t, `- {name: tenants, key: ["header:X-Tenant"], rate: 3/h}`)
	for i, want := range []int{200, 200, 200, 429, 429} {
		status, head, body := get(t, g, "/", "X-Tenant=a")
		if status != want {
			t.Fatalf("request %d: %d, want %d", i, status, want)
		}
		if got, want := head.Get("RateLimit-Policy"), `"tenants";q=3;w=3600`; got != want {
			t.Errorf("request %d: policy %q, want %q", i, got, want)
		}
		if left := max(2-i, 0); !strings.HasPrefix(head.Get("RateLimit"), fmt.Sprintf(`"tenants";r=%d;t=`, left)) {
			t.Errorf("request %d: %q, want %d left", i, head.Get("RateLimit"), left)
		}
		if retry := head.Get("Retry-After"); (want == 429) != (retry == "1200" || retry == "1199") {
			t.Errorf("request %d: Retry-After %q", i, retry)
		}
		if want == 429 && body != "429 Too Many Requests\n" {
			t.Errorf("body %q", body)
		}
	}
	if status, _, _ := get(t, g, "/", "X-Tenant=b"); status != 200 {
		t.Errorf("another tenant got %d", status)
	}
	if status, _, _ := get(t, g, "/"); status != 200 {
		t.Errorf("who has no tenant got %d", status)
	}
	var metrics bytes.Buffer
	if err := g.WriteMetrics(&metrics); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`perigee_limit_decisions_total{route="api",limit="tenants",outcome="allowed"} 5`,
		`perigee_limit_decisions_total{route="api",limit="tenants",outcome="denied"} 2`,
		"perigee_limit_keys_evicted_total 0",
	} {
		if !strings.Contains(metrics.String(), want) {
			t.Errorf("metrics without %s", want)
		}
	}
}

func TestLimitOutcomes(t *testing.T) {
	for _, c := range []struct {
		name, limits string
		fields       []string
		want         []int
		body         string // of the last answer
	}{
		{"answer of its own", `- {rate: 1/h, status: 503, body: "later, $http_x\n", content_type: text/x}`, []string{"X=joe"}, []int{200, 503}, "later, joe\n"},
		{"dry run", `- {rate: 1/h, dry_run: true}`, nil, []int{200, 200, 200}, "ok\n"},
		{"missing shares", `- {rate: 1/h, key: ["header:X"]}`, nil, []int{200, 429}, ""},
		{"missing skips", `- {rate: 1/h, key: ["header:X"], on_missing: skip}`, nil, []int{200, 200}, ""},
		{"missing is refused", `- {rate: 9/h, key: ["header:X"], on_missing: deny}`, nil, []int{429}, ""},
		{"weight", `- {rate: 10/h, weight: "$http_x_cost"}`, []string{"X-Cost=4"}, []int{200, 200, 429}, ""},
		{"weight that is no number", `- {rate: 2/h, weight: "$http_x_cost"}`, []string{"X-Cost=-4"}, []int{200, 200, 429}, ""},
		{"more than ever passes", `- {rate: 10/h, weight: "11"}`, nil, []int{429}, ""},
		{"sliding", `- {rate: 2/h, algorithm: sliding}`, nil, []int{200, 200, 429}, ""},
		{"fixed", `- {rate: 2/365d, algorithm: fixed}`, nil, []int{200, 200, 429}, ""},
		{"month", `- {monthly: 2}`, nil, []int{200, 200, 429}, ""},
		{"concurrent", `- {concurrent: 1}`, nil, []int{200, 200, 200}, ""},
		{"charged by bytes", `- {rate: 100/h, charge: bytes_out}`, nil, []int{200, 429}, ""},
		{"unlimited tier of nobody", `- {rate: 1/h, tiers: [{consumer: c, unlimited: true}]}`, nil, []int{200, 429}, ""},
		{"delay", `- {rate: 100/s, burst: 1, delay: 10s}`, nil, []int{200, 200, 200, 200}, "ok\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := limited(t, c.limits)
			client := g.Client()
			for i, want := range c.want {
				status, _, body := getBy(t, client, g.URL("/"), c.fields...)
				if status != want {
					t.Fatalf("request %d: %d, want %d\n%s", i, status, want, g.Log)
				}
				if i == len(c.want)-1 && c.body != "" && body != c.body {
					t.Errorf("body %q, want %q", body, c.body)
				}
			}
		})
	}
}

// Of several limits none is charged when one refuses.
func TestLimitsAreAskedBeforeAnyIsCharged(t *testing.T) {
	g := limited(t, `
- {name: all, rate: 4/h}
- {name: tenants, key: ["header:X"], rate: 2/h}`)
	for i, c := range []struct {
		tenant string
		want   int
	}{{"a", 200}, {"a", 200}, {"a", 429}, {"a", 429}, {"b", 200}, {"b", 200}, {"b", 429}, {"c", 429}} {
		status, head, _ := get(t, g, "/", "X="+c.tenant)
		if status != c.want {
			t.Fatalf("request %d of %s: %d, want %d", i, c.tenant, status, c.want)
		}
		if !strings.Contains(head.Get("RateLimit"), `"all";r=`) || !strings.Contains(head.Get("RateLimit"), `, "tenants";r=`) {
			t.Errorf("request %d: %q", i, head.Get("RateLimit"))
		}
	}
}

func TestLimitConcurrent(t *testing.T) {
	arrived, leave := make(chan struct{}, 8), make(chan struct{})
	origin := proxytest.NewOrigin(t, proxytest.Answering(func(*http.Request, []byte) string {
		arrived <- struct{}{}
		<-leave
		return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	}))
	g := proxytest.Start(t, configText(origin.Addr, `
  - {name: a, match: {paths: ["/"]}, limit: [{concurrent: 2}], upstream: o}
`))
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if res, err := g.Client().Get(g.URL("/")); err == nil {
				res.Body.Close()
			}
		})
	}
	for range 2 {
		<-arrived
	}
	if status, head, _ := get(t, g, "/"); status != 429 || head.Get("RateLimit") != "" {
		t.Errorf("the third at a time got %d %q", status, head.Get("RateLimit"))
	}
	close(leave)
	all.Wait()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		status, _, _ := get(t, g, "/")
		if status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d long after all have left", status)
		}
	}
}

// Counters outlive a reload by the limit's name, whatever its numbers.
func TestLimitsSurviveReload(t *testing.T) {
	text := func(burst int) string {
		return configText("127.0.0.1:1", fmt.Sprintf(`
  - {name: a, match: {paths: ["= /a"]}, limit: [{name: n, rate: 2/h, burst: %d}], respond: {body: "ok\n"}}
  - {name: b, match: {paths: ["= /b"]}, limit: [{name: n, rate: 2/h, burst: %d}], respond: {body: "ok\n"}}
`, burst, burst))
	}
	g := proxytest.Start(t, text(2))
	for i, want := range []int{200, 200, 429} {
		if status, _, _ := get(t, g, []string{"/a", "/b", "/a"}[i]); status != want {
			t.Fatalf("request %d: %d, want %d", i, status, want)
		}
	}
	for _, burst := range []int{2, 4} {
		file, err := g.Parse(text(burst))
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Apply(file); err != nil {
			t.Fatal(err)
		}
		want := map[int]int{2: 429, 4: 200}[burst]
		if status, _, _ := get(t, g, "/b"); status != want {
			t.Errorf("burst %d after the reload: %d, want %d", burst, status, want)
		}
	}
}

func TestLimitsForOperators(t *testing.T) {
	g := limited(t, `- {name: tenants, key: ["header:X"], rate: 1/h}`)
	for range 3 {
		get(t, g, "/", "X=acme")
	}
	info := g.Limits()
	text, _ := json.Marshal(info)
	if len(info.Limits) != 1 || len(info.Limits[0].Top) == 0 || info.Limits[0].Top[0].Key != "acme" ||
		info.Limits[0].Decisions["denied"] != 2 || info.Limits[0].Numbers != "1/h, burst 1" {
		t.Fatalf("%s", text)
	}
	if id := info.Limits[0].Top[0].ID; !g.ResetLimit("tenants", id) || g.ResetLimit("tenants", id) || g.ResetLimit("others", id) || g.ResetLimit("tenants", "x") {
		t.Error("reset does not tell what it found")
	}
	if status, _, _ := get(t, g, "/", "X=acme"); status != 200 {
		t.Errorf("after the reset: %d", status)
	}
}

// A page for the status keeps Retry-After, and the access line names the limit.
func TestLimitErrorPage(t *testing.T) {
	g := proxytest.Start(t, configText("127.0.0.1:1", `
  - {name: a, match: {paths: ["= /a"]}, error_pages: {429: {route: page}}, limit: [{rate: 1/h}], respond: {}}
  - {name: page, internal: true, respond: {status: 429, body: "slow down\n"}}
`))
	get(t, g, "/a")
	status, head, body := get(t, g, "/a")
	if status != 429 || body != "slow down\n" || head.Get("Retry-After") == "" {
		t.Errorf("%d %q, Retry-After %q", status, body, head.Get("Retry-After"))
	}
}

// A script and a route count together under one name.
func TestLimitOfScripts(t *testing.T) {
	text := strings.Replace(configText("127.0.0.1:1", `
  - name: lua
    match: {paths: ["= /lua"]}
    lua: {content: 'ngx.say(perigee.limit("n", ngx.var.http_x))'}
  - {name: native, match: {paths: ["= /native"]}, limit: [{name: n, key: ["header:X"], rate: 3/h}], respond: {}}
`), "routes:", "rate_limits: {n: {rate: 3/h}}\nroutes:", 1)
	g := proxytest.Start(t, text)
	for i, want := range []string{"true20\n", "", "true00\n", "false01200", "429"} {
		path := map[bool]string{true: "/native", false: "/lua"}[want == "" || want == "429"]
		status, _, body := get(t, g, path, "X=a")
		switch {
		case want == "429" && status != 429, want == "" && status != 200,
			want != "429" && want != "" && want != "false01200" && body != want,
			want == "false01200" && !strings.HasPrefix(body, "false0"):
			t.Fatalf("request %d: %d %q, want %q", i, status, body, want)
		}
	}
	for range 2 { // a reload goes on counting
		var metrics bytes.Buffer
		if err := g.WriteMetrics(&metrics); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`route="",limit="n",outcome="allowed"} 2`, `route="",limit="n",outcome="denied"} 1`, `route="native",limit="n",outcome="allowed"} 1`} {
			if !strings.Contains(metrics.String(), want) {
				t.Errorf("metrics without %s", want)
			}
		}
		if err := g.Reload(strings.Replace(text, "routes:", "limits: {inflight: 1000}\nroutes:", 1)); err != nil {
			t.Fatal(err)
		}
	}
}
