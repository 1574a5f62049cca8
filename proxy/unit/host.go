package unit

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// HostKind is how a HostPattern compares with a host name.
type HostKind uint8

// Kinds of host patterns, in the order in which a request is compared.
const (
	HostExact    HostKind = iota // "api.example.com"
	HostWildcard                 // "*.example.com": any number of labels before it
	HostRegex                    // "~ re": RE2 on the lower-case name
)

// HostPattern is one name of a route's match.hosts, as nginx's server_name
// takes it, without the names that end in a wildcard. Names are lower case and
// carry no port; an IPv6 literal keeps its brackets.
type HostPattern struct {
	Kind   HostKind
	Text   string         // exact: the name; wildcard: ".example.com"; regex: the expression
	Regexp *regexp.Regexp // only for HostRegex
}

const hostFix = `write "api.example.com", "*.example.com" or "~ re"`

// ParseHostPattern reads a name, a wildcard or an expression.
func ParseHostPattern(text string) (HostPattern, error) {
	fail := func(problem, fix string) (HostPattern, error) {
		return HostPattern{}, &ValueError{Kind: "host", Value: text, Problem: problem, Fix: fix}
	}
	if rest, found := strings.CutPrefix(text, "~"); found {
		expression := strings.TrimLeft(rest, " ")
		if expression == "" {
			return fail("has no expression", hostFix)
		}
		re, why := compile(expression, false)
		if re == nil {
			return fail("is no regular expression: "+why, "routes use RE2 syntax, see https://github.com/google/re2/wiki/Syntax")
		}
		return HostPattern{Kind: HostRegex, Text: expression, Regexp: re}, nil
	}
	name, wildcard := strings.CutPrefix(text, "*.")
	switch {
	case text == "*":
		return fail("is every host", "leave match.hosts out: a route without hosts serves all of them")
	case strings.HasSuffix(text, ".*"):
		return fail("ends in a wildcard", `write "~ ^`+regexp.QuoteMeta(strings.TrimSuffix(text, "*"))+`"`)
	case strings.HasPrefix(text, "."):
		return fail("starts with a dot", `write both "`+text[1:]+`" and "*`+text+`"`)
	case strings.Contains(name, "*"):
		return fail("has a wildcard inside", hostFix)
	}
	if !strings.HasPrefix(name, "[") {
		if host, port, found := strings.Cut(name, ":"); found && strings.Trim(port, "0123456789") == "" {
			return fail("carries a port, which is not compared", "write "+strings.TrimSuffix(text, name)+host)
		}
	}
	if !validHost(name) {
		return fail("is not a host name", hostFix+"; names beyond ASCII in their xn-- form")
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if wildcard {
		return HostPattern{Kind: HostWildcard, Text: "." + name}, nil
	}
	return HostPattern{Kind: HostExact, Text: name}, nil
}

// validHost accepts what a Host header may hold besides the port: letters,
// digits, dots, hyphens and underscores, or a bracketed IPv6 address.
func validHost(name string) bool {
	if inner, found := strings.CutPrefix(name, "["); found {
		inner, found = strings.CutSuffix(inner, "]")
		return found && inner != "" && strings.Trim(inner, "0123456789abcdefABCDEF:.") == ""
	}
	if name == "" || len(name) > 253 || name[0] == '.' || strings.Contains(name, "..") {
		return false
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// Match says whether host, lower case and without port, fits this pattern.
func (h HostPattern) Match(host []byte) bool {
	switch h.Kind {
	case HostExact:
		return string(host) == h.Text
	case HostWildcard:
		cut := len(host) - len(h.Text)
		return cut > 0 && string(host[cut:]) == h.Text
	default:
		return h.Regexp != nil && h.Regexp.Match(host)
	}
}

// String is what ParseHostPattern reads back.
func (h HostPattern) String() string {
	switch h.Kind {
	case HostWildcard:
		return "*" + h.Text
	case HostRegex:
		return "~ " + h.Text
	default:
		return h.Text
	}
}

// UnmarshalYAML reads a scalar node; the error carries its line and column.
func (h *HostPattern) UnmarshalYAML(node *yaml.Node) error {
	return unmarshal(h, node, ParseHostPattern)
}

// MarshalYAML writes String.
func (h HostPattern) MarshalYAML() (any, error) { return h.String(), nil }

// Shape describes the text for the JSON Schema.
func (HostPattern) Shape() Shape {
	return Shape{Types: []string{"string"}, Pattern: `^(~ *.+|(\*\.)?[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]-]*)$`, Examples: []string{"api.example.com", "*.example.com", `~ ^shop-[0-9]+\.`}}
}
