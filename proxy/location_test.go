package proxy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perigee/proxy/proxytest"
)

const locationText = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
absolute_redirect: ABSOLUTE
error_pages: {410: {redirect: /gone}}
routes:
  - {name: files, match: {paths: [/files/]}, static: {alias: "DIR"}}
  - {name: fixed, match: {paths: ["= /fixed"]}, respond: {status: 302, headers: {Location: "/to?$args"}}}
  - {name: whole, match: {paths: ["= /whole"]}, respond: {status: 302, headers: {Location: "https://b.test/"}}}
  - {name: page, match: {paths: ["= /page"]}, respond: {status: 410}}
  - {name: script, match: {paths: ["= /script"]}, lua: {content: "ngx.redirect('/to')"}}
  - {name: other, match: {paths: ["= /other"]}, respond: {status: 200, headers: {Location: /to}}}
  - name: seen
    match: {paths: ["= /seen"]}
    respond: {status: 301, headers: {Location: /to}}
    lua: {header_filter: "ngx.header.x_seen = ngx.header.location"}
`

func TestLocations(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, absolute := range []string{"false", "true"} {
		g := proxytest.Start(t, strings.NewReplacer("ABSOLUTE", absolute, "DIR", dir).Replace(locationText))
		base := ""
		if absolute == "true" {
			base = "http://a.test" + g.Addr[strings.LastIndexByte(g.Addr, ':'):]
		}
		for _, c := range []struct{ path, want string }{
			{"/files/sub?x=1", base + "/files/sub/?x=1"}, {"/fixed?x", base + "/to?x"}, {"/whole", "https://b.test/"},
			{"/page", base + "/gone"}, {"/script", "/to"}, {"/other", "/to"}, {"/seen", base + "/to"},
		} {
			a := g.Get(c.path, "Host", "a.test:1")
			if got := a.Header.Get("Location"); got != c.want {
				t.Errorf("absolute %s, %s: %q, want %q", absolute, c.path, got, c.want)
			}
			if seen := a.Header.Get("X-Seen"); c.path == "/seen" && seen != "/to" {
				t.Errorf("a script sees %q", seen)
			}
		}
	}
}
