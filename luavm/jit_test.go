//go:build cgo && luajit

package luavm

import (
	"strings"
	"testing"
)

// watchTraces counts what the JIT compiler of the pool's first VM does.
func watchTraces(t testing.TB, p *Pool) {
	t.Helper()
	eval(t, p, `
local util = require "jit.util"
T = {stop = 0, abort = 0, why = {}}
jit.attach(function(what, tr, func, pc, code, arg)
  if T[what] then T[what] = T[what] + 1 end
  if what == "abort" then
    local info = util.funcinfo(func)
    T.why[#T.why + 1] = tostring(code) .. (arg and "(" .. tostring(arg) .. ")" or "") .. " at "
      .. tostring(info.source or info.ffid) .. ":" .. tostring(info.linedefined)
  elseif what == "stop" then
    local info = util.funcinfo(func)
    local ti = util.traceinfo(tr)
    T.done = (T.done or "") .. tr .. ":" .. tostring(info.source or info.ffid) .. ":" .. tostring(info.linedefined) .. " " .. ti.linktype .. ti.link .. "; "
  end
end, "trace")`)
}

// traces answers how many traces were compiled since the last question, and
// where compiling was given up: "error number(argument) at chunk:line".
func traces(t testing.TB, p *Pool) (compiled string, aborts []string) {
	t.Helper()
	text := eval(t, p, `
local text = T.stop .. " " .. tostring(T.done) .. "\n" .. table.concat(T.why, "\n")
T.stop, T.abort, T.why = 0, 0, {}
return text`)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[0], lines[1:]
}

func eval(t testing.TB, p *Pool, code string) string {
	t.Helper()
	text, err := p.places[0].Load().eval(code)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The core scripts end up compiled: after a warm-up, nothing is given up any
// more, and hardly anything before.
func TestCoreScriptsCompile(t *testing.T) {
	p, sc := accessPool(t)
	watchTraces(t, p)
	in := &Input{Head: accessHead}
	for range 500 {
		access(t, p, sc, in)
	}
	compiled, aborts := traces(t, p)
	t.Logf("warm-up: %s traces, aborts %q", compiled, aborts)
	if compiled == "0" {
		t.Error("nothing was compiled")
	}
	if len(aborts) > 10 {
		t.Errorf("%d aborts", len(aborts))
	}
	for range 3000 {
		access(t, p, sc, in)
	}
	if compiled, aborts = traces(t, p); len(aborts) > 0 {
		t.Errorf("after the warm-up: %s traces, aborts %q", compiled, aborts)
	}
}

func TestSnippetsCompile(t *testing.T) {
	for name, text := range map[string]string{
		"ctx":       `ngx.ctx.n = (ngx.ctx.n or 0) + 1`,
		"phase":     `if ngx.get_phase() ~= "access" then error("phase") end`,
		"worker":    `local x = ngx.worker.id() + ngx.worker.count()`,
		"constants": `local x = ngx.HTTP_OK + ngx.ERR`,
		"log off":   `ngx.log(ngx.DEBUG, "dropped ", 1)`,
		"wrap":      `local x = ngx.ctx`,
	} {
		t.Run(name, func(t *testing.T) {
			p, scripts := testPool(t, Options{LogLevel: LevelErr, Log: func(*Slot, int, []byte) {}}, text)
			watchTraces(t, p)
			for range 500 {
				access(t, p, scripts[0], nil)
			}
			traces(t, p)
			for range 3000 {
				access(t, p, scripts[0], nil)
			}
			if _, aborts := traces(t, p); len(aborts) > 0 {
				t.Errorf("aborts %q", aborts)
			}
		})
	}
}
