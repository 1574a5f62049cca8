package proxy_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// until waits for a condition with a bound that only a broken gateway meets.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// mirror is an origin that answers with the head it received.
func mirror(t *testing.T) string {
	return proxytest.NewOrigin(t, proxytest.Answering(func(r *http.Request, _ []byte) string {
		var b strings.Builder
		fmt.Fprintf(&b, "%s\n", r.RequestURI)
		for name, values := range r.Header {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(values, "|"))
		}
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", b.Len(), b.String())
	})).Addr
}

const keyAuth = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {file: %[2]s}
consumers:
  acme: {groups: [gold], roles: [buyer], scopes: [read], keys: [{plain: acme-key-0123456789, id: laptop}]}
  late: {keys: [{plain: late-key-0123456789, expires: 2020-01-01}]}
  globex: {groups: [silver], keys: [{plain: globex-key-0123456789}]}
upstreams: {up: {endpoints: ["%[1]s"]}}
routes:
  - name: any
    match: {paths: [/any]}
    auth: {api_key: {}, headers: {X-Consumer: $consumer, X-Group: $consumer_group}}
    upstream: up
  - name: gold
    match: {paths: [/gold]}
    auth: {api_key: {}, allow: {groups: [gold], scopes: [read]}, realm: mine}
    upstream: up
  - name: deny
    match: {paths: [/deny]}
    auth: {api_key: {}, deny: {groups: [gold]}}
    upstream: up
  - name: optional
    match: {paths: [/optional]}
    auth: {api_key: {forward: true}, optional: true, headers: {X-Consumer: $consumer}}
    upstream: up
  - name: places
    match: {paths: [/places]}
    auth: {api_key: {query: key, cookie: k, header: Authorization, scheme: ApiKey}}
    upstream: up
  - name: turns
    match: {paths: [/turns]}
    auth: {api_key: {}}
    lua: {content: return ngx.exec("/gold")}
  - name: page
    match: {paths: [/page]}
    error_pages: {401: /gold}
    auth: {api_key: {}}
    upstream: up
  - name: lua
    match: {paths: [/lua]}
    auth: {api_key: {}}
    lua:
      rewrite: ngx.ctx.before = ngx.var.consumer
      content: ngx.say(tostring(ngx.ctx.before), " ", ngx.var.consumer, " ", ngx.var.consumer_groups, " ", tostring(ngx.req.get_headers()["x-api-key"]))
