package unit

import (
	"regexp"
	"regexp/syntax"
	"strings"

	"go.yaml.in/yaml/v3"
)

// PatternKind is how a Pattern compares with a path.
type PatternKind uint8

// Kinds of patterns, named after nginx's location modifiers.
const (
	Prefix      PatternKind = iota // "/p": the path starts with it
	Exact                          // "= /p": the path is it
	FinalPrefix                    // "^~ /p": as Prefix, and regexes are not asked
	Regex                          // "~ re": RE2, case matters
	RegexFold                      // "~* re": RE2, case does not matter
)

// modifiers in the order in which they must be tried: "~*" before "~".
var modifiers = [...]struct {
	text string
	kind PatternKind
}{{"=", Exact}, {"^~", FinalPrefix}, {"~*", RegexFold}, {"~", Regex}}

// Pattern is a path pattern in nginx's location syntax. Paths are compared as
// ngx.var.uri is: decoded, with dot segments and double slashes resolved.
// Expressions are RE2: no look-around and no back references, and in return no
// path can make one run long.
type Pattern struct {
	Kind   PatternKind
	Text   string         // without the modifier
	Regexp *regexp.Regexp // only for Regex and RegexFold, unanchored as in nginx
}

const patternFix = `write "/p" (prefix), "= /p" (exact), "^~ /p" (final prefix), "~ re" or "~* re" (regular expression)`

// ParsePattern reads nginx's location syntax; the blank after the modifier may
// be left out, as in nginx.
func ParsePattern(text string) (Pattern, error) {
	fail := func(problem, fix string) (Pattern, error) {
		return Pattern{}, &ValueError{Kind: "path pattern", Value: text, Problem: problem, Fix: fix}
	}
	if text == "" {
		return fail("is empty", patternFix)
	}
	p := Pattern{Kind: Prefix, Text: text}
	for _, modifier := range modifiers {
		if rest, found := strings.CutPrefix(text, modifier.text); found {
			p = Pattern{Kind: modifier.kind, Text: strings.TrimLeft(rest, " ")}
			break
		}
	}
	if p.Kind == Regex || p.Kind == RegexFold {
		if p.Text == "" {
			return fail("has no expression", patternFix)
		}
		re, why := compile(p.Text, p.Kind == RegexFold)
		if re == nil {
			return fail("is no regular expression: "+why, "routes use RE2 syntax, see https://github.com/google/re2/wiki/Syntax")
		}
		p.Regexp = re
		return p, nil
	}
	if !strings.HasPrefix(p.Text, "/") {
		return fail("does not start with a slash", patternFix)
	}
	if i := strings.IndexAny(p.Text, "?#"); i >= 0 {
		return fail("holds a query or fragment, which no path has", "write "+text[:strings.IndexAny(text, "?#")]+" and put the query under match.query")
	}
	return p, nil
}

// compile returns the expression, or nil and the reason without Go's prefix.
func compile(expression string, fold bool) (*regexp.Regexp, string) {
	if fold {
		expression = "(?i)" + expression
	}
	re, err := regexp.Compile(expression)
	if err == nil {
		return re, ""
	}
	if e, ok := err.(*syntax.Error); ok {
		return nil, e.Code.String() + " at " + e.Expr
	}
	return nil, err.Error()
}

// GroupNames lists the names of an expression's groups, in small letters as
// variables have them; none for nil.
func GroupNames(re *regexp.Regexp) (names []string) {
	if re == nil {
		return nil
	}
	for _, name := range re.SubexpNames() {
		if name != "" {
			names = append(names, strings.ToLower(name))
		}
	}
	return names
}

// Match says whether path fits this pattern taken alone.
func (p Pattern) Match(path []byte) bool {
	switch p.Kind {
	case Exact:
		return string(path) == p.Text
	case Regex, RegexFold:
		return p.Regexp != nil && p.Regexp.Match(path)
	default:
		return len(path) >= len(p.Text) && string(path[:len(p.Text)]) == p.Text
	}
}

// IsZero says whether there is no pattern; yaml's omitempty asks it too.
func (p Pattern) IsZero() bool { return p.Text == "" }

// String is what ParsePattern reads back.
func (p Pattern) String() string {
	for _, modifier := range modifiers {
		if modifier.kind == p.Kind {
			return modifier.text + " " + p.Text
		}
	}
	return p.Text
}

// UnmarshalYAML reads a scalar node; the error carries its line and column.
func (p *Pattern) UnmarshalYAML(node *yaml.Node) error { return unmarshal(p, node, ParsePattern) }

// MarshalYAML writes String.
func (p Pattern) MarshalYAML() (any, error) { return p.String(), nil }

// Shape describes the text for the JSON Schema.
func (Pattern) Shape() Shape {
	return Shape{Types: []string{"string"}, Pattern: `^(/|= */|\^~ */|~\*? *.)`, Examples: []string{"/orders/", "= /hello", "^~ /static/", `~ \.php$`, "~* [.]png$"}}
}
