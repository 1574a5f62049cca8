package unit

import (
	"strings"
	"testing"
)

func TestCondition(t *testing.T) {
	for _, test := range []struct {
		text, variable, right, err string
		kind                       ConditionKind
	}{
		{text: "$arg_a", variable: "arg_a", kind: ConditionSet},
		{text: "$arg_a  ", variable: "arg_a", kind: ConditionSet},
		{text: "$1", variable: "1", kind: ConditionSet},
		{text: "$a = b $c d ", variable: "a", right: "b $c d", kind: ConditionEqual},
		{text: "$a =", variable: "a", kind: ConditionEqual},
		{text: "$a != 1", variable: "a", right: "1", kind: ConditionUnequal},
		{text: "$a ~ ^x y$", variable: "a", right: "^x y$", kind: ConditionMatch},
		{text: "$a ~* ^x", variable: "a", right: "(?i)^x", kind: ConditionFold},
		{text: "$a !~ x", variable: "a", right: "x", kind: ConditionMismatch},
		{text: "$a !~* x", variable: "a", right: "(?i)x", kind: ConditionMisfold},
		{text: "", err: "does not start with a variable"},
		{text: "a = b", err: "does not start with a variable"},
		{text: "$ = b", err: "does not start with a variable"},
		{text: "$a == b", err: "no operator"},
		{text: "$a ~", err: "no expression"},
		{text: "$a ~ (", err: "no regular expression"},
		{text: "$a = ${b}", err: "braced"},
	} {
		c, err := ParseCondition(test.text)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q: error %v, wanted %q", test.text, err, test.err)
			}
			continue
		}
		right := c.Text.String()
		if c.Regexp != nil {
			right = c.Regexp.String()
		}
		if err != nil || c.Kind != test.kind || c.Variable != test.variable || right != test.right {
			t.Errorf("%q is %d $%s %q, %v", test.text, c.Kind, c.Variable, right, err)
		}
	}
}

func FuzzCondition(f *testing.F) {
	for _, seed := range []string{"$a", "$a = $b", "$a !~* (x)", "$a ~ [", "$", "= b", "$a = ${"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { roundTrip(t, text, ParseCondition) })
}
