package unit

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ValueKind is how a ValuePattern compares with a value.
type ValueKind uint8

// Kinds of value patterns.
const (
	ValueExact     ValueKind = iota // "acme", or "= *" for a text that looks like another kind
	ValuePresent                    // "*": there is a value, empty or not
	ValueAbsent                     // "!": there is none
	ValueRegex                      // "~ re": RE2
	ValueRegexFold                  // "~* re": RE2, case does not matter
)

// ValuePattern is what a route asks of a header or a query argument.
type ValuePattern struct {
	Kind   ValueKind
	Text   string         // exact: the text; regex: the expression
	Regexp *regexp.Regexp // only for the regex kinds
}

const valueFix = `write "text" or "= text" (equal), "*" (present), "!" (absent), "~ re" or "~* re" (regular expression)`

// ParseValuePattern reads any of the kinds. An empty text is refused: "= " asks
// for an empty value, "!" for none.
func ParseValuePattern(text string) (ValuePattern, error) {
	fail := func(problem, fix string) (ValuePattern, error) {
		return ValuePattern{}, &ValueError{Kind: "value pattern", Value: text, Problem: problem, Fix: fix}
	}
	switch {
	case text == "":
		return fail("is empty", valueFix)
	case text == "*":
		return ValuePattern{Kind: ValuePresent}, nil
	case text == "!":
		return ValuePattern{Kind: ValueAbsent}, nil
	case strings.HasPrefix(text, "= "):
		return ValuePattern{Kind: ValueExact, Text: text[2:]}, nil
	case strings.HasPrefix(text, "~"):
		kind, expression := ValueRegex, text[1:]
		if rest, fold := strings.CutPrefix(expression, "*"); fold {
			kind, expression = ValueRegexFold, rest
		}
		expression = strings.TrimLeft(expression, " ")
		if expression == "" {
			return fail("has no expression", valueFix)
		}
		re, why := compile(expression, kind == ValueRegexFold)
		if re == nil {
			return fail("is no regular expression: "+why, "routes use RE2 syntax, see https://github.com/google/re2/wiki/Syntax")
		}
		return ValuePattern{Kind: kind, Text: expression, Regexp: re}, nil
	case strings.HasPrefix(text, "!"):
		return fail("negates a value, which a pattern cannot", valueFix)
	}
	return ValuePattern{Kind: ValueExact, Text: text}, nil
}

// MatchAbsent says whether the pattern is content when there is no value.
func (v ValuePattern) MatchAbsent() bool { return v.Kind == ValueAbsent }

// Match says whether a value that is there fits.
func (v ValuePattern) Match(value []byte) bool {
	switch v.Kind {
	case ValueExact:
		return string(value) == v.Text
	case ValuePresent:
		return true
	case ValueAbsent:
		return false
	default:
		return v.Regexp != nil && v.Regexp.Match(value)
	}
}

// String is what ParseValuePattern reads back.
func (v ValuePattern) String() string {
	switch v.Kind {
	case ValuePresent:
		return "*"
	case ValueAbsent:
		return "!"
	case ValueRegex:
		return "~ " + v.Text
	case ValueRegexFold:
		return "~* " + v.Text
	}
	if plain, err := ParseValuePattern(v.Text); err != nil || plain.Kind != ValueExact || plain.Text != v.Text {
		return "= " + v.Text
	}
	return v.Text
}

// UnmarshalYAML reads a scalar node; the error carries its line and column.
func (v *ValuePattern) UnmarshalYAML(node *yaml.Node) error {
	return unmarshal(v, node, ParseValuePattern)
}

// MarshalYAML writes String.
func (v ValuePattern) MarshalYAML() (any, error) { return v.String(), nil }

// Shape describes the text for the JSON Schema.
func (ValuePattern) Shape() Shape {
	return Shape{Types: []string{"string"}, Pattern: `^.`, Examples: []string{"acme", "*", "!", "~ ^v[0-9]+$"}}
}
