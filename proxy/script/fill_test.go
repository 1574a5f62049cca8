package script_test

import (
	"fmt"
	"testing"
)

// TestVariablesOfEachRequest: scripts see the same of a request whether its
// variables are filled in when they first read one, as those of the first request
// are, or before, as later ones' are; in each phase, behind scripts that read none
// or wrote some.
func TestVariablesOfEachRequest(t *testing.T) {
	const read = `local v = ngx.var
        ngx.header["X-V"] = table.concat({v.uri, v.args or "", v.request_uri, v.request_method, v.host, v.scheme, v.server_protocol,
          v.remote_addr, v.server_addr, v.route, #v.request_id, v.upstream_status or "none", v.arg_n or "", ngx.req.get_method()}, " ")
`
	for _, c := range []struct{ name, scripts, want string }{
		{"header", "      header_filter: |\n        " + read, "/a/%d n=%d /a/%d?n=%d GET a.test http HTTP/1.1 127.0.0.1 127.0.0.1 r 32 200 %d GET"},
		{"access", "      access: |\n        " + read, "/a/%d n=%d /a/%d?n=%d GET a.test http HTTP/1.1 127.0.0.1 127.0.0.1 r 32 none %d GET"},
		{"behind another", "      rewrite: return\n      access: |\n        " + read, "/a/%d n=%d /a/%d?n=%d GET a.test http HTTP/1.1 127.0.0.1 127.0.0.1 r 32 none %d GET"},
		{"behind one that waits", "      access: ngx.sleep(0.001)\n      header_filter: |\n        " + read, "/a/%d n=%d /a/%d?n=%d GET a.test http HTTP/1.1 127.0.0.1 127.0.0.1 r 32 200 %d GET"},
		{"behind one that writes", "      access: ngx.req.set_uri(\"/b\") ngx.req.set_uri_args(\"n=0\") ngx.req.set_header(\"Host\", \"B.test\")\n      header_filter: |\n        " + read,
			"/b n=0 /a/%d?n=%d GET b.test http HTTP/1.1 127.0.0.1 127.0.0.1 r 32 200 0 GET"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := gateway(t, "", c.scripts)
			for n := range 4 {
				args := []any{n, n, n, n, n}
				if c.name == "behind one that writes" {
					args = args[:2]
				}
				want := fmt.Sprintf(c.want, args...)
				if got := g.Get(fmt.Sprintf("/a/%d?n=%d", n, n), "Host", "a.test").Header.Get("X-V"); got != want {
					t.Errorf("request %d:\n got %q\nwant %q", n, got, want)
				}
			}
		})
	}
}
