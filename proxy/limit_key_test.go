package proxy_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perigee/proxy/proxytest"
)

// keyed starts a gateway whose route /  has a limit with a script in its key.
func keyed(t *testing.T, driver, limit string) *proxytest.Gateway {
	t.Helper()
	return proxytest.Start(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", driver: %s}]
admin: {address: "off"}
access_log: {format: "off"}
consumers: {acme: {groups: [gold], keys: [{plain: acme-key-0123456789}]}}
routes:
  - name: api
    match: {paths: ["/"]}
    auth: {api_key: {}, optional: true}
    limit:
      - %s
    respond: {body: "ok\n"}
`, driver, limit))
}

func TestLimitKeyFromLua(t *testing.T) {
	for i, c := range []struct {
		name, limit string
		fields      []string // one a request
		want        []int
	}{
		{"a header", `{key: [{lua: 'return ngx.var.http_x'}], rate: 1/h}`, []string{"X=a", "X=a", "X=b"}, []int{200, 429, 200}},
		{"beside others", `{key: ["header:Y", {lua: 'return ngx.req.get_headers().x'}], rate: 1/h}`, []string{"X=a", "X=a", "X=b"}, []int{200, 429, 200}},
		{"a number", `{key: [{lua: 'return 1 + 1'}], rate: 1/h}`, []string{"X=a", "X=b"}, []int{200, 429}},
		{"who asks", `{key: [{lua: 'return ngx.var.consumer_group'}], rate: 1/h, on_missing: skip}`, []string{"X-Api-Key=acme-key-0123456789", "X-Api-Key=acme-key-0123456789", "X=a"}, []int{200, 429, 200}},
		{"after a wait", `{key: [{lua: 'local x = ngx.var.http_x ngx.sleep(0.001) return x'}], rate: 1/h}`, []string{"X=a", "X=a", "X=b"}, []int{200, 429, 200}},
		{"two of them", `{key: [{lua: 'return ngx.var.http_x'}, {lua: 'ngx.sleep(0) return "c"'}], rate: 1/h}`, []string{"X=a", "X=a", "X=b"}, []int{200, 429, 200}},
		{"a module", `{key: [{lua: {file: key.lua}}], rate: 1/h}`, []string{"X=a", "X=a", "X=b"}, []int{200, 429, 200}},
		{"nil shares", `{key: [{lua: 'return nil'}], rate: 1/h}`, []string{"X=a", "X=b"}, []int{200, 429}},
		{"nil skips", `{key: [{lua: 'return nil'}], rate: 1/h, on_missing: skip}`, []string{"X=a", "X=b"}, []int{200, 200}},
		{"nil is refused", `{key: [{lua: ''}], rate: 9/h, on_missing: deny}`, []string{"X=a"}, []int{429}},
		{"a table is nothing", `{key: [{lua: 'return {a = 1}'}], rate: 9/h, on_missing: deny}`, []string{"X=a"}, []int{429}},
		{"earlier values are gone", `{key: [{lua: 'return ngx.var.http_x'}], rate: 9/h, on_missing: deny}`, []string{"X=a", "Y=a"}, []int{200, 429}},
		{"an error", `{key: [{lua: 'error("no key")'}], rate: 9/h}`, []string{"X=a"}, []int{500}},
		{"an answer", `{key: [{lua: 'return ngx.exit(403)'}], rate: 9/h}`, []string{"X=a"}, []int{403}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "nil is refused" {
				c.limit = strings.Replace(c.limit, "lua: ''", "lua: 'return'", 1)
			}
			if c.name == "a module" {
				path := filepath.Join(t.TempDir(), "key.lua")
				if err := os.WriteFile(path, []byte("local M = {of = function() return ngx.var.http_x end}\nreturn M.of()\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				c.limit = strings.Replace(c.limit, "key.lua", path, 1)
			}
			g := keyed(t, drivers[i%2], c.limit)
			for i, want := range c.want {
				if status, _, _ := get(t, g, "/", c.fields[i]); status != want {
					t.Fatalf("request %d: %d, want %d\n%s", i, status, want, g.Log)
				}
			}
		})
	}
}

// A script whose line is wrong is found before it runs, with its place.
func TestLimitKeyFromLuaIsChecked(t *testing.T) {
	g := keyed(t, "loop", `{key: [ip], rate: 1/h}`)
	err := g.Reload(`
listeners: [{address: "127.0.0.1:0", driver: loop}]
admin: {address: "off"}
routes:
  - name: api
    limit:
      - key: [ip, {lua: 'return ('}]
        rate: 1/s
    respond: {}
`)
	if err == nil || !strings.Contains(err.Error(), "7:25: routes[0].limit[0].key[1].lua: Lua: ") {
		t.Errorf("%v", err)
	}
}

// A script that does not wait costs one crossing and no allocation.
func TestAllocationsOfLimitKeyFromLua(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	g := keyed(t, "loop", `{key: [ip, {lua: 'return ngx.var.http_x'}], rate: 1000000/s, burst: 1000000}`)
	client := proxytest.NewRawClient(t, g.Addr, "GET / HTTP/1.1\r\nHost: a\r\nX: tenant\r\n\r\n")
	round := func() {
		if answer, err := client.Round(); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
			t.Fatalf("%.100q, %v", answer, err)
		}
	}
	for range 300 {
		round()
	}
	before := g.Crossings()
	const rounds = 500
	for range rounds {
		round()
	}
	if n := g.Crossings() - before; n != rounds {
		t.Errorf("%d crossings for %d requests", n, rounds)
	}
	if n := allocations(2000, round); n > none {
		t.Errorf("%.4f allocations per request", n)
	}
}

const guarded = `
listeners: [{address: "127.0.0.1:0", driver: %s}]
admin: {address: "off"}
access_log: {format: "off"}
consumers: {acme: {keys: [{plain: acme-key-0123456789}], groups: [kept]}}
auth: {issuers: {us: {any_audience: true, algorithms: [HS256], keys: [{secret: 0123456789abcdef0123456789abcdef}]}}}
routes:
  - name: api
    match: {paths: ["/"]}
    auth: {api_key: {}, jwt: {}, %s}
    limit:
      - {name: logins, key: [%s], charge: auth_failure, rate: 3/h%s}
      - {name: requests, key: [consumer], rate: 1000/h}
    respond: {body: "$consumer\n"}
`

const goodKey, badKey = "X-Api-Key=acme-key-0123456789", "X-Api-Key=guess"

// Bad credentials of one address are refused unseen once there were too many;
// good ones cost nothing.
func TestFailedLogins(t *testing.T) {
	for i, c := range []struct {
		name, more string
		fields     [][]string
		want       []int
	}{
		{"wrong keys", "", [][]string{{badKey}, {badKey}, {badKey}, {badKey}, {goodKey}}, []int{401, 401, 401, 429, 429}},
		{"wrong tokens", "", [][]string{{"Authorization=Bearer e30.e30.e30"}, {"Authorization=Bearer x"}, {badKey}, {badKey}}, []int{401, 401, 401, 429}},
		{"good keys", "", [][]string{{goodKey}, {goodKey}, {goodKey}, {goodKey}, {goodKey}, {badKey}, {goodKey}}, []int{200, 200, 200, 200, 200, 401, 200}},
		{"nothing is no guess", "", [][]string{{}, {}, {}, {}, {}}, []int{401, 401, 401, 401, 401}},
		{"who is kept out has not guessed", "deny: {groups: [kept]}", [][]string{{goodKey}, {goodKey}, {goodKey}, {goodKey}, {goodKey}}, []int{403, 403, 403, 403, 403}},
		{"others go on", "", [][]string{{badKey, "X-From=a"}, {badKey, "X-From=a"}, {badKey, "X-From=a"}, {goodKey, "X-From=a"}, {goodKey, "X-From=b"}}, []int{401, 401, 401, 429, 200}},
	} {
		for _, key := range []string{`"header:X-From"`, `ip, "header:X-From"`, `{lua: 'return ngx.var.http_x_from'}`} {
			t.Run(c.name+" by "+key, func(t *testing.T) {
				g := proxytest.Start(t, fmt.Sprintf(guarded, drivers[i%2], c.more, key, ""))
				for i, want := range c.want {
					status, head, _ := get(t, g, "/", c.fields[i]...)
					if status != want {
						t.Fatalf("request %d: %d, want %d\n%s", i, status, want, g.Log)
					}
					if retry := head.Get("Retry-After"); (status == 429) != (retry == "1200" || retry == "1199") {
						t.Errorf("request %d: Retry-After %q", i, retry)
					}
					if told := head.Get("RateLimit"); strings.Contains(told, "logins") != (status == 429) {
						t.Errorf("request %d, status %d: RateLimit %q", i, status, told)
					}
					if status == 429 && head.Get("WWW-Authenticate") != "" {
						t.Errorf("request %d: a challenge beside 429", i)
					}
				}
			})
		}
	}
}

// What is refused is not verified any more, is counted as the limit's, and can
// be reset.
func TestFailedLoginsAreSeenByOperators(t *testing.T) {
	g := proxytest.Start(t, fmt.Sprintf(guarded, "loop", "", "ip", ""))
	for range 5 {
		get(t, g, "/", badKey)
	}
	var metrics bytes.Buffer
	if err := g.WriteMetrics(&metrics); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`perigee_auth_decisions_total{route="api",method="api_key",outcome="unknown"} 3`,
		`perigee_limit_decisions_total{route="api",limit="logins",outcome="denied"} 2`,
	} {
		if !strings.Contains(metrics.String(), want) {
			t.Errorf("metrics without %s", want)
		}
	}
	top := g.Limits().Limits[0].Top
	if len(top) != 1 || top[0].Key != "127.0.0.1" || !g.ResetLimit("logins", top[0].ID) {
		t.Fatalf("heaviest keys: %+v", top)
	}
	if status, _, _ := get(t, g, "/", goodKey); status != 200 {
		t.Errorf("after the reset: %d", status)
	}
}

func TestFailedLoginsDryRun(t *testing.T) {
	g := proxytest.Start(t, fmt.Sprintf(guarded, "loop", "", "ip", ", dry_run: true"))
	for range 6 {
		if status, _, _ := get(t, g, "/", badKey); status != http.StatusUnauthorized {
			t.Fatalf("%d", status)
		}
	}
}

// Instances share what they know of guesses.
func TestFailedLoginsAreShared(t *testing.T) {
	redis := startRedis(t)
	text := strings.Replace(fmt.Sprintf(guarded, "loop", "", "ip", ", redis: main, budget: 1s"),
		"routes:", fmt.Sprintf("redis: {main: {address: \"127.0.0.1:%s\", password: hunter2}}\nroutes:", redis.port), 1)
	gateways := []*proxytest.Gateway{proxytest.Start(t, text), proxytest.Start(t, text)}
	for _, g := range gateways {
		storeIsUp(t, g)
	}
	for i := range 10 {
		if status, _, _ := get(t, gateways[i%2], "/", goodKey); status != 200 {
			t.Fatalf("good key %d: %d", i, status)
		}
	}
	refused := 0
	until(t, "guesses at both are refused", func() bool {
		for _, g := range gateways {
			if status, _, _ := get(t, g, "/", badKey); status == 429 {
				refused++
			}
		}
		return refused >= 4
	})
	for _, g := range gateways {
		until(t, "good keys of an address that is locked out are refused", func() bool {
			status, _, _ := get(t, g, "/", goodKey)
			return status == 429
		})
	}
}
