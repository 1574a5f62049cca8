package proxy_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

const pagesText = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
default_type: text/x-page
error_pages:
  404: /page?a=$arg_q
  403: {path: /page, status: page}
  406: {path: /lua, status: page}
  405: {path: /page, status: 203}
  410: {route: named}
  411: {redirect: "http://x.test/$arg_q"}
  412: {redirect: "/moved", status: 301}
  413: /fails
  414: /lua
  415: {path: /lua, status: page}
  416: {path: /status, status: page}
  500: {path: /lua, status: page}
  502: {path: /page, status: page}
upstreams: {o: {endpoints: ["ORIGIN"]}}
routes:
  - {name: page, internal: true, match: {paths: [= /page]}, respond: {status: 201, body: "$uri $args $request_method"}}
  - {name: named, internal: true, match: {paths: [= /@named]}, respond: {body: "$uri $args $request_method"}}
  - {name: fails, internal: true, match: {paths: [= /fails]}, respond: {status: 404}}
  - {name: lua, internal: true, match: {paths: [= /lua]}, lua: {content: "ngx.print(ngx.status, ' ', ngx.var.uri, ngx.ctx.lost or '')"}}
  - {name: set, match: {paths: [/set]}, error_pages: {403: /status}, lua: {content: "ngx.status = 402 ngx.exit(403)"}}
  - {name: status, internal: true, match: {paths: [= /status]}, lua: {content: "ngx.status = 299 ngx.print('set')"}}
  - {name: script, match: {paths: [/script]}, lua: {content: "ngx.ctx.lost = 1 ngx.exit(tonumber(ngx.var.arg_s))"}}
  - {name: none406, match: {paths: [/none406]}, respond: {status: 406}}
  - {name: none, match: {paths: [/none]}, error_pages: {}, respond: {status: 404}}
  - {name: raise, match: {paths: [/raise]}, lua: {content: "error('x')"}}
  - {name: gone, match: {paths: [/gone]}, respond: {status: 444}}
  - {name: seen, match: {paths: [/seen]}, upstream: o, proxy: {intercept_errors: true}}
  - {name: kept, match: {paths: [/kept]}, upstream: o}
  - {name: bare, match: {paths: [/bare]}, default_type: "", lua: {content: "ngx.print(1)"}}
`

func TestErrorPages(t *testing.T) {
	origin := proxytest.NewOrigin(t, proxytest.Answering(func(*http.Request, []byte) string {
		return "HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\norigin"
	}))
	g := proxytest.Start(t, strings.Replace(pagesText, "ORIGIN", origin.Addr, 1))
	for _, test := range []struct {
		name, method, path string
		status             int
		body, location     string
	}{
		{"status kept, query of the page", "POST", "/nowhere?q=1", 404, "/page a=1 GET", ""},
		{"the page's own status", "GET", "/script?s=403", 201, "/page  GET", ""},
		{"a script's page keeps the status of ngx.exit", "GET", "/script?s=406", 406, "406 /lua", ""},
		{"a script's page for another's status", "GET", "/none406", 200, "0 /lua", ""},
		{"another status", "GET", "/script?s=405", 203, "/page  GET", ""},
		{"named route", "POST", "/script?s=410", 410, "/script s=410 POST", ""},
		{"redirect", "GET", "/script?s=411&q=2", 302, "302 Found\n", "http://x.test/2"},
		{"redirect with a status", "GET", "/script?s=412", 301, "301 Moved Permanently\n", "/moved"},
		{"a page that fails", "GET", "/script?s=413", 404, "404 Not Found\n", ""},
		{"a page by a script", "GET", "/script?s=414", 414, "414 /lua", ""},
		{"a page whose script says a status", "GET", "/set", 299, "set", ""},
		{"a script that exits, then one that says nothing", "GET", "/script?s=415", 415, "415 /lua", ""},
		{"a script that exits, then one that says another", "GET", "/script?s=416", 299, "set", ""},
		{"a script that raises, then one that says nothing", "GET", "/raise", 200, "0 /lua", ""},
		{"no page", "GET", "/script?s=409", 409, "409 Conflict\n", ""},
		{"pages of its own", "GET", "/none", 404, "404 Not Found\n", ""},
		{"upstream's error", "GET", "/seen", 404, "/page a= GET", ""},
		{"upstream's error, not intercepted", "GET", "/kept", 404, "origin", ""},
	} {
		a := g.Do(test.method, test.path, "")
		if a.StatusCode != test.status || a.Body != test.body || a.Header.Get("Location") != test.location {
			t.Errorf("%s: %d %q %q, wanted %d %q %q", test.name, a.StatusCode, a.Body, a.Header.Get("Location"), test.status, test.body, test.location)
		}
	}
	if got := g.Talk("GET /gone HTTP/1.1\r\nHost: h\r\n\r\n", 3*time.Second); got != "" {
		t.Errorf("444 was answered %q", got)
	}
	if a := g.Get("/page/"); a.Header.Get("Content-Type") != "text/x-page" {
		t.Errorf("default_type came as %q", a.Header.Get("Content-Type"))
	}
	if a := g.Get("/bare"); a.Header.Values("Content-Type") != nil {
		t.Errorf("an empty default_type came as %q", a.Header.Values("Content-Type"))
	}
}

func TestErrorPagesOfRefusedRequests(t *testing.T) {
	for _, driver := range []string{"goroutine", "loop"} {
		t.Run(driver, func(t *testing.T) {
			g := proxytest.Start(t, strings.Replace(`
