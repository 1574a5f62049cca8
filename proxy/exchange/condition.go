package exchange

import (
	"regexp"
	"strings"

	"perigee/proxy/unit"
)

// Holds tells whether a condition is true of the exchange now. What an
// expression captures becomes $1 to $9.
func (ex *Exchange) Holds(c *unit.Condition) bool {
	start := len(ex.Scratch)
	ex.Scratch = ex.AppendVariable(ex.Scratch, c.Variable)
	value := ex.Scratch[start:]
	held := false
	switch c.Kind {
	case unit.ConditionSet:
		held = len(value) > 0 && string(value) != "0"
	case unit.ConditionEqual, unit.ConditionUnequal:
		end := len(ex.Scratch)
		ex.Scratch = ex.AppendTemplate(ex.Scratch, c.Text)
		equal := string(ex.Scratch[start:end]) == string(ex.Scratch[end:])
		held = equal == (c.Kind == unit.ConditionEqual)
	default:
		match := ex.Capture(c.Regexp, value)
		held = match == (c.Kind == unit.ConditionMatch || c.Kind == unit.ConditionFold)
	}
	ex.Scratch = ex.Scratch[:start]
	return held
}

// Capture tells whether an expression matches a text, and makes its groups the
// exchange's captures if it does and has any.
func (ex *Exchange) Capture(re *regexp.Regexp, value []byte) bool {
	if re.NumSubexp() == 0 {
		return re.Match(value)
	}
	at := re.FindSubmatchIndex(value)
	if at == nil {
		return false
	}
	ex.SetCaptures(value, at)
	ex.NameCaptures(re)
	return true
}

// NameCaptures makes variables of the captures that have names in the expression
// which made them, in small letters.
func (ex *Exchange) NameCaptures(re *regexp.Regexp) {
	for i, name := range re.SubexpNames() {
		if name != "" && i <= len(ex.Captures) {
			ex.SetVariable([]byte(strings.ToLower(name)), ex.Captures[i-1])
		}
	}
}

// SetCaptures copies groups of a text, pairs of offsets as package regexp
// gives them, into Captures.
func (ex *Exchange) SetCaptures(value []byte, at []int) {
	ex.Captures = ex.Captures[:0]
	for i := 2; i+1 < len(at); i += 2 {
		var group []byte
		if from := at[i]; from >= 0 {
			// A copy: a script may replace the text while it still wants $1.
			group = append(group, value[from:at[i+1]]...)
		}
		ex.Captures = append(ex.Captures, group)
	}
	ex.Stale = true
}
