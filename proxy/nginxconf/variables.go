package nginxconf

import (
	"regexp"
	"strings"

	"perigee/proxy/exchange"
	"perigee/proxy/unit"
)

// unknown lists the variables that directives ask for and nothing makes here,
// those of nginx's other modules: they exist, and are empty.
func (m *importer) unknown(list []*directive) {
	made := make(map[string]bool)
	m.made(list, made)
	for _, l := range m.out.maps {
		made[l.name] = true
	}
	left := make(map[Left]bool)
	for _, l := range m.left {
		l.Why = ""
		left[l] = true
	}
	m.asked(list, func(d *directive, name string) {
		if made[name] || left[Left{File: d.file, Line: d.line, Directive: d.name}] || exchange.KnownVariable(name) || !variableName.MatchString(name) {
			return
		}
		m.leave(d, "there is no variable $%s: it is empty", name)
		m.out.variable(name, "")
	})
}

// made notes the variables that directives make, by setting them or by naming
// groups of expressions.
func (m *importer) made(list []*directive, names map[string]bool) {
	for _, d := range list {
		switch {
		case d.name == "set" || strings.HasPrefix(d.name, "set_by_lua"):
			names[strings.ToLower(strings.TrimPrefix(d.arg(0), "$"))] = true
		case d.name == "location", d.name == "rewrite", d.name == "if":
			for _, arg := range d.args {
				groups(arg, names)
			}
		case strings.HasPrefix(d.name, "~"): // of a map
			groups(d.name, names)
		}
		m.made(d.block, names)
	}
}

var groupName = regexp.MustCompile(`\(\?P?<([A-Za-z_][A-Za-z0-9_]*)>`)

func groups(expression string, names map[string]bool) {
	for _, found := range groupName.FindAllStringSubmatch(expression, -1) {
		names[strings.ToLower(found[1])] = true
	}
}

// asked visits the variables in the texts of directives.
func (m *importer) asked(list []*directive, visit func(d *directive, name string)) {
	for _, d := range list {
		args := d.args
		switch {
		case meaningless(d.name), d.name == "location", d.name == "types", d.name == "geo" && len(d.args) == 1, d.name == "server_name":
			args = nil
		case d.name == "set" || d.name == "rewrite" || strings.Contains(d.name, "_by_lua"):
			args = d.options()
		case d.name == "map" || d.name == "geo" && len(d.args) > 1:
			args = d.args[:min(1, len(d.args))]
		case d.name == "if":
			args = d.args[:min(1, len(d.args))] // what is asked; what it is compared with may be an expression
		}
		for _, arg := range args {
			text, err := template(strings.TrimPrefix(arg, "("))
			if err != nil {
				continue
			}
			t, err := unit.ParseTemplate(text)
			if err != nil {
				continue
			}
			for _, part := range t.Parts() {
				visit(d, part.Variable)
			}
		}
		m.asked(d.block, visit)
	}
}