`

func TestAPIKeys(t *testing.T) {
	access := filepath.Join(t.TempDir(), "access.log")
	g := proxytest.Start(t, fmt.Sprintf(keyAuth, mirror(t), access))
	const acme, globex = "acme-key-0123456789", "globex-key-0123456789"
	for _, c := range []struct {
		name, path string
		headers    []string
		status     int
		challenge  string
		has        []string
		hasNot     string
	}{
		{"none", "/any", nil, 401, `ApiKey realm="perigee"`, nil, ""},
		{"empty", "/any", []string{"X-Api-Key", ""}, 401, `ApiKey realm="perigee"`, nil, ""},
		{"wrong", "/any", []string{"X-Api-Key", "acme-key-0123456780"}, 401, `ApiKey realm="perigee"`, nil, ""},
		{"its hash", "/any", []string{"X-Api-Key", "4cf0e1b5b8a8f5a4"}, 401, `ApiKey realm="perigee"`, nil, ""},
		{"twice", "/any", []string{"X-Api-Key", acme, "X-Api-Key", acme}, 401, `ApiKey realm="perigee"`, nil, ""},
		{"expired", "/any", []string{"X-Api-Key", "late-key-0123456789"}, 401, `ApiKey realm="perigee"`, nil, ""},
		{"good", "/any", []string{"x-api-KEY", acme, "X-Consumer", "root"}, 200, "", []string{"X-Consumer: acme\n", "X-Group: gold\n"}, acme},
		{"lookalikes", "/any", []string{"X-Api-Key", acme, "X_Consumer", "root", "x_conSumer", "root", "X-Consumer", "root"}, 200, "", []string{"X-Consumer: acme\n"}, "root"},
		{"group", "/gold", []string{"X-Api-Key", acme}, 200, "", nil, acme},
		{"other group", "/gold", []string{"X-Api-Key", globex}, 403, "", nil, ""},
		{"realm", "/gold", nil, 401, `ApiKey realm="mine"`, nil, ""},
		{"denied", "/deny", []string{"X-Api-Key", acme}, 403, "", nil, ""},
		{"not denied", "/deny", []string{"X-Api-Key", globex}, 200, "", nil, ""},
		{"optional, none", "/optional", []string{"X-Consumer", "root"}, 200, "", nil, "X-Consumer"},
		{"optional, wrong", "/optional", []string{"X-Api-Key", "x"}, 401, `ApiKey realm="perigee"`, nil, ""},
		{"optional, good, forwarded", "/optional", []string{"X-Api-Key", acme}, 200, "", []string{"X-Consumer: acme\n", "X-Api-Key: " + acme}, ""},
		{"query", "/places?a=1&key=" + acme + "&b=%20", nil, 200, "", []string{"/places?a=1&b=%20\n"}, acme},
		{"query, escaped", "/places?%6bey=acme%2Dkey-0123456789", nil, 200, "", []string{"/places\n"}, acme},
		{"cookie", "/places", []string{"Cookie", "a=1; k=" + acme + "; b=2"}, 200, "", []string{"Cookie: a=1; b=2\n"}, acme},
		{"only cookie", "/places", []string{"Cookie", "k=" + acme}, 200, "", nil, "Cookie"},
		{"scheme", "/places", []string{"Authorization", "apikey " + acme}, 200, "", nil, "Authorization"},
		{"other scheme", "/places", []string{"Authorization", "Basic " + acme}, 401, `ApiKey realm="perigee"`, nil, ""},
		{"two places", "/places?key=" + acme, []string{"Cookie", "k=" + acme}, 401, `ApiKey realm="perigee"`, nil, ""},
		{"two arguments", "/places?key=" + acme + "&key=" + acme, nil, 401, `ApiKey realm="perigee"`, nil, ""},
		{"turned to another route", "/turns", []string{"X-Api-Key", acme}, 200, "", nil, acme},
		{"turned to one where it may not", "/turns", []string{"X-Api-Key", globex}, 403, "", nil, ""},
		{"an error page that is refused", "/page", nil, 401, `ApiKey realm="mine"`, nil, ""},
		{"Lua", "/lua", []string{"X-Api-Key", acme}, 200, "", []string{"nil acme gold nil\n"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.Get(c.path, c.headers...)
			if a.StatusCode != c.status || strings.Join(a.Header.Values("WWW-Authenticate"), "|") != c.challenge {
				t.Errorf("%d, challenge %q; want %d, %q\n%s", a.StatusCode, a.Header.Get("WWW-Authenticate"), c.status, c.challenge, a.Body)
			}
			for _, text := range c.has {
				if !strings.Contains(a.Body, text) {
					t.Errorf("the upstream lacks %q:\n%s", text, a.Body)
				}
			}
			if c.hasNot != "" && strings.Contains(a.Body, c.hasNot) {
				t.Errorf("the upstream has %q:\n%s", c.hasNot, a.Body)
			}
		})
	}
	var metrics strings.Builder
	if err := g.WriteMetrics(&metrics); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`perigee_auth_decisions_total{route="any",method="api_key",outcome="allowed"} 2`,
		`perigee_auth_decisions_total{route="any",method="none",outcome="missing"} 1`,
		`perigee_auth_decisions_total{route="any",method="api_key",outcome="unknown"} 2`,
		`perigee_auth_decisions_total{route="any",method="api_key",outcome="duplicate"} 1`,
		`perigee_auth_decisions_total{route="gold",method="api_key",outcome="forbidden"} 2`,
		`perigee_auth_decisions_total{route="optional",method="none",outcome="anonymous"} 1`,
	} {
		if !strings.Contains(metrics.String(), line+"\n") {
			t.Errorf("metrics lack %s", line)
		}
	}
	dump, err := g.Config()
	if err != nil {
		t.Fatal(err)
	}
	var lines string
	until(t, "the access log has the last request", func() bool {
		text, _ := os.ReadFile(access)
		lines = string(text)
		return strings.Contains(lines, `"path":"/lua"`)
	})
	for where, text := range map[string]string{"log": g.Log.String(), "access log": lines, "/config": string(dump), "metrics": metrics.String()} {
		for _, secret := range []string{"key-0123456789", "4cf0e1b5"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has a key:\n%s", where, text)
			}
		}
	}
	if !strings.Contains(lines, `"query":"a=1&key=***&b=%20"`) || !strings.Contains(lines, `"consumer":"acme","auth_method":"api_key","auth":"allowed"`) {
		t.Errorf("the access log lacks who asked:\n%s", lines)
	}
}

// A keys file that changes is read again; a broken one leaves the former in
// force and is reported once.
func TestKeysFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("keys: [{plain: first-key-0001, consumer: one}]\n")
	g := proxytest.Start(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
auth: {reread: 10ms}
routes:
  - {name: a, auth: {api_key: {keys_file: %q}}, respond: {body: "$consumer"}}
`, path))
	ask := func(key string) string {
		a := g.Get("/", "X-Api-Key", key)
		return fmt.Sprint(a.StatusCode, " ", strings.TrimSpace(a.Body))
	}
	if got := ask("first-key-0001"); got != "200 one" {
		t.Fatal(got)
	}
	write("keys: [{plain: second-key-0002, consumer: two}]\n")
	until(t, "the second key is known", func() bool { return ask("second-key-0002") == "200 two" })
	if got := ask("first-key-0001"); !strings.HasPrefix(got, "401") {
		t.Errorf("a key that is gone: %s", got)
	}
	write("keys: [{plain: third-key-0003\n")
	if !g.WaitLog("the former content stays in force") {
		t.Fatal("a broken file is not reported")
	}
	if got := ask("second-key-0002"); got != "200 two" {
		t.Errorf("after a broken file: %s", got)
	}
	var metrics strings.Builder
	_ = g.WriteMetrics(&metrics)
	if !strings.Contains(metrics.String(), `perigee_auth_file_broken{file="`+path+`"} 1`) {
		t.Error("the metric does not say that the file is broken")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	until(t, "a missing file is reported", func() bool { return strings.Contains(g.Log.String(), "no such file") })
	write("keys: [{plain: fourth-key-0004, consumer: four}]\n")
	until(t, "the fourth key is known", func() bool { return ask("fourth-key-0004") == "200 four" })
	if n := strings.Count(g.Log.String(), "the former content stays in force"); n != 2 {
		t.Errorf("two faults are reported %d times:\n%s", n, g.Log)
	}
	if strings.Contains(g.Log.String(), "-key-000") {
		t.Errorf("the log has a key:\n%s", g.Log)
	}
}

