package nginxconf

import (
	"strings"

	"perigee/proxy/unit"
)

// logging is where the lines of finished requests go. The zero value is nginx's
// default, a file of its own, which is perigee's: standard output.
type logging struct {
	format, template, escape, cond, file string
	given                                bool
}

// logFormat notes a log_format: a name, perhaps escape=, then texts that are one.
func (m *importer) logFormat(d *directive) {
	f := logging{}
	parts := d.options()
	if len(parts) > 0 {
		if how, found := strings.CutPrefix(parts[0], "escape="); found {
			parts = parts[1:]
			if f.escape = how; how == "default" {
				f.escape = ""
			}
		}
	}
	text, err := template(strings.Join(parts, ""))
	if err != nil || text == "" {
		m.leave(d, "the format is no text with variables")
		return
	}
	f.template = text
	if m.formats == nil {
		m.formats = make(map[string]logging)
	}
	m.formats[d.arg(0)] = f
}

// accessLog carries access_log over. The first of a block counts: a route has one
// log.
func (m *importer) accessLog(d *directive, s *scope) {
	if s.own != nil {
		if s.own[d.name] {
			m.leave(d, "a route has one access log: the first stays")
			return
		}
		s.own[d.name] = true
	} else if s.log.given {
		m.leave(d, "a route has one access log: the first stays")
		return
	}
	path := d.arg(0)
	switch {
	case path == "off":
		s.log = logging{format: "off", given: true}
		return
	case strings.HasPrefix(path, "syslog:") || strings.Contains(path, "$"):
		m.leave(d, "the access log goes to one file or to standard output")
		return
	}
	log := logging{format: "text", file: escape(path), given: true}
	if path == "/dev/stdout" {
		log.file = "-"
	}
	for i, option := range d.options() {
		name, value, found := strings.Cut(option, "=")
		switch {
		case !found && i == 0 && option != "combined":
			f, known := m.formats[option]
			if !known {
				m.leave(d, "there is no log_format %s; lines are nginx's combined", option)
				break
			}
			log.format, log.template, log.escape = "", f.template, f.escape
		case found && name == "if":
			if _, err := unit.ParseCondition(value); err != nil {
				m.leave(d, "the condition %q is no variable", value)
				break
			}
			log.cond = strings.ToLower(value)
		case option == "combined", name == "buffer", name == "flush": // lines are gathered anyway
		default:
			m.leave(d, "option %q has no equivalent", option)
		}
	}
	s.log = log
}

// log adds an access_log block.
func (m mapping) log(l logging) {
	one := newMapping()
	one.text("format", l.format)
	one.text("template", l.template)
	one.text("escape", l.escape)
	one.text("if", l.cond)
	one.text("file", l.file)
	m.add("access_log", one.node)
}
