package nginxconf

import (
	"net/netip"
	"strings"

	"go.yaml.in/yaml/v3"

	lookups "perigee/proxy/mapping"
	"perigee/proxy/unit"
)

// lookup is a map block.
type lookup struct {
	name, from          string
	exact, hosts, regex []pair
	networks            []pair
	fallback            string
	volatile            bool
}

// mapBlock carries a map over. Its block has a line per value; a text with a
// backslash in front is none of the words that mean something.
func (m *importer) mapBlock(d *directive) {
	name := strings.ToLower(strings.TrimPrefix(d.arg(1), "$"))
	from, err := template(d.arg(0))
	switch {
	case err != nil:
		m.leave(d, "%v", err)
		return
	case !variableName.MatchString(name) || !strings.HasPrefix(d.arg(1), "$"):
		m.leave(d, "%q is no variable of letters, digits and _", d.arg(1))
		return
	}
	l := lookup{name: name, from: from}
	hosts := false
	for _, line := range d.block {
		switch {
		case line.name == "hostnames" && len(line.args) == 0:
			hosts = true
		case line.name == "volatile" && len(line.args) == 0:
			l.volatile = true
		}
	}
	for _, line := range d.block {
		if len(line.args) == 1 {
			m.mapLine(line, &l, hosts)
		} else if line.name != "hostnames" && line.name != "volatile" {
			m.leave(line, "it has no value")
		}
	}
	m.out.maps = append(m.out.maps, l)
}

// geoBlock carries a geo over: a map of networks, by the client's address unless it
// says another.
func (m *importer) geoBlock(d *directive) {
	from, name := "$remote_addr", d.arg(0)
	if len(d.args) > 1 {
		from, name = d.arg(0), d.arg(1)
	}
	from, err := template(from)
	bare := strings.ToLower(strings.TrimPrefix(name, "$"))
	if err != nil || !variableName.MatchString(bare) || bare == name {
		m.leave(d, "%q is no variable of letters, digits and _", name)
		return
	}
	l := lookup{name: bare, from: from}
	for _, line := range d.block {
		value, err := template(line.arg(0))
		text := line.name
		if p, wrong := netip.ParsePrefix(text); wrong == nil {
			text = p.Masked().String()
		}
		switch _, wrong := unit.ParseCIDR(text); {
		case line.name == "default" && err == nil:
			l.fallback = value
		case err != nil || wrong != nil || len(line.args) != 1:
			m.leave(line, "it is no network with a value")
		default:
			l.networks = m.mapValue(line, l.networks, pair{text, value})
		}
	}
	m.out.maps = append(m.out.maps, l)
}

func (m *importer) mapLine(line *directive, l *lookup, hosts bool) {
	value, err := template(line.arg(0))
	if err != nil {
		m.leave(line, "%v", err)
		return
	}
	key, escaped := strings.CutPrefix(line.name, `\`)
	switch {
	case !escaped && key == "default":
		l.fallback = value
	case !escaped && strings.HasPrefix(key, "~"):
		if _, err := unit.ParseValuePattern(key); err != nil {
			m.leave(line, "%v", err)
			return
		}
		spaced := "~ " + key[1:]
		if rest, fold := strings.CutPrefix(key, "~*"); fold {
			spaced = "~* " + rest
		}
		l.regex = append(l.regex, pair{escapeBraces(spaced), value})
	case hosts && m.hostKey(key):
		l.hosts = m.mapValue(line, l.hosts, pair{key, value})
	default:
		l.exact = m.mapValue(line, l.exact, pair{key, value})
	}
}

// hostKey tells whether a key is a name with a wildcard.
func (m *importer) hostKey(key string) bool {
	c := lookups.Config{From: unit.MustTemplate("x"), Hosts: map[string]unit.Template{key: {}}}
	wild := strings.HasPrefix(key, "*.") || strings.HasPrefix(key, ".") || strings.HasSuffix(key, ".*")
	return wild && len(c.Check()) == 0
}

// mapValue adds a value, unless the key is there.
func (m *importer) mapValue(line *directive, list []pair, p pair) []pair {
	for _, other := range list {
		if strings.EqualFold(other.name, p.name) {
			m.leave(line, "the key %q is there already", p.name)
			return list
		}
	}
	return append(list, p)
}

// maps adds the variables that are looked up.
func (m mapping) maps(list []lookup) {
	all := newMapping()
	for _, l := range list {
		one := newMapping()
		one.text("from", l.from)
		one.pairs("exact", l.exact, texts)
		one.pairs("hosts", l.hosts, texts)
		one.pairs("networks", l.networks, texts)
		expressions := &yaml.Node{Kind: yaml.SequenceNode}
		for _, p := range l.regex {
			e := newMapping()
			e.node.Style = yaml.FlowStyle
			e.text("match", p.name)
			e.text("value", p.value)
			expressions.Content = append(expressions.Content, e.node)
		}
		one.add("regex", expressions)
		one.text("default", l.fallback)
		if l.volatile {
			one.plain("volatile", "true")
		}
		all.add(l.name, one.node)
	}
	m.add("maps", all.node)
}
