package unit

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ConditionKind is how a Condition looks at its variable.
type ConditionKind uint8

// Kinds of conditions, with nginx's operators.
const (
	ConditionSet      ConditionKind = iota // "$x": neither empty nor "0"
	ConditionEqual                         // "$x = text"
	ConditionUnequal                       // "$x != text"
	ConditionMatch                         // "$x ~ re"
	ConditionFold                          // "$x ~* re": case does not matter
	ConditionMismatch                      // "$x !~ re"
	ConditionMisfold                       // "$x !~* re"
)

var operators = map[string]ConditionKind{
	"=": ConditionEqual, "!=": ConditionUnequal, "~": ConditionMatch, "~*": ConditionFold,
	"!~": ConditionMismatch, "!~*": ConditionMisfold,
}

// Condition is a question about a variable of a request, in the words of
// nginx's if: "$request_method = POST", "$http_cookie ~ ^a=(.*)". A text that
// is compared may hold variables itself; an expression is RE2 and may not.
type Condition struct {
	Kind     ConditionKind
	Variable string // without the dollar
	Text     Template
	Regexp   *regexp.Regexp // of the kinds with an expression
	text     string
}

const conditionFix = `write "$name", "$name = text", "$name != text", "$name ~ re" (~* ignores case), "$name !~ re" or "$name !~* re"`

// ParseCondition reads a condition.
func ParseCondition(text string) (Condition, error) {
	fail := func(problem, fix string) (Condition, error) {
		return Condition{}, &ValueError{Kind: "condition", Value: text, Problem: problem, Fix: fix}
	}
	if !strings.HasPrefix(text, "$") || nameLength(text[1:]) == 0 {
		return fail("does not start with a variable", conditionFix)
	}
	c := Condition{text: text}
	n := 1 + nameLength(text[1:])
	c.Variable = text[1:n]
	rest := strings.TrimLeft(text[n:], " ")
	if rest == "" {
		return c, nil
	}
	operator, right, _ := strings.Cut(rest, " ")
	kind, known := operators[operator]
	if !known {
		return fail("has no operator behind the variable", conditionFix)
	}
	c.Kind, right = kind, strings.Trim(right, " ")
	if kind == ConditionEqual || kind == ConditionUnequal {
		var err error
		if c.Text, err = ParseTemplate(right); err != nil {
			return fail("compares with a text that cannot be: "+err.(*ValueError).Problem, conditionFix)
		}
		return c, nil
	}
	if right == "" {
		return fail("has no expression", conditionFix)
	}
	re, why := compile(right, kind == ConditionFold || kind == ConditionMisfold)
	if re == nil {
		return fail("is no regular expression: "+why, "routes use RE2 syntax, see https://github.com/google/re2/wiki/Syntax")
	}
	c.Regexp = re
	return c, nil
}

// Templates are the variables that the condition needs, as templates.
func (c Condition) Templates() []Template {
	if c.IsZero() {
		return nil
	}
	return []Template{{text: "$" + c.Variable, parts: []TemplatePart{{Variable: c.Variable}}}, c.Text}
}

// IsZero says whether there is no condition; yaml's omitempty asks it too.
func (c Condition) IsZero() bool { return c.text == "" }

// String is what ParseCondition reads back.
func (c Condition) String() string { return c.text }

// UnmarshalYAML reads a scalar node; the error carries its line and column.
func (c *Condition) UnmarshalYAML(node *yaml.Node) error { return unmarshal(c, node, ParseCondition) }

// MarshalYAML writes String.
func (c Condition) MarshalYAML() (any, error) { return c.text, nil }

// Shape describes the text for the JSON Schema.
func (Condition) Shape() Shape {
	return Shape{Types: []string{"string"}, Pattern: `^[$][A-Za-z0-9_]`, Examples: []string{"$arg_debug", "$request_method = POST", `$http_cookie ~ ^a=(.*)`}}
}
