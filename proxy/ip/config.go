// Package ip lets requests in by their clients' addresses.
package ip

import (
	"fmt"
	"net/netip"

	"perigee/proxy/unit"
)

// Rules are asked in their order.
type Rules []Rule

// Rule lets the clients of some networks in, or keeps them out.
type Rule struct {
	// Allow are networks, addresses, all, or unix: (the clients of unix sockets),
	// that may ask.
	Allow []unit.Network `yaml:"allow,omitempty"`
	// Deny are those that may not.
	Deny []unit.Network `yaml:"deny,omitempty"`
}

// Check reports rules that say nothing, or two things.
func (r Rules) Check() []unit.Problem {
	var problems []unit.Problem
	for i, rule := range r {
		path := fmt.Sprintf("[%d]", i)
		if (len(rule.Allow) == 0) == (len(rule.Deny) == 0) {
			problems = append(problems, unit.Problem{
				Path: path, Message: "a rule is one of allow and deny", Hint: "write {allow: [10.0.0.0/8]} or {deny: [all]}",
			})
		}
	}
	return problems
}

// Allows tells whether a client may ask; one of a unix socket has no address.
func (r Rules) Allows(client netip.Addr) bool {
	for i := range r {
		for _, n := range r[i].Allow {
			if n.Contains(client) {
				return true
			}
		}
		for _, n := range r[i].Deny {
			if n.Contains(client) {
				return false
			}
		}
	}
	return true
}
