package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"perigee/proxy/proxytest"
)

func TestUpstreamHeads(t *testing.T) {
	origin := proxytest.NewOrigin(t, proxytest.Answering(func(r *http.Request, _ []byte) string {
		var fields strings.Builder
		for name, values := range r.URL.Query() {
			fmt.Fprintf(&fields, "%s: %s\r\n", name, values[0])
		}
		return "HTTP/1.1 302 Found\r\nX-Powered-By: test\r\nX-Kept: k\r\n" + fields.String() + "Content-Length: 0\r\n\r\n"
	}))
	g := proxytest.Start(t, strings.ReplaceAll(`
listeners: [{address: "127.0.0.1:0"}]
access_log: {format: "off"}
absolute_redirect: true
upstreams: {o: {endpoints: [ORIGIN]}}
routes:
  - name: all
    match: {paths: ["~ ^/(.*)"]}
    upstream: o
    proxy:
      hide: [x-powered-by]
      redirects:
        - {from: "http://inside/v1/", to: /api/}
        - {from: "http://$host:81/", to: "http://$host/$1/"}
        - {match: "~ ^https://([a-z]+)\\.inside(/.*)$", to: "https://$1.outside$2"}
    lua: {header_filter: 'ngx.header["X-Seen"] = tostring(ngx.header.x_powered_by)'}
`, "ORIGIN", origin.Addr))
	for _, c := range []struct{ name, field, value, want string }{
		{"a beginning", "Location", "http://inside/v1/a?b", "http://" + strings.Replace(g.Addr, "127.0.0.1", "a.test", 1) + "/api/a?b"},
		{"variables", "location", "http://a.test:81/x", "http://a.test/p/x"},
		{"an expression", "Location", "https://b.inside/x", "https://b.outside/x"},
		{"none fits", "Location", "http://inside/v2/", "http://inside/v2/"},
		{"a path of the endpoint's stays", "Location", "/v1/", "/v1/"},
		{"Refresh", "Refresh", "5; url=http://inside/v1/x", "5; url=/api/x"},
		{"Refresh without an address", "Refresh", "5", "5"},
		{"other fields", "X-Location", "http://inside/v1/", "http://inside/v1/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.Get("/p?"+c.field+"="+strings.NewReplacer("?", "%3F", " ", "%20", ";", "%3B").Replace(c.value), "Host", "a.test")
			if got := a.Header.Get(c.field); got != c.want {
				t.Errorf("%s is %q, wanted %q", c.field, got, c.want)
			}
			if a.Header.Get("X-Powered-By") != "" || a.Header.Get("X-Kept") != "k" || a.Header.Get("X-Seen") != "nil" {
				t.Errorf("fields are %v", a.Header)
			}
		})
	}
}

func TestBodyBytesOfARoute(t *testing.T) {
	g := proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0"}]
access_log: {format: "off"}
limits: {body_bytes: 4}
routes:
  - {name: main, match: {paths: [/main]}, lua: {content: 'ngx.req.read_body(); ngx.print(ngx.req.get_body_data())'}}
  - {name: large, match: {paths: [/large]}, body_bytes: 8, lua: {content: 'ngx.req.read_body(); ngx.print(ngx.req.get_body_data())'}}
  - {name: any, match: {paths: [/any]}, body_bytes: 0, lua: {content: 'ngx.req.read_body(); ngx.print(ngx.req.get_body_data())'}}
`)
	for path, most := range map[string]int{"/main": 4, "/large": 8, "/any": 5000} {
		if a := g.Do("POST", path, strings.Repeat("x", most)); a.StatusCode != 200 || len(a.Body) != most {
			t.Errorf("%s with %d bytes: %d, %d bytes", path, most, a.StatusCode, len(a.Body))
		}
		if a := g.Do("POST", path, strings.Repeat("x", most+1)); (a.StatusCode == 413) != (path != "/any") {
			t.Errorf("%s with %d bytes: %d", path, most+1, a.StatusCode)
		}
	}
}
