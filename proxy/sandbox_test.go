package proxy_test

import (
	"testing"

	"perigee/proxy/proxytest"
)

// A tenant's script in a strict gateway: it serves, and cannot leave its bounds.
func TestStrictSandbox(t *testing.T) {
	g := proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
lua: {sandbox: strict, request_memory: 4MiB}
routes:
  - name: ok
    match: {paths: ["= /ok"]}
    lua: {content: 'seen = (seen or 0) + 1 ngx.say(require "cjson".encode({seen = seen, arg = ngx.var.arg_x}))'}
  - name: ffi
    match: {paths: ["= /ffi"]}
    lua: {content: 'require "ffi"'}
  - name: memory
    match: {paths: ["= /memory"]}
    lua: {content: 'local s = string.rep("x", 64 * 1024 * 1024) ngx.say(#s)'}
  - name: bounded
    match: {paths: ["= /bounded"]}
    lua: {modules: [cjson], content: 'require "cjson" ngx.say(select(2, pcall(require, "ngx.re")))'}
`)
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/ok?x=1", 200, `{"seen":1,"arg":"1"}` + "\n"},
		{"/ffi", 500, ""},
		{"/memory", 500, ""},
		{"/ok?x=2", 200, ""},
	} {
		if got := g.Get(c.path); got.StatusCode != c.status || c.body != "" && got.Body != c.body && got.Body != `{"arg":"1","seen":1}`+"\n" {
			t.Errorf("%s: %d %q", c.path, got.StatusCode, got.Body)
		}
	}
	for _, text := range []string{"module 'ffi' is not to be had: lua.sandbox is strict", "lua memory error in script memory/content"} {
		if !g.WaitLog(text) {
			t.Errorf("the log lacks %q:\n%s", text, g.Log)
		}
	}
	if got := g.Get("/bounded"); got.Body != "module 'ngx.re' is not among lua.modules of this route\n" {
		t.Errorf("%q", got.Body)
	}
}
