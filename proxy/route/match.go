package route

import (
	"bytes"
	"slices"
	"sort"

	"perigee/proxy/unit"
)

// Request is what a match reads of a request. The slices need to live only
// until the next call. Path is ngx.var.uri: decoded, with dot segments and
// double slashes resolved, starting with a slash. Host is the name that the
// request is for; case, port and a final dot do not matter.
type Request interface {
	// Listener names the listener that the request came by.
	Listener() string
	Host() []byte
	Path() []byte
	Method() []byte
	// Header returns the first field of that name, whatever its case, and
	// whether there is one.
	Header(name string) ([]byte, bool)
	// Query returns the first argument of that name, decoded, and whether there
	// is one.
	Query(name string) ([]byte, bool)
}

// Origin is where a request comes from.
type Origin uint8

// Origins.
const (
	Outside Origin = iota // a client
	Inside                // exec, error_pages, a subrequest: internal rules count
)

// Outcome is how a match ends.
type Outcome uint8

// Outcomes.
const (
	NotFound    Outcome = iota // no rule fits: 404
	Found                      // Result.Rule serves
	WrongMethod                // a rule fits but for the method: 405
	Internal                   // Result.Rule would serve, but not clients: 404
)

// Result is the end of a match.
type Result struct {
	Outcome Outcome
	Rule    int           // index of the rule for Found and Internal, else -1
	Pattern *unit.Pattern // the path pattern that matched; nil for a rule without paths
	// Captures are pairs of offsets into the path, as regexp gives them: the
	// whole match, then each group, -1 for one that took no part. Empty unless
	// Pattern is an expression with groups.
	Captures []int
}

// Match finds the rule that serves a request. captures is memory for
// Result.Captures; it grows when it is too small.
func (t *Table) Match(r Request, origin Origin, captures []int) Result {
	m := matcher{table: t, request: r, path: r.Path(), method: r.Method(), origin: origin}
	return m.run(captures)
}

// Allowed lists the methods, sorted, that would have found a rule where Match
// said WrongMethod. It is for the Allow header of a 405 and may allocate.
func (t *Table) Allowed(r Request, origin Origin) []string {
	var allowed []string
	m := matcher{table: t, request: r, path: r.Path(), method: r.Method(), origin: origin, allowed: &allowed}
	m.run(nil)
	if slices.Contains(allowed, "GET") {
		allowed = append(allowed, "HEAD")
	}
	sort.Strings(allowed)
	return slices.Compact(allowed)
}

// matcher is the state of one match; it lives on the stack.
type matcher struct {
	table       *Table
	request     Request
	path        []byte
	method      []byte
	origin      Origin
	wrongMethod bool
	allowed     *[]string    // collects methods of rules that fit but for theirs
	trace       *explanation // nil but for Explain
}

func (m *matcher) run(captures []int) Result {
	levels := m.table.of(m.request.Listener())
	for i := range levels {
		won := m.level(&levels[i])
		if won == nil {
			continue
		}
		result := Result{Outcome: Found, Rule: won.rule, Pattern: won.pattern}
		if m.table.rules[won.rule].Internal && m.origin == Outside {
			result.Outcome = Internal
			return result
		}
		if p := won.pattern; p != nil && p.Regexp != nil && p.Regexp.NumSubexp() > 0 {
			result.Captures = append(captures[:0], p.Regexp.FindSubmatchIndex(m.path)...)
		}
		return result
	}
	if m.wrongMethod {
		return Result{Outcome: WrongMethod, Rule: -1}
	}
	return Result{Outcome: NotFound, Rule: -1}
}

// level asks the hosts of one priority, the closest name first, then the rules that
// are for any host.
func (m *matcher) level(l *level) *entry {
	if len(l.exact)+len(l.wildcards)+len(l.regexes) > 0 {
		if won := m.hosts(l, normalHost(m.request.Host())); won != nil {
			return won
		}
	}
	if l.any == nil {
		return nil
	}
	m.at(unit.HostPattern{}, nil)
	return m.paths(l.any)
}

