package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"perigee/proxy/proxytest"
)

func TestTarget(t *testing.T) {
	serve := func(name string) *proxytest.Origin {
		return proxytest.NewOrigin(t, proxytest.Answering(func(r *http.Request, _ []byte) string {
			said := name + " " + r.Method + " " + r.RequestURI + " " + r.Host
			if r.RequestURI == "/busy" {
				return "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
			}
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(said), said)
		}))
	}
	one, two := serve("one"), serve("two")
	_, port, _ := strings.Cut(two.Addr, ":")
	g := proxytest.Start(t, strings.NewReplacer("ONE", one.Addr, "TWO", two.Addr, "PORT", port).Replace(`
listeners: [{address: "127.0.0.1:0"}]
access_log: {format: "off"}
upstreams:
  one: {endpoints: [ONE], host: named.test}
  scripted:
    endpoints: [ONE]
    lua: {balancer: 'require("ngx.balancer").set_current_peer("127.0.0.1", PORT)'}
routes:
  - {name: lost, match: {paths: [/lost/]}, proxy: {target: "http://127.0.0.1:1/elsewhere"}, error_pages: {502: {route: spare}}}
  - {name: busy, match: {paths: [/busy/]}, proxy: {target: "http://TWO/busy", intercept_errors: true}, error_pages: {503: {route: spare}}}
  - {name: spare, match: {paths: [/spare/]}, upstream: one}
  - {name: named, match: {paths: [/named/]}, proxy: {target: "http://$arg_to"}}
  - {name: whole, match: {paths: [/whole/]}, proxy: {target: "http://TWO$uri?x=$arg_to"}}
  - {name: literal, match: {paths: [/literal/]}, proxy: {target: "http://localhost:PORT"}}
  - {name: all, match: {paths: [/all/]}, proxy: {target: "$arg_to"}}
  - {name: host, match: {paths: [/host/]}, proxy: {target: "http://$arg_to", host: own.test}}
  - {name: query, match: {paths: [/query/]}, proxy: {target: "http://TWO?a=$arg_to"}}
  - {name: path, match: {paths: [/api/, = /api, "^~ /api/long/"]}, upstream: one, proxy: {path: /v1}}
  - {name: root, match: {paths: [/root/]}, upstream: one, proxy: {path: "/"}}
  - {name: set, match: {paths: [/set/]}, upstream: one, proxy: {path: "/"}, lua: {access: 'if ngx.var.arg_to then ngx.req.set_uri(ngx.var.arg_to) end'}}
  - {name: rewritten, match: {paths: [/rewritten/]}, upstream: one, proxy: {path: "/"}, rewrite: [{path: "~ ^/rewritten/(.*)x", to: "/$1", then: break}]}
`))
	for _, c := range []struct{ name, path, want string }{
		{"an upstream", "/named/a%20b?to=one", "200 one GET /named/a%20b?to=one named.test"},
		{"an upstream's script", "/named/?to=scripted", "200 two GET /named/?to=scripted a.test"},
		{"an address", "/named/?to=TWO", "200 two GET /named/?to=TWO TWO"},
		{"a name that is looked up", "/literal/", "200 two GET /literal/ localhost:PORT"},
		{"path and query of its own", "/whole/a%20b%0D%0AEvil:x?to=1", "200 two GET /whole/a%20b%0D%0AEvil:x?x=1 TWO"},
		{"a query alone", "/query/?to=1", "200 two GET /?a=1 TWO"},
		{"another host", "/host/?to=TWO", "200 two GET /host/?to=TWO own.test"},
		{"all of it", "/all/?to=http://TWO/q", "200 two GET /q TWO"},
		{"a path for a prefix", "/api/a%20b%2F%25?q=%20", "200 one GET /v1a%20b/%25?q=%20 named.test"},
		{"a path for the whole", "/api", "200 one GET /v1 named.test"},
		{"a path for the longest", "/api/long/x", "200 one GET /v1x named.test"},
		{"the path is a root", "/root/a/b?", "200 one GET /a/b named.test"},
		{"a path that a script leaves", "/set/a", "200 one GET /a named.test"},
		{"a path that a script sets", "/set/a?to=/set/b", "200 one GET /set/b?to=/set/b named.test"},
		{"a path that is rewritten", "/rewritten/ax", "200 one GET /a named.test"},
		{"a path that is not", "/rewritten/a", "200 one GET /a named.test"},
		{"not that of an endpoint that was lost", "/lost/a%20b", "502 one GET /lost/a%20b named.test"},
		{"not that of an endpoint that was busy", "/busy/a%20b", "503 one GET /busy/a%20b named.test"},
		{"no scheme", "/all/?to=TWO", "500 500 Internal Server Error\n"},
		{"no host", "/all/?to=http:///x", "500 500 Internal Server Error\n"},
		{"a user", "/all/?to=http://u@TWO/x", "500 500 Internal Server Error\n"},
		{"no port", "/all/?to=http://127.0.0.1:x/", "502 502 Bad Gateway\n"},
		{"nothing", "/named/", "500 500 Internal Server Error\n"},
		{"nobody there", "/named/?to=127.0.0.1:1", "502 502 Bad Gateway\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fill := strings.NewReplacer("ONE", one.Addr, "TWO", two.Addr, "PORT", port).Replace
			a := g.Get(fill(c.path), "Host", "a.test")
			if got := fmt.Sprint(a.StatusCode, " ", a.Body); got != fill(c.want) {
				t.Errorf("answer %q, wanted %q", got, fill(c.want))
			}
		})
	}
	if !g.WaitLog("which is no http:// or https:// address") {
		t.Error("the log does not name a wrong address")
	}
}
