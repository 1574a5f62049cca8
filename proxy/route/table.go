package route

import (
	"slices"
	"sort"

	"perigee/proxy/unit"
)

// Rule says which requests a route takes. See the package comment for the order
// among rules.
type Rule struct {
	Name      string
	Listeners []string           // empty: every listener
	Hosts     []unit.HostPattern // empty: every host
	Paths     []unit.Pattern     // empty: every path
	Methods   []string           // empty: every method; GET includes HEAD
	Headers   []Predicate        // all must hold
	Query     []Predicate        // all must hold

	Priority int  // higher goes first
	Internal bool // not for requests from outside
}

// Predicate asks for the value of a header or a query argument.
type Predicate struct {
	Name  string
	Value unit.ValuePattern
}

// Predicates orders a mapping by name, so that explanations are the same each
// time.
func Predicates(values map[string]unit.ValuePattern) []Predicate {
	list := make([]Predicate, 0, len(values))
	for name, value := range values {
		list = append(list, Predicate{name, value})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// Table finds rules. It is immutable and may be used by any number of
// goroutines.
type Table struct {
	rules []Rule
	every []level            // of the rules for every listener
	only  map[string][]level // by listener that rules name: theirs and those for every one
	names map[string]int
}

// level holds the rules of one priority by host.
type level struct {
	exact     map[string]*paths
	wildcards map[string]*paths // by ".example.com"
	regexes   []hostRegex       // in file order
	any       *paths
}

type hostRegex struct {
	pattern unit.HostPattern
	paths   *paths
}

// entry is one way into a rule: one of its paths, or nil for all of them.
type entry struct {
	rule    int
	pattern *unit.Pattern
}

// NewTable builds a table. It keeps rules, which the caller must not change
// afterwards. Of rules with the same name ByName finds the first.
func NewTable(rules []Rule) *Table {
	t := &Table{rules: rules, names: make(map[string]int, len(rules))}
	order := make([]int, len(rules))
	for i := range order {
		order[i] = i
		if _, twice := t.names[rules[i].Name]; !twice {
			t.names[rules[i].Name] = i
		}
	}
	sort.SliceStable(order, func(a, b int) bool { return rules[order[a]].Priority > rules[order[b]].Priority })
	t.every = levels(rules, order, "")
	t.only = make(map[string][]level)
	for i := range rules {
		for _, listener := range rules[i].Listeners {
			if t.only[listener] == nil {
				t.only[listener] = levels(rules, order, listener)
			}
		}
	}
	return t
}

// levels lays out the rules that a listener's requests are offered.
func levels(rules []Rule, order []int, listener string) (list []level) {
	var former *Rule
	for _, i := range order {
		rule := &rules[i]
		if len(rule.Listeners) > 0 && !slices.Contains(rule.Listeners, listener) {
			continue
		}
		if former == nil || former.Priority != rule.Priority {
			list = append(list, level{exact: make(map[string]*paths), wildcards: make(map[string]*paths)})
		}
		former = rule
		list[len(list)-1].add(i, rule)
	}
	for i := range list {
		list[i].finish()
	}
	return list
}

// of are the levels for a listener's requests.
func (t *Table) of(listener string) []level {
	if len(t.only) > 0 {
		if list, named := t.only[listener]; named {
			return list
		}
	}
	return t.every
}

func (l *level) add(index int, rule *Rule) {
	if len(rule.Hosts) == 0 {
		if l.any == nil {
			l.any = &paths{}
		}
		l.any.add(index, rule)
	}
	for i := range rule.Hosts {
		// The same name twice in one rule must not double its entries.
		again := slices.ContainsFunc(rule.Hosts[:i], func(h unit.HostPattern) bool {
			return h.Kind == rule.Hosts[i].Kind && h.Text == rule.Hosts[i].Text
		})
		if !again {
			l.host(rule.Hosts[i]).add(index, rule)
		}
	}
}

// host returns the paths of a host pattern, made when they are not there yet.
func (l *level) host(h unit.HostPattern) *paths {
	switch h.Kind {
	case unit.HostExact:
		return pathsIn(l.exact, h.Text)
	case unit.HostWildcard:
		return pathsIn(l.wildcards, h.Text)
	}
	for _, known := range l.regexes {
		if known.pattern.Text == h.Text {
			return known.paths
		}
	}
	l.regexes = append(l.regexes, hostRegex{h, &paths{}})
	return l.regexes[len(l.regexes)-1].paths
}

func pathsIn(m map[string]*paths, key string) *paths {
	if m[key] == nil {
		m[key] = &paths{}
	}
	return m[key]
}

// finish links the trees once all rules are in them.
func (l *level) finish() {
	for _, p := range l.exact {
		p.root.link(nil)
	}
	for _, p := range l.wildcards {
		p.root.link(nil)
	}
	for _, h := range l.regexes {
		h.paths.root.link(nil)
	}
	if l.any != nil {
		l.any.root.link(nil)
	}
}

// paths holds the rules of one host pattern by path.
type paths struct {
	root    node
	regexes []entry // in file order
}

func (p *paths) add(index int, rule *Rule) {
	if len(rule.Paths) == 0 {
		p.root.prefixes = append(p.root.prefixes, entry{rule: index})
	}
	for i := range rule.Paths {
		pattern := &rule.Paths[i]
		e := entry{rule: index, pattern: pattern}
		switch pattern.Kind {
		case unit.Regex, unit.RegexFold:
			p.regexes = append(p.regexes, e)
		case unit.Exact:
			n := p.root.insert(pattern.Text)
			n.exact = append(n.exact, e)
		default:
			n := p.root.insert(pattern.Text)
			n.prefixes = append(n.prefixes, e)
		}
	}
}

// Len is the number of rules.
func (t *Table) Len() int { return len(t.rules) }

// ByName finds a rule by its name, internal ones included.
func (t *Table) ByName(name string) (index int, ok bool) {
	index, ok = t.names[name]
	return index, ok
}