func (m *matcher) hosts(l *level, host []byte) *entry {
	if p := l.exact[string(host)]; p != nil {
		m.at(unit.HostPattern{Kind: unit.HostExact}, host)
		if won := m.paths(p); won != nil {
			return won
		}
	}
	if len(l.wildcards) > 0 {
		// The longest wildcard is the one that starts at the leftmost dot.
		for rest := host; ; {
			dot := bytes.IndexByte(rest, '.')
			if dot < 0 {
				break
			}
			if p := l.wildcards[string(rest[dot:])]; p != nil && len(rest[dot:]) < len(host) {
				m.at(unit.HostPattern{Kind: unit.HostWildcard}, rest[dot:])
				if won := m.paths(p); won != nil {
					return won
				}
			}
			rest = rest[dot+1:]
		}
	}
	for i := range l.regexes {
		if l.regexes[i].pattern.Regexp.Match(host) {
			m.at(l.regexes[i].pattern, nil)
			if won := m.paths(l.regexes[i].paths); won != nil {
				return won
			}
		}
	}
	return nil
}

// paths is nginx's choice of a location among the rules of one host.
func (m *matcher) paths(p *paths) *entry {
	longest, exact := p.root.find(m.path)
	if exact != nil {
		for i := range exact.exact {
			if m.fits(&exact.exact[i]) {
				return m.win(&exact.exact[i], nil)
			}
		}
	}
	var remembered *entry
	for n := longest; n != nil && remembered == nil; n = n.above {
		for i := range n.prefixes {
			if m.fits(&n.prefixes[i]) {
				remembered = &n.prefixes[i]
				break
			}
		}
	}
	if remembered != nil && remembered.pattern != nil && remembered.pattern.Kind == unit.FinalPrefix {
		return m.win(remembered, nil)
	}
	for i := range p.regexes {
		e := &p.regexes[i]
		if !e.pattern.Regexp.Match(m.path) {
			m.missed(e)
			continue
		}
		if m.fits(e) {
			return m.win(e, remembered)
		}
	}
	if remembered == nil {
		return nil
	}
	return m.win(remembered, nil)
}

// fits checks what a rule asks besides host and path.
func (m *matcher) fits(e *entry) bool {
	rule := &m.table.rules[e.rule]
	for i := range rule.Headers {
		value, there := m.request.Header(rule.Headers[i].Name)
		if !rule.Headers[i].holds(value, there) {
			m.lost(e, "header", &rule.Headers[i], value, there)
			return false
		}
	}
	for i := range rule.Query {
		value, there := m.request.Query(rule.Query[i].Name)
		if !rule.Query[i].holds(value, there) {
			m.lost(e, "query argument", &rule.Query[i], value, there)
			return false
		}
	}
	if rule.allows(m.method) {
		return true
	}
	// What an internal rule would have allowed is not for clients to know.
	if !rule.Internal || m.origin == Inside {
		m.wrongMethod = true
		if m.allowed != nil {
			*m.allowed = append(*m.allowed, rule.Methods...)
		}
	}
	m.lostMethod(e, rule)
	return false
}

func (p *Predicate) holds(value []byte, there bool) bool {
	if !there {
		return p.Value.MatchAbsent()
	}
	return p.Value.Match(value)
}

// allows says whether the rule takes the method. HEAD is GET without a body
// (RFC 9110 section 9.3.2), so a rule for GET takes it, as nginx's limit_except
// does.
func (r *Rule) allows(method []byte) bool {
	if len(r.Methods) == 0 {
		return true
	}
	for _, allowed := range r.Methods {
		if string(method) == allowed || allowed == "GET" && string(method) == "HEAD" {
			return true
		}
	}
	return false
}

// normalHost is host in lower case, without port and final dot. Only capitals
// need a copy: browsers send none. (A buffer on the stack would not do: package
// regexp keeps what it compares in a pool, so the buffer would move to the
// heap for every request.)
func normalHost(host []byte) []byte {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	if n := len(host); n > 0 && host[n-1] == '.' {
		host = host[:n-1]
	}
	for _, c := range host {
		if c >= 'A' && c <= 'Z' {
			return bytes.ToLower(host)
		}
	}
	return host
}
