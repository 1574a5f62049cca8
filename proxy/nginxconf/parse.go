package nginxconf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// directive is one statement with its place.
type directive struct {
	name  string
	args  []string
	block []*directive // of a block directive, includes resolved
	lua   string       // of a *_by_lua_block
	file  string       // base name
	line  int
}

// arg returns the argument i, or "".
func (d *directive) arg(i int) string {
	if i < len(d.args) {
		return d.args[i]
	}
	return ""
}

// options are the arguments behind the first.
func (d *directive) options() []string { return d.args[min(1, len(d.args)):] }

const (
	maxDepth = 32      // of blocks and of includes
	maxBytes = 8 << 20 // of all files together
)

// reader parses a file with what it includes.
type reader struct {
	root  string // folder of the main file: relative includes start there
	bytes int
}

// file parses one file.
func (r *reader) file(path string, depth int) ([]*directive, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: files include each other deeper than %d", path, maxDepth)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if r.bytes += len(data); r.bytes > maxBytes {
		return nil, fmt.Errorf("%s: the configuration is larger than %d bytes", path, maxBytes)
	}
	l := &lexer{file: filepath.Base(path), text: string(data), line: 1}
	return r.block(l, depth, 0)
}

// block parses statements up to the closing brace, or to the end of the file
// when level is 0.
func (r *reader) block(l *lexer, depth, level int) ([]*directive, error) {
	if level > maxDepth {
		return nil, l.fail(l.line, "blocks are nested deeper than %d", maxDepth)
	}
	var list []*directive
	for {
		first, err := l.next()
		switch {
		case err != nil:
			return nil, err
		case first.kind == endToken && level > 0:
			return nil, l.fail(first.line, "unexpected end of the file; a } is missing")
		case first.kind == endToken, first.kind == closeToken && level > 0:
			return list, nil
		case first.kind != wordToken:
			return nil, l.fail(first.line, "unexpected %q; a directive is wanted here", first.text)
		}
		d := &directive{name: first.text, file: l.file, line: first.line}
		if err := r.rest(l, d, depth, level); err != nil {
			return nil, err
		}
		if d.name != "include" {
			list = append(list, d)
			continue
		}
		included, err := r.include(d, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, included...)
	}
}

// rest reads arguments and block of d.
func (r *reader) rest(l *lexer, d *directive, depth, level int) error {
	for {
		t, err := l.next()
		if err != nil {
			return err
		}
		switch t.kind {
		case wordToken:
			d.args = append(d.args, t.text)
		case semicolonToken:
			return nil
		case openToken:
			if strings.HasSuffix(d.name, "_by_lua_block") {
				d.lua, err = l.luaBlock()
				return err
			}
			d.block, err = r.block(l, depth, level+1)
			return err
		default:
			return l.fail(t.line, "directive %q is not ended; put a ; behind it", d.name)
		}
	}
}

// include parses the files that d names; a pattern may fit none.
func (r *reader) include(d *directive, depth int) ([]*directive, error) {
	pattern := d.arg(0)
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(r.root, pattern)
	}
	paths := []string{pattern}
	if strings.ContainsAny(pattern, "*?[") {
		var err error
		if paths, err = filepath.Glob(pattern); err != nil {
			return nil, fmt.Errorf("%s:%d: include %q: %w", d.file, d.line, d.arg(0), err)
		}
	}
	var list []*directive
	for _, path := range paths {
		included, err := r.file(path, depth+1)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: include: %w", d.file, d.line, err)
		}
		list = append(list, included...)
	}
	return list, nil
}
