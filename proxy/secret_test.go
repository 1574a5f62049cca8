package proxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// planted is a configuration with secrets in all places that have some. Each
// has "planted" in it, and so has what clients send.
const planted = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {file: %s}
lua: {shared_dicts: {d: 64KiB}}
redis: {main: {address: "127.0.0.1:%s", password: hunter2}}
consumers:
  acme: {keys: [{plain: planted-key-of-acme}, {sha256: %s, id: hashed}], issuers: [us]}
auth: {issuers: {us: {any_audience: true, algorithms: [HS256], keys: [{secret: planted-secret-of-the-issuer-0123}]}}}
rate_limits: {n: {rate: 5/h}}
routes:
  - name: api
    match: {paths: ["/"]}
    auth: {api_key: {header: X-Partner, query: key, cookie: key, redis: {store: main}}, jwt: {query: access_token}}
    limit:
      - {name: logins, key: ["header:X-Partner", "arg:key"], charge: auth_failure, rate: 2/h}
      - {name: keys, key: ["header:X-Partner", "cookie:key", "arg:key", "header:Authorization", "$arg_access_token", consumer], rate: 2/h, redis: main, budget: 1s}
      - {name: lua, key: [{lua: 'return "tenant"'}, "$http_x_partner"], rate: 1000/h}
      - {name: tokens, key: [consumer], rate: 1000/h, charge: "header:X-Tokens"}
    lua: {log: 'ngx.log(ngx.WARN, "the script ran")'}
    respond: {body: "ok\n"}
  - name: lookup
    match: {paths: ["/lookup"]}
    auth: {api_key: {lua: {script: 'if ngx.var.arg_fail then error("no table") end return "acme"', plain: true}}}
    respond: {body: "ok\n"}
  - name: closed
    match: {paths: ["/closed"]}
    ip: [{deny: [all]}]
    auth: {api_key: {query: key}}
    respond: {}
`

// Nothing that operators look at shows a credential or a password, whether the
// request that had it was let in, refused, or limited before anybody looked.
func TestSecretsAreToldNobody(t *testing.T) {
	redis := startRedis(t)
	lines := filepath.Join(t.TempDir(), "access.log")
	text := fmt.Sprintf(planted, lines, redis.port, "6df4f1a5a6a42e3d4e1ee14eb0a4a9fbb8a2a0f8d27dbe3d6e5a53ba5ed5eb6f")
	g := proxytest.Start(t, text)
	storeIsUp(t, g)
	const forged = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.cGxhbnRlZA"
	statuses := map[int]int{}
	for range 4 {
		for _, request := range [][]string{
			{"/", "X-Partner", "planted-key-of-acme"},
			{"/", "X-Partner", "planted-guess"},
			{"/?key=planted-key-of-acme&a=b"},
			{"/?key=planted-guess"},
			{"/?access_token=" + forged},
			{"/", "Cookie", "key=planted-key-of-acme"},
			{"/", "Cookie", "key=planted-guess"},
			{"/", "Authorization", "Bearer " + forged},
			{"/", "Authorization", "Bearer planted"},
			{"/", "X-Partner", "planted-one, planted-two"},
			{"/lookup", "X-Api-Key", "planted-of-a-script"},
			{"/lookup?fail=1", "X-Api-Key", "planted-of-a-broken-script"},
			{"/closed?key=planted-key-of-acme"},
		} {
			a := g.Get(request[0], request[1:]...)
			statuses[a.StatusCode]++
			for name, values := range a.Header {
				if leaks(strings.Join(values, " ")) {
					t.Errorf("%v: the answer's %s: %q", request, name, values)
				}
			}
			if leaks(a.Body) {
				t.Errorf("%v: the answer: %q", request, a.Body)
			}
		}
	}
	for _, status := range []int{200, 401, 403, 429, 503} {
		if statuses[status] == 0 {
			t.Errorf("no answer is a %d: %v", status, statuses)
		}
	}
	var metrics bytes.Buffer
	if err := g.WriteMetrics(&metrics); err != nil {
		t.Fatal(err)
	}
	config, err := g.Config()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]any{"limits": g.Limits(), "routes": g.Routes(), "upstreams": g.Upstreams(), "lua": g.Lua()}
	texts := map[string]string{"metrics": metrics.String(), "configuration": string(config)}
	for name, value := range shown {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	var access []byte
	for end := time.Now().Add(20 * time.Second); bytes.Count(access, []byte("\n")) < 4*13 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		access, _ = os.ReadFile(lines)
	}
	texts["access log"], texts["log"] = string(access), g.Log.String()
	for name, text := range texts {
		if leaks(text) {
			t.Errorf("%s shows a secret:\n%s", name, around(text))
		}
	}
	for _, want := range []string{
		`"consumer":"acme","auth_method":"api_key","auth":"allowed"`, `"auth_method":"api_key","auth":"unknown"`,
		`"auth_method":"jwt","auth":"signature"`, `"limit":"logins","limit_outcome":"denied"`, `"limit":"keys","limit_outcome":"denied"`,
	} {
		if !strings.Contains(texts["access log"], want) {
			t.Errorf("no access line has %s:\n%.3000s", want, access)
		}
	}
	for _, want := range []string{
		`perigee_auth_decisions_total{route="api",method="api_key",outcome="allowed"}`,
		`perigee_limit_decisions_total{route="api",limit="logins",outcome="denied"}`,
	} {
		if !strings.Contains(texts["metrics"], want) {
			t.Errorf("no metric %s", want)
		}
	}
}

// leaks tells whether a text has one of the planted secrets.
func leaks(text string) bool {
	for _, secret := range []string{"planted", "hunter2", "eyJzdWIi", "6df4f1a5", "cGxhbnRlZA"} {
		if strings.Contains(text, secret) {
			return true
		}
	}
	return false
}

// around is what stands around the first secret of a text.
func around(text string) string {
	for i := range text {
		if leaks(text[i:min(i+40, len(text))]) {
			return text[max(0, i-200):min(len(text), i+200)]
		}
	}
	return ""
}
