//go:build cgo && luajit

package luavm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilesByName(t *testing.T) {
	dir := t.TempDir() + "/"
	for name, text := range map[string]string{
		"a.lua": "#!/usr/bin/lua\nn = (n or 0) + 1\nngx.sleep(0)\nngx.print('a', n, ...)\nreturn 'r', 2",
		"b.lua": "x = =", "c.lua": "\x1bLJ", "d.lua": "\nlocal x = nil + 1",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log []string
	options := Options{Prefix: dir, LogLevel: LevelErr, Log: func(_ *Slot, _ int, line []byte) { log = append(log, string(line)) }}
	checkAnswers(t, options, []answer{
		{"kept", `
local run = require "perigee.file"
ngx.print(run("a.lua", 5))
os.remove(ngx.config.prefix() .. "a.lua")
ngx.print(run("a.lua"))`, "a15r2a2r2"},
		{"does not compile", `ngx.print(select(2, pcall(require "perigee.file", "b.lua")))`, "b.lua:1: unexpected symbol near '='"},
		{"bytecode", `ngx.print(select(2, pcall(require "perigee.file", "c.lua")))`, "c.lua: bytecode is refused: give Lua source"},
		{"fails", `ngx.print(select(2, pcall(require "perigee.file", ngx.config.prefix() .. "d.lua")))`,
			dir + "d.lua:2: attempt to perform arithmetic on a nil value"},
	})
	p, scripts := testPool(t, options, `require "perigee.file" ("none.lua") ngx.print("reached")`)
	s := pinned(t, p)
	out := finish(s, s.Start(scripts[0], PhaseAccess, nil))
	want := `failed to load external Lua file "none.lua": ` + dir + `none.lua: No such file or directory`
	if out.Kind != Exit || out.Status != 404 || len(log) != 1 || !strings.HasPrefix(log[0], want) {
		t.Errorf("%+v, logged %q", out, log)
	}
}
