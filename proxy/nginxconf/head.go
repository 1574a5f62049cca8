package nginxconf

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"perigee/proxy/transform"
	"perigee/proxy/unit"
)

// addition is a field that is added to answers.
type addition struct {
	pair
	always bool
}

// addHeader carries add_header over; those of a block replace all around it.
func (m *importer) addHeader(d *directive, s *scope) {
	value, err := template(d.arg(1))
	if err != nil {
		m.leave(d, "%v", err)
		return
	}
	if s.own != nil && !s.own[d.name] {
		s.add, s.own[d.name] = nil, true
	}
	t, _ := unit.ParseTemplate(value)
	check := transform.Config{Response: transform.ResponseHeaders{Add: map[string]unit.Texts{d.arg(0): unit.MakeTexts(t)}}}
	if problems := check.Check(); len(problems) > 0 {
		m.leave(d, "%s", problems[0].Message)
		return
	}
	s.add = append(s.add[:len(s.add):len(s.add)], addition{pair{d.arg(0), value}, d.arg(2) == "always"})
}

// additions adds a response block: values of one name, in whatever letters, are
// a list.
func (m mapping) additions(list []addition) {
	response := newMapping()
	for _, kind := range [...]struct {
		key    string
		always bool
	}{{"add", true}, {"add_on_success", false}} {
		block := newMapping()
		seen := make(map[string]bool)
		for _, a := range list {
			if a.always != kind.always || seen[strings.ToLower(a.name)] {
				continue
			}
			seen[strings.ToLower(a.name)] = true
			var values []string
			for _, b := range list {
				if b.always == kind.always && strings.EqualFold(b.name, a.name) && b.value != "" {
					values = append(values, b.value)
				}
			}
			if len(values) == 1 {
				block.text(a.name, values[0])
			} else {
				block.add(a.name, flow(values))
			}
		}
		response.add(kind.key, block.node)
	}
	m.add("response", response.node)
}

// nginxBody is client_max_body_size where nothing is said.
const nginxBody = "1MiB"

func (m *importer) bodySize(d *directive, s *scope) {
	text, ok := size(d.arg(0))
	if !ok {
		m.leave(d, "%q is no size", d.arg(0))
		return
	}
	s.bodySize = text
}

// redirects carries proxy_redirect over: off, default, or from and to. Those of a
// block replace all around it.
func (m *importer) redirects(d *directive, s *scope) {
	to := &s.sending
	if s.own != nil && !s.own[d.name] {
		to.redirects, s.own[d.name] = nil, true
	}
	to.chosen = true
	switch {
	case d.arg(0) == "off":
		to.redirects = nil
		return
	case d.arg(0) == "default":
		to.redirects = append(to.redirects[:len(to.redirects):len(to.redirects)], redirect{})
		return
	case len(d.args) != 2:
		m.leave(d, "from and to are wanted")
		return
	}
	r := redirect{}
	target, err := template(d.arg(1))
	r.to = target
	if expression, found := strings.CutPrefix(d.arg(0), "~"); found {
		r.match = "~ " + expression
		if rest, fold := strings.CutPrefix(expression, "*"); fold {
			r.match = "~* " + rest
		}
		if _, wrong := unit.ParseValuePattern(r.match); wrong != nil {
			m.leave(d, "%v", wrong)
			return
		}
		r.match = escapeBraces(r.match)
	} else if err == nil {
		r.from, err = template(d.arg(0))
	}
	if err != nil {
		m.leave(d, "%v", err)
		return
	}
	to.redirects = append(to.redirects[:len(to.redirects):len(to.redirects)], r)
}

// redirect is a proxy_redirect; the zero value is nginx's default.
type redirect struct{ from, match, to string }

// address notes what proxy_pass says, for the redirects that are its default:
// from its own address to the location. An upstream that is told another Host
// than its address has no reason to name that, and routes stay short.
func (to *sending) address(pattern, target, uri string) {
	rules := to.redirects
	if named := slices.ContainsFunc(to.headers, func(h pair) bool { return strings.EqualFold(h.name, "host") }); !to.chosen && !named {
		rules = []redirect{{}}
	}
	own := redirect{from: escape(strings.TrimSuffix(target, "/")) + "/", to: "/"}
	if uri != "" {
		own.from = escape(target)
		if p, err := unit.ParsePattern(pattern); err == nil && p.Regexp == nil && !strings.HasPrefix(p.Text, "/@") {
			own.to = escape(p.Text)
		}
	}
	to.redirects = nil
	for _, r := range rules {
		if r == (redirect{}) {
			r = own
		}
		to.redirects = append(to.redirects, r)
	}
}

// redirects adds the rules.
func (m mapping) redirects(rules []redirect) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, r := range rules {
		one := newMapping()
		one.node.Style = yaml.FlowStyle
		one.text("from", r.from)
		one.text("match", r.match)
		one.text("to", r.to)
		list.Content = append(list.Content, one.node)
	}
	m.add("redirects", list)
}