const externalAuth = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
variables: {who: "", groups: ""}
consumers: {acme: {groups: [gold], keys: [{plain: acme-key-0123456789}]}}
routes:
  - name: a
    match: {paths: [/a]}
    auth: {external: {consumer: $who, groups: $groups}, allow: {groups: [gold, silver]}}
    lua:
      rewrite: |
        ngx.sleep(0) -- a look into a store, say
        ngx.var.who = ngx.req.get_headers()["x-session"]
        ngx.var.groups = ngx.var.arg_groups
    respond: {body: "$consumer $consumer_groups $consumer_credential"}
  - name: all
    match: {paths: [/all]}
    auth: {external: {consumer: $arg_who}, api_key: {}, require: all}
    respond: {body: "$consumer $consumer_groups $consumer_credential"}
`

// Who asks may be what a script has found out.
func TestIdentityFromVariables(t *testing.T) {
	g := proxytest.Start(t, externalAuth)
	const key = "acme-key-0123456789"
	for _, c := range []struct {
		name, path string
		headers    []string
		status     int
		body       string
	}{
		{"nobody", "/a", nil, 401, ""},
		{"somebody of no group", "/a", []string{"X-Session", "bob"}, 403, ""},
		{"somebody of a group", "/a?groups=silver,x", []string{"X-Session", "bob"}, 200, "bob silver,x external"},
		{"the same again", "/a?groups=silver,x", []string{"X-Session", "bob"}, 200, "bob silver,x external"},
		{"the same of other groups", "/a?groups=copper", []string{"X-Session", "bob"}, 403, ""},
		{"a consumer of the configuration", "/a", []string{"X-Session", "acme"}, 200, "acme gold external"},
		{"all of them", "/all?who=acme", []string{"X-Api-Key", key}, 200, "acme gold several"},
		{"two consumers", "/all?who=bob", []string{"X-Api-Key", key}, 403, ""},
		{"one of them", "/all", []string{"X-Api-Key", key}, 401, ""},
	} {
		if a := g.Get(c.path, c.headers...); a.StatusCode != c.status || c.body != "" && strings.TrimSpace(a.Body) != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.name, a.StatusCode, a.Body, c.status, c.body)
		}
	}
}

// A configuration that asks for what is not there is refused with the place.
func TestBrokenAuthIsRefused(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, []byte("keys:\n  - {plain: secretvalue}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	twice := filepath.Join(dir, "twice.yaml")
	if err := os.WriteFile(twice, []byte("keys: [{plain: one-key-of-two, consumer: b}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const head = "listeners: [{address: '127.0.0.1:0'}]\nadmin: {address: 'off'}\naccess_log: {format: 'off'}\n"
	route := func(auth string) string { return "routes: [{name: a, auth: " + auth + ", respond: {}}]\n" }
	for _, c := range []struct{ name, text, want string }{
		{"no file", head + route("{api_key: {keys_file: none.yaml}}"), "test.yaml:4:48: routes[0].auth.api_key.keys_file: file"},
		{"a broken file", head + route("{api_key: {keys_file: "+broken+"}}"), "key 1: consumer name"},
		{"a broken consumers file", head + "auth: {consumers_file: " + broken + "}\n" + route("{api_key: {}}"), "test.yaml:4:24: auth.consumers_file"},
		{"a key twice", head + "consumers: {a: {keys: [{plain: one-key-of-two}]}}\n" + route("{api_key: {keys_file: "+twice+"}}"), `the key is one of consumer "a" already`},
		{"no CA", head + "auth: {issuers: {i: {issuer: x, any_audience: true, algorithms: [RS256], jwks: {url: 'https://x/y', ca: none.pem}}}}\n" + route("{jwt: {}}"), "auth.issuers.i.jwks.ca"},
		{"none", head + "auth: {issuers: {i: {issuer: x, any_audience: true, algorithms: [none], jwks: {url: 'https://x/y'}}}}\n" + route("{jwt: {}}"), "none is no signature"},
	} {
		g := proxytest.Start(t, head+"routes: [{name: ok, respond: {}}]\n")
		err := g.Reload(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secretvalue") || strings.Contains(err.Error(), "one-key") {
			t.Errorf("%s: %v, want %q and no key", c.name, err, c.want)
		}
	}
}
