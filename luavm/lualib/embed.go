// Package lualib holds the Lua side of luavm: init.lua, which sets a fresh
// state up, and one file for each family of ngx functions.
package lualib

import (
	"embed"
	"io/fs"
	"path"
	"strings"
)

//go:embed init.lua
var initText []byte

//go:embed *.lua ngx perigee resty
var files embed.FS

// A File is one Lua file, named without its ending: "ngx/core".
type File struct {
	Name string
	Text []byte
}

// Files returns init.lua and all other files in lexical order.
func Files() (init []byte, modules []File) {
	walk := func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".lua" || name == "init.lua" {
			return err
		}
		text, err := files.ReadFile(name)
		modules = append(modules, File{Name: strings.TrimSuffix(name, ".lua"), Text: text})
		return err
	}
	if err := fs.WalkDir(files, ".", walk); err != nil {
		panic("BUG: embedded Lua files: " + err.Error())
	}
	return initText, modules
}
