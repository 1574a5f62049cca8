package luatest

import (
	"embed"
	"path"

	"perigee/luavm"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// modules are the Lua files by the names that require knows them by.
var modules = map[string]string{
	"busted.lua":        "busted",
	"busted_runner.lua": "busted/runner",
	"luassert.lua":      "luassert",
	"say.lua":           "say",
	"assert.lua":        "luassert/assert",
	"assertions.lua":    "luassert/assertions",
	"match.lua":         "luassert/match",
	"mock.lua":          "luassert/mock",
	"spy.lua":           "luassert/spy",
	"stub.lua":          "luassert/stub",
}

// luaModules are all Lua files; those that are not a part of busted are
// perigee.spec.NAME.
func luaModules() []luavm.Module {
	entries, err := luaFiles.ReadDir("lua")
	if err != nil {
		panic("BUG: embedded Lua files: " + err.Error())
	}
	var list []luavm.Module
	for _, entry := range entries {
		file := entry.Name()
		text, err := luaFiles.ReadFile(path.Join("lua", file))
		if err != nil {
			panic("BUG: embedded Lua files: " + err.Error())
		}
		name, ok := modules[file]
		if !ok {
			name = "perigee/spec/" + file[:len(file)-len(".lua")]
		}
		list = append(list, luavm.Module{Name: name, Text: text})
	}
	return list
}

// handlers are those of a spec's VM. The first two find what they are to do in
// their Input.Data.
var handlers = map[string]string{
	"step":     `return require "perigee.spec.host".step(require "perigee.spec.steps")`,
	"answer":   `return require "perigee.spec.host".step(require "perigee.spec.answers")`,
	"exchange": `return require "perigee.spec.exchange".enter()`,
	"observe":  `return require "perigee.spec.exchange".observe()`,
}
