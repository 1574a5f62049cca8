//go:build cgo && luajit

package luavm

import "testing"

// TestModules: the host's libraries are required by name, once each, and get
// lualib's table.
func TestModules(t *testing.T) {
	p, scripts := dataPool(t, Options{Modules: []Module{
		{Name: "host/greeting", Text: []byte(`local P = ...; return {vm = P.vm ~= nil, n = 0}`)},
		{Name: "plain", Text: []byte(`return require "host.greeting"`)},
	}}, `
		local g = require "host.greeting"
		g.n = g.n + 1
		ngx.print(g.vm, " ", require "plain".n)`)
	if got, want := dataRun(t, p, scripts[0]), "true 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
