// Package mapping finds texts by texts: variables whose value depends on what
// another one is.
package mapping

import (
	"fmt"
	"sort"
	"strings"

	"perigee/proxy/unit"
)

// Config is one entry of maps: a variable that is looked up when it is used.
// What is looked up is compared with exact, then with hosts, networks, and regex in
// their order; letters count as equal whatever their case, but for regex.
type Config struct {
	// From is the text that is looked up, variables evaluated.
	From unit.Template `yaml:"from"`
	// Exact are values by the whole text.
	Exact map[string]unit.Template `yaml:"exact,omitempty"`
	// Hosts are values by host names: www.example.com, *.example.com (any labels
	// before it), .example.com (both), www.example.* (any label behind it). The
	// longest wins. nginx: hostnames.
	Hosts map[string]unit.Template `yaml:"hosts,omitempty"`
	// Networks are values by the network that an address is in: 10.0.0.0/8, ::1. The
	// smallest wins. They are looked at when neither exact nor hosts know the text.
	// nginx: geo.
	Networks map[string]unit.Template `yaml:"networks,omitempty"`
	// Regex are values by expressions; what they capture may stand in the value.
	Regex []Expression `yaml:"regex,omitempty"`
	// Default is the value of all other texts. Default empty.
	Default unit.Template `yaml:"default,omitempty"`
	// Volatile looks the value up at each use. Default false: the first use of a
	// request decides.
	Volatile bool `yaml:"volatile,omitempty"`
}

// Expression is one entry of regex.
type Expression struct {
	// Match is "~ re", or "~* re" where case does not matter. RE2.
	Match unit.ValuePattern `yaml:"match"`
	// Value is the variable's value, with $1 to $9 and named groups.
	Value unit.Template `yaml:"value,omitempty"`
}

// groups are the names of the expression's groups, in small letters.
func (e *Expression) groups() []string {
	if e.Match.Regexp == nil {
		return nil
	}
	names := e.Match.Regexp.SubexpNames()
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
	return names
}

// Names tells whether a variable of the value is a group of the expression.
func (e *Expression) Names(variable string) bool {
	for _, name := range e.groups() {
		if name == variable && name != "" {
			return true
		}
	}
	return false
}

// Check reports entries that could never be found.
func (c *Config) Check() []unit.Problem {
	var problems []unit.Problem
	report := func(path, message, hint string) {
		problems = append(problems, unit.Problem{Path: path, Message: message, Hint: hint})
	}
	if c.From.IsZero() {
		report("from", "nothing is looked up", "write a text such as $host")
	}
	folded := make(map[string]string)
	for _, key := range sorted(c.Exact) {
		lower := strings.ToLower(key)
		if other, twice := folded[lower]; twice {
			report(unit.Join("exact", key), fmt.Sprintf("%q and %q are the same text here", key, other), "keep one: case does not matter")
		}
		folded[lower] = key
	}
	for _, key := range sorted(c.Hosts) {
		if bare := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(key, "*"), "."), ".*"); bare == "" || strings.ContainsAny(bare, "*: /") || strings.Contains(key, "..") {
			report(unit.Join("hosts", key), fmt.Sprintf("%q is no host name", key), "write www.example.com, *.example.com, .example.com or www.example.*")
		}
	}
	for _, key := range sorted(c.Networks) {
		if _, err := unit.ParseCIDR(key); err != nil {
			v := err.(*unit.ValueError)
			report(unit.Join("networks", key), v.Message(), v.Fix)
		}
	}
	for i := range c.Regex {
		if c.Regex[i].Match.Regexp == nil {
			report(fmt.Sprintf("regex[%d].match", i), "no expression", `write "~ re", or "~* re" where case does not matter`)
		}
	}
	return problems
}

func sorted(m map[string]unit.Template) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// Templates visits every text that the value may be made of.
func (c *Config) Templates(visit func(unit.Template)) {
	visit(c.From)
	visit(c.Default)
	for _, values := range []map[string]unit.Template{c.Exact, c.Hosts, c.Networks} {
		for _, key := range sorted(values) {
			visit(values[key])
		}
	}
	for i := range c.Regex {
		visit(c.Regex[i].Value)
	}
}
