package config

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"

	"perigee/proxy/script"
)

// modules are the Lua modules that scripts of the configuration require from
// the folders of lua.path, and those that these require, by name.
//
// They are found by reading, not by running: every string in a text that
// requires anything is taken for a name, so that tables of names and
// pcall(require, "a") are seen, and one that is joined to something behind it,
// require("plugins." .. name), for the folder. A file too many costs nothing
// but a digest that changes when the file does. A name that no string has in
// one piece is not found, nor is anything below ";;": what the machine has
// installed is no part of the configuration.
type modules struct {
	patterns []string // of lua.path: absolute, with one ?
	found    map[string]string
	looked   map[string]bool
}

func (f *File) requiredModules() map[string]string {
	m := &modules{found: map[string]string{}, looked: map[string]bool{}}
	for pattern := range strings.SplitSeq(f.Lua.Path, ";") {
		if strings.Count(pattern, "?") == 1 {
			m.patterns = append(m.patterns, absolute(f.root, pattern))
		}
	}
	if len(m.patterns) == 0 {
		return nil
	}
	walk(f.whole(), func(p place) {
		if p.value.Kind() != reflect.Pointer {
			return
		}
		if source, ok := p.value.Interface().(*script.Source); ok {
			m.read(source.Text)
		}
	})
	return m.found
}

// read adds what text requires.
func (m *modules) read(text string) {
	if !strings.Contains(text, "require") {
		return
	}
	for literal, joined := range luaStrings(text) {
		if !moduleName(literal) || m.looked[literal] {
			continue
		}
		m.looked[literal] = true
		if joined && strings.ContainsAny(literal, "./") {
			m.folder(literal)
			continue
		}
		for _, pattern := range m.patterns {
			path := strings.Replace(pattern, "?", strings.ReplaceAll(literal, ".", "/"), 1)
			if m.file(literal, path) {
				break // the first is the one that require takes
			}
		}
	}
}

// file adds the module of that name, if path is there.
func (m *modules) file(name, path string) bool {
	text, err := readRegular(path)
	if err != nil {
		return false
	}
	if _, known := m.found[name]; !known {
		m.found[name] = text
		m.read(text)
	}
	return true
}

// folder adds all modules whose names start with prefix, "plugins.".
func (m *modules) folder(prefix string) {
	prefix = strings.ReplaceAll(prefix, ".", "/")
	prefix = prefix[:strings.LastIndexByte(prefix, '/')]
	for i, pattern := range m.patterns {
		before, _, _ := strings.Cut(pattern, "?")
		root, err := filepath.EvalSymlinks(before + prefix)
		if err != nil || m.looked[root] {
			continue
		}
		m.looked[root] = true
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil: // what cannot be read cannot be required
			case d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".."):
				return fs.SkipDir // a ConfigMap's versions; the files are links to them
			case !d.IsDir() && strings.HasSuffix(path, ".lua"):
				m.file(fmt.Sprintf("%d:%s%s", i, prefix, strings.TrimPrefix(path, root)), path)
			}
			return nil
		})
	}
}

// longestName is that of a module's name, as the longest path of Linux.
const longestName = 4096

// moduleName tells whether a string may be the name of a module, or the
// beginning of one.
func moduleName(s string) bool {
	if s == "" || len(s) > longestName || strings.Contains(s, "..") {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("_-./", c) >= 0:
		default:
			return false
		}
	}
	return s[0] != '.' && s[0] != '/'
}
