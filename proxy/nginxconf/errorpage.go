package nginxconf

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// errorPage is what a client gets for a status.
type errorPage struct{ code, path, route, redirect, status string }

// errorPage carries error_page over: codes, then =code or = for the page's own
// status, then a path, @name or an address. The list of a block replaces those
// around it.
func (m *importer) errorPage(d *directive, s *scope) {
	if len(d.args) < 2 {
		m.leave(d, "a status and a page are wanted")
		return
	}
	codes, target := d.args[:len(d.args)-1], d.args[len(d.args)-1]
	page := errorPage{}
	if answer, found := strings.CutPrefix(codes[len(codes)-1], "="); found {
		if codes, page.status = codes[:len(codes)-1], answer; answer == "" {
			page.status = "page"
		}
	}
	text, err := template(target)
	switch {
	case err != nil:
		m.leave(d, "%v", err)
		return
	case strings.HasPrefix(target, "@"):
		page.route = m.named[target]
	case strings.HasPrefix(target, "/"):
		page.path = text
	default:
		page.redirect = text
		if page.status == "page" {
			page.status = ""
		}
	}
	if page.route == "" && strings.HasPrefix(target, "@") {
		m.leave(d, "there is no location %s", target)
		return
	}
	if s.own != nil && !s.own[d.name] {
		s.pages, s.own[d.name] = nil, true
	}
	for _, code := range codes {
		if n, err := strconv.Atoi(code); err != nil || n < 300 || n > 599 {
			m.leave(d, "%q is no status that has a page", code)
			continue
		}
		page.code = code
		s.pages = append(s.pages[:len(s.pages):len(s.pages)], page)
	}
}

// defaultType is the type of answers that name none; "none" where nothing is
// sent.
func (s *scope) defaultType() string {
	switch {
	case s.bare:
		return "none"
	case s.typ == "":
		return "text/plain"
	}
	return s.typ
}

// commonest is the value that most routes have; of several the first.
func commonest[T any](routes []route, value func(*route) T, same func(a, b T) bool) (best T) {
	most := 0
	for i := range routes {
		n := 0
		for j := range routes {
			if same(value(&routes[i]), value(&routes[j])) {
				n++
			}
		}
		if n > most {
			best, most = value(&routes[i]), n
		}
	}
	return best
}

// raise moves what most routes have in common to the top of the configuration.
func (o *output) raise() {
	o.typ = commonest(o.routes, func(r *route) string { return r.typ }, func(a, b string) bool { return a == b })
	o.pages = commonest(o.routes, func(r *route) []errorPage { return r.pages }, slices.Equal)
	o.bodyBytes = cmp.Or(commonest(o.routes, func(r *route) string { return r.bodySize }, func(a, b string) bool { return a == b }), nginxBody)
	o.access = commonest(o.routes, func(r *route) logging { return r.log }, func(a, b logging) bool { return a == b })
	for i := range o.routes {
		r := &o.routes[i]
		if r.bodySize = cmp.Or(r.bodySize, nginxBody); r.bodySize == o.bodyBytes || r.before {
			r.bodySize = ""
		}
		switch {
		case r.log == o.access:
			r.log = logging{}
		case !r.log.given:
			r.log = logging{format: "json", file: "-"} // as where nothing is said
		}
		if r.typ == o.typ {
			r.typ = ""
		}
		r.noPages = len(r.pages) == 0 && len(o.pages) > 0
		if slices.Equal(r.pages, o.pages) {
			r.pages, r.noPages = nil, false
		}
	}
	if o.typ == "text/plain" {
		o.typ = ""
	}
}

// typeOf adds a default_type.
func (m mapping) typeOf(value string) {
	if value == "none" {
		m.add("default_type", scalar(""))
		return
	}
	m.text("default_type", value)
}

// pages adds error pages: the first of a status counts, as in nginx.
func (m mapping) pages(pages []errorPage) {
	inner, seen := newMapping(), make(map[string]bool)
	for _, p := range pages {
		if seen[p.code] {
			continue
		}
		seen[p.code] = true
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: p.code}
		if p.status == "" && p.path != "" {
			inner.node.Content = append(inner.node.Content, key, scalar(p.path))
			continue
		}
		one := newMapping()
		one.node.Style = yaml.FlowStyle
		one.text("path", p.path)
		one.text("route", p.route)
		one.text("redirect", p.redirect)
		one.plain("status", p.status)
		inner.node.Content = append(inner.node.Content, key, one.node)
	}
	m.add("error_pages", inner.node)
}
