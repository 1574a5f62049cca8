package proxy_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"perigee/proxy/proxytest"
)

const adjoining = `
listeners: [{address: "127.0.0.1:0"}]
upstreams: {o: {endpoints: ["%ORIGIN%"]}}
routes:
  - name: r
    match: {paths: ["/"]}
    %BETWEEN%
    lua:
      rewrite: |
        ngx.ctx.seen = ngx.get_phase()
        ngx.req.set_header("X-Rewrite", "1")
        ngx.header["X-Early"] = ngx.var.arg_early
        local arg = ngx.var.arg_rewrite
        if arg == "exit" then return ngx.exit(403) end
        if arg == "say" then return ngx.say("from rewrite") end
        if arg == "path" then ngx.req.set_uri("/other") end
        if arg == "sleep" then ngx.sleep(0.001) end
        if arg == "error" then error("in rewrite") end
      access: |
        local arg = ngx.var.arg_access
        ngx.req.set_header("X-Access", ngx.ctx.seen .. "," .. ngx.get_phase() .. ","
          .. ngx.req.get_headers()["x-rewrite"])
        if arg == "exit" then return ngx.exit(403) end
        if arg == "say" then ngx.status = 202; ngx.say("from access"); return ngx.exit(200) end
        if arg == "sleep" then ngx.sleep(0.001) end
        if arg == "exec" then return ngx.exec("/elsewhere") end
        if arg == "error" then error("in access") end
    upstream: o
  - {name: elsewhere, match: {paths: ["= /elsewhere"]}, respond: {body: "elsewhere\n"}}
`

// TestAdjoiningScripts: a rewrite and an access script that run in one entry into
// Lua answer, fail and are counted as they are where a native filter stands between
// them.
func TestAdjoiningScripts(t *testing.T) {
	origin := proxytest.NewOrigin(t, proxytest.Answering(func(r *http.Request, _ []byte) string {
		text := r.URL.Path + " " + r.Header.Get("X-Rewrite") + " " + r.Header.Get("X-Access")
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}))
	start := func(between string) *proxytest.Gateway {
		return proxytest.Start(t, strings.NewReplacer("%ORIGIN%", origin.Addr, "%BETWEEN%", between).Replace(adjoining))
	}
	together, apart := start(""), start("ip: [{allow: [all]}]")
	requests := []string{"/"}
	for _, first := range []string{"", "exit", "say", "path", "sleep", "error"} {
		for _, second := range []string{"", "exit", "say", "sleep", "exec", "error"} {
			requests = append(requests, "/?early=yes&rewrite="+first+"&access="+second)
		}
	}
	for _, path := range requests {
		want, got := apart.Get(path), together.Get(path)
		if want.Err != nil || got.Err != nil {
			t.Fatalf("%s: %v, apart %v", path, got.Err, want.Err)
		}
		if got.StatusCode != want.StatusCode || got.Body != want.Body || got.Header.Get("X-Early") != want.Header.Get("X-Early") {
			t.Errorf("%s: %d %q %v, apart %d %q %v", path, got.StatusCode, got.Body, got.Header, want.StatusCode, want.Body, want.Header)
		}
	}
	for _, series := range []string{
		`perigee_lua_run_seconds_count{script="r/rewrite"}`, `perigee_lua_run_seconds_count{script="r/access"}`,
		`perigee_lua_errors_total{script="r/rewrite",kind="runtime"}`, `perigee_lua_errors_total{script="r/access",kind="runtime"}`,
	} {
		got, want := value(together, series), value(apart, series)
		if got != want || got == "" {
			t.Errorf("%s is %q, apart %q", series, got, want)
		}
	}
}

// value is what the exposition says of a series.
func value(g *proxytest.Gateway, series string) string {
	var b bytes.Buffer
	_ = g.WriteMetrics(&b)
	_, rest, _ := strings.Cut(b.String(), "\n"+series+" ")
	text, _, _ := strings.Cut(rest, "\n")
	return text
}