listeners: [{address: "127.0.0.1:0", driver: DRIVER}]
access_log: {format: "off"}
error_pages: {400: {path: "/err", status: page}, 505: {redirect: "http://x.test/"}}
routes:
  - name: err
    internal: true
    match: {paths: [= /err]}
    lua: {content: 'ngx.req.set_header("Cookie", "a=b"); ngx.print(ngx.req.get_method(), ngx.var.uri, ngx.var.cookie_a, ngx.var.request)'}
  - {name: all, match: {paths: [/]}, respond: {body: all}}
`, "DRIVER", driver, 1))
			for _, c := range []struct{ name, send, status, body string }{
				{"a line end", "GeT / HTTP/1.1\n", "200", "GET/errbGET / HTTP/1.0"},
				{"a target", "GET x HTTP/1.1\r\nHost: a\r\n\r\n", "200", "GET/errbGET / HTTP/1.0"},
				{"behind a good one", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nNo colon\r\n\r\n", "200", "GET/errbGET / HTTP/1.0"},
				{"a body behind it", "GET / HTTP/1.1\r\nHost: a b\r\nContent-Length: 4\r\n\r\nbody", "200", "GET/errbGET / HTTP/1.0"},
				{"another status", "GET / HTTP/3.0\r\n\r\n", "302", "302 Found\n"},
				{"no page", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "501", "Not Implemented\n"},
			} {
				t.Run(c.name, func(t *testing.T) {
					answer := g.Talk(c.send, 10*time.Second)
					last := answer[strings.LastIndex(answer, "HTTP/1.1 "):]
					head, body, _ := strings.Cut(last, "\r\n\r\n")
					if !strings.HasPrefix(head, "HTTP/1.1 "+c.status) || body != c.body || !strings.Contains(head, "Connection: close") {
						t.Errorf("answer %q, wanted %s and %q", answer, c.status, c.body)
					}
				})
			}
		})
	}
}

func TestErrorFormat(t *testing.T) {
	g := proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0"}]
access_log: {format: "off"}
error_format: html
routes:
  - {name: all, match: {paths: [/a]}, respond: {status: 403}}
`)
	for path, status := range map[string]string{"/a": "403 Forbidden", "/b": "404 Not Found"} {
		a := g.Get(path)
		if !strings.Contains(a.Body, "<title>"+status+"</title>") || a.Header.Get("Content-Type") != "text/html" {
			t.Errorf("%s: %q, %v", path, a.Body, a.Header)
		}
	}
}
