package nginxconf

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"perigee/proxy/unit"
)

// compression is what a block says of gzip; empty texts: nginx's defaults.
type compression struct {
	on, vary         bool
	types, proxied   []string
	minLength, level string
}

// gzip carries a directive about compression over; false: it is not one.
func (m *importer) gzip(d *directive, c *compression) bool {
	switch d.name {
	case "gzip":
		c.on = d.arg(0) == "on"
	case "gzip_vary":
		c.vary = d.arg(0) == "on"
	case "gzip_types":
		c.types = m.mediaTypes(d)
	case "gzip_proxied":
		c.proxied = d.args
	case "gzip_min_length":
		if text, ok := size(d.arg(0)); ok {
			c.minLength = text
			break
		}
		m.leave(d, "%q is no size", d.arg(0))
	case "gzip_comp_level":
		if n, err := strconv.Atoi(d.arg(0)); err == nil && n > 0 && n < 10 {
			c.level = d.arg(0)
			break
		}
		m.leave(d, "%q is no level of gzip", d.arg(0))
	case "gzip_http_version":
		if d.arg(0) != "1.1" {
			m.leave(d, "answers to HTTP/1.0 are not compressed")
		}
	case "gzip_buffers":
	default:
		return false
	}
	return true
}

// mediaTypes are the types of a gzip_types with text/html, which it always has.
func (m *importer) mediaTypes(d *directive) []string {
	types := []string{"text/html"}
	for _, arg := range d.args {
		major, minor, found := strings.Cut(arg, "/")
		switch {
		case arg == "*":
			return []string{"*"}
		case arg == "text/html":
		case found && unit.IsToken(major) && unit.IsToken(minor):
			types = append(types, arg)
		default:
			m.leave(d, "%q is no media type", arg)
		}
	}
	return types
}

// yaml writes a route's compress block, or nothing where gzip is off.
func (c *compression) yaml() *yaml.Node {
	b := newMapping()
	if !c.on {
		return b.node
	}
	or := func(given, usual []string) *yaml.Node {
		if len(given) == 0 {
			given = usual
		}
		return list(given, yaml.FlowStyle)
	}
	text := func(given, usual string) string {
		if given == "" {
			return usual
		}
		return given
	}
	b.add("types", or(c.types, []string{"text/html"}))
	b.plain("min_length", text(c.minLength, "20"))
	b.plain("level", text(c.level, "1"))
	b.plain("vary", strconv.FormatBool(c.vary))
	b.add("proxied", or(c.proxied, []string{"off"}))
	return b.node
}
