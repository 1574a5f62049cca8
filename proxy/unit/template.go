package unit

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// Template is a text with nginx variables that are evaluated per request:
// "Bearer $http_x_token". "$$" is a dollar, and so is a dollar that no name
// follows ("100 $"). Names are [A-Za-z0-9_]+; $1 to $9 are the captures of the
// route's regular expression. "$(name)x" is a name that more letters follow.
//
// The text is split once, when it is parsed: a request only joins parts.
type Template struct {
	text  string
	parts []TemplatePart
}

// TemplatePart is either a literal text or the name of a variable.
type TemplatePart struct {
	Literal  string // meaningful when Variable is empty
	Variable string // without the dollar
}

// ParseTemplate reads a template. The one error is a NUL byte or "${", which
// belongs to the loader of the configuration and must not survive it.
func ParseTemplate(text string) (Template, error) {
	fail := func(problem, fix string) (Template, error) {
		return Template{}, &ValueError{Kind: "text", Value: text, Problem: problem, Fix: fix}
	}
	if strings.IndexByte(text, 0) >= 0 {
		return fail("holds a NUL byte", "remove it")
	}
	t := Template{text: text}
	literal := make([]byte, 0, len(text))
	flush := func() {
		if len(literal) > 0 {
			t.parts = append(t.parts, TemplatePart{Literal: string(literal)})
			literal = literal[:0]
		}
	}
	for i := 0; i < len(text); {
		if text[i] != '$' {
			literal = append(literal, text[i])
			i++
			continue
		}
		rest := text[i+1:]
		name := rest[:nameLength(rest)]
		switch {
		case strings.HasPrefix(rest, "$"):
			literal = append(literal, '$')
			i += 2
		case strings.HasPrefix(rest, "{"):
			return fail("holds a braced variable", "write $name for a request's variable; ${NAME} is expanded when the file is read")
		case enclosed(rest) != "":
			flush()
			name = enclosed(rest)
			t.parts = append(t.parts, TemplatePart{Variable: name})
			i += len("$()") + len(name)
		case name == "":
			literal = append(literal, '$')
			i++
		default:
			flush()
			t.parts = append(t.parts, TemplatePart{Variable: name})
			i += 1 + len(name)
		}
	}
	flush()
	return t, nil
}

// enclosed is the name in parentheses at the start of s; "" if there is none.
func enclosed(s string) string {
	if len(s) < 3 || s[0] != '(' {
		return ""
	}
	name := s[1 : 1+nameLength(s[1:])]
	if !strings.HasPrefix(s[1+len(name):], ")") {
		return ""
	}
	return name
}

// nameLength counts the bytes of a variable name at the start of s. A name
// that starts with a digit is one digit long, as a capture is in nginx.
func nameLength(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case c >= '0' && c <= '9':
			if i == 0 {
				return 1
			}
		default:
			return i
		}
	}
	return len(s)
}

// MustTemplate is ParseTemplate for texts written in Go source.
func MustTemplate(text string) Template {
	t, err := ParseTemplate(text)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return t
}

// EscapeTemplate returns the text whose template is exactly the literal s.
func EscapeTemplate(s string) string { return strings.ReplaceAll(s, "$", "$$") }

// Parts are the pieces in order; no two literals are neighbours. The caller
// must not change them.
func (t Template) Parts() []TemplatePart { return t.parts }

// Literal returns the whole text when no variable is in it.
func (t Template) Literal() (string, bool) {
	switch {
	case len(t.parts) == 0:
		return "", true
	case len(t.parts) == 1 && t.parts[0].Variable == "":
		return t.parts[0].Literal, true
	}
	return "", false
}

// IsZero says whether the template is empty; yaml's omitempty asks it too.
func (t Template) IsZero() bool { return t.text == "" }

// String is what ParseTemplate reads back.
func (t Template) String() string { return t.text }

// UnmarshalYAML reads a scalar node; the error carries its line and column.
func (t *Template) UnmarshalYAML(node *yaml.Node) error {
	text, err := scalarText(node, "text", "write a text; quote it when it is meant to be empty")
	if err != nil {
		return err
	}
	return unmarshal(t, &yaml.Node{Kind: yaml.ScalarNode, Value: text, Line: node.Line, Column: node.Column}, ParseTemplate)
}

// MarshalYAML writes String.
func (t Template) MarshalYAML() (any, error) { return t.text, nil }

// Shape describes the text for the JSON Schema.
func (Template) Shape() Shape {
	return Shape{Types: []string{"string", "number", "boolean"}, Examples: []string{"Bearer $http_x_token"}}
}
