package static

import (
	"path/filepath"
	"sort"
	"strings"

	"perigee/proxy/exchange"
	"perigee/proxy/unit"
)

// place maps paths of requests to names of files: root or alias.
//
//	root  /srv/$host          /a/b.css   ->  /srv/ | example.com/a/b.css
//	alias /srv/img, /i/       /i/x.gif   ->  /srv/img | x.gif
//	alias /srv/$1, ~ ^/d/(.*) /d/y.txt   ->  /srv/ | y.txt
//	                                         root    name
//
// No name leads out of the root, so the root ends where a request's words
// begin.
type place struct {
	root     string              // absolute, the part that no request decides
	tail     []unit.TemplatePart // evaluated in front of each name
	alias    bool
	prefixes []string // what an alias stands for, longest first; none: the whole path
	dir      string   // where a relative path that begins with a variable starts
}

func newPlace(c *Config, paths []unit.Pattern, dir string) place {
	text := c.Root
	p := place{dir: dir}
	if !c.Alias.IsZero() {
		text, p.alias = c.Alias, true
	}
	parts := text.Parts()
	literal := ""
	if len(parts) > 0 && parts[0].Variable == "" {
		literal, parts = parts[0].Literal, parts[1:]
	}
	if len(parts) > 0 {
		cut := strings.LastIndexByte(literal, '/') + 1
		if rest := literal[cut:]; rest != "" {
			p.tail = append(p.tail, unit.TemplatePart{Literal: rest})
		}
		literal, p.tail = literal[:cut], append(p.tail, parts...)
	}
	if p.root = literal; !strings.HasPrefix(literal, "/") {
		p.root = filepath.Join(dir, literal)
	}
	if p.alias {
		p.prefixes = prefixes(paths)
	}
	return p
}

// prefixes are the beginnings of paths that a route's patterns name, none if it
// is matched by expressions or by every path.
func prefixes(paths []unit.Pattern) (list []string) {
	for _, p := range paths {
		if p.Kind == unit.Regex || p.Kind == unit.RegexFold {
			return nil
		}
		list = append(list, p.Text)
	}
	sort.Slice(list, func(i, j int) bool { return len(list[i]) > len(list[j]) })
	return list
}

// prefix is the part of the path that an alias stands for.
func (p *place) prefix(path string) (string, bool) {
	for _, prefix := range p.prefixes {
		if strings.HasPrefix(path, prefix) {
			return prefix, true
		}
	}
	return "", len(p.prefixes) == 0
}

// name is where the file of a path is: below which root, by which name. asked
// is the part of the name that the request itself chose. False: the path was
// replaced by one that the alias does not stand for.
func (p *place) name(ex *exchange.Exchange, path string) (root, name, asked string, ok bool) {
	tail := make([]byte, 0, 64)
	for _, part := range p.tail {
		if part.Variable == "" {
			tail = append(tail, part.Literal...)
		} else {
			tail = ex.AppendVariable(tail, part.Variable)
		}
	}
	root = p.root
	if root == p.dir && len(tail) > 0 && tail[0] == '/' {
		root = "/" // the text begins with a variable that is an absolute path
	}
	switch {
	case !p.alias:
		return root, string(tail) + path, path, true
	case len(p.prefixes) == 0:
		return root, string(tail), string(tail), true
	}
	prefix, ok := p.prefix(path)
	rest := strings.TrimLeft(path[len(prefix):], "/")
	name = string(tail)
	if rest != "" || strings.HasSuffix(path, "/") && len(path) > len(prefix) {
		name += "/" + rest
	}
	return root, name, rest, ok
}

// hidden tells whether a path has a segment that starts with a dot; the one
// that certificate authorities and others ask for does not count.
func hidden(path string) bool {
	for rest, more := path, true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if strings.HasPrefix(segment, ".") && segment != "." && segment != ".well-known" {
			return true
		}
	}
	return false
}
