package route

import (
	"fmt"
	"strings"

	"perigee/proxy/unit"
)

// Step is one candidate that a match looked at.
type Step struct {
	Rule   int
	Name   string // of the rule
	Host   string // the host pattern under which it was found; "" for every host
	Path   string // the path pattern; "" for every path
	Won    bool
	Reason string // why it won or lost, for people
}

// explanation collects the steps of one match.
type explanation struct {
	host  string
	steps []Step
}

// Explain is Match with its reasons: every candidate whose host fits and whose
// path fits or was compared as an expression, in the order of the comparisons.
// It allocates; it is for people.
func (t *Table) Explain(r Request, origin Origin) (Result, []Step) {
	trace := explanation{}
	m := matcher{table: t, request: r, path: r.Path(), method: r.Method(), origin: origin, trace: &trace}
	result := m.run(nil)
	return result, trace.steps
}

// at notes the host pattern whose rules are looked at from here. text is the
// part of the request's host that it matched.
func (m *matcher) at(h unit.HostPattern, text []byte) {
	if m.trace == nil {
		return
	}
	if text != nil {
		h.Text = string(text)
	}
	m.trace.host = h.String()
}

func (m *matcher) step(e *entry, won bool, reason string) {
	s := Step{Rule: e.rule, Name: m.table.rules[e.rule].Name, Host: m.trace.host, Won: won, Reason: reason}
	if e.pattern != nil {
		s.Path = e.pattern.String()
	}
	m.trace.steps = append(m.trace.steps, s)
}

// win notes the winner and, before it, the prefix that it beat.
func (m *matcher) win(e, beaten *entry) *entry {
	if m.trace == nil {
		return e
	}
	if beaten != nil {
		m.step(beaten, false, "longest prefix, but a regular expression goes before it")
	}
	reason := "no path is asked for, and no prefix or expression fits"
	if e.pattern != nil {
		switch e.pattern.Kind {
		case unit.Exact:
			reason = "exact path"
		case unit.FinalPrefix:
			reason = "longest prefix, final: expressions are not asked"
		case unit.Prefix:
			reason = "longest prefix, and no expression fits"
		default:
			reason = "first expression that matches"
		}
	}
	if m.table.rules[e.rule].Internal && m.origin == Outside {
		reason += "; but it is internal, so a client gets 404"
	}
	m.step(e, true, reason)
	return e
}

// missed notes an expression that does not match the path.
func (m *matcher) missed(e *entry) {
	if m.trace != nil {
		m.step(e, false, "expression does not match the path")
	}
}

// lost notes a predicate that does not hold.
func (m *matcher) lost(e *entry, what string, p *Predicate, value []byte, there bool) {
	if m.trace == nil {
		return
	}
	found := "there is none"
	if there {
		found = fmt.Sprintf("it is %q", value)
	}
	m.step(e, false, fmt.Sprintf("%s %s must be %q, but %s", what, p.Name, p.Value.String(), found))
}

// lostMethod notes a method that the rule does not take.
func (m *matcher) lostMethod(e *entry, rule *Rule) {
	if m.trace != nil {
		m.step(e, false, fmt.Sprintf("method %s is not one of %s", m.method, strings.Join(rule.Methods, ", ")))
	}
}
