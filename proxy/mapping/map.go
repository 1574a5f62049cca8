package mapping

import (
	"bytes"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"perigee/proxy/unit"
)

// Map is a Config in the form that is searched. It never changes.
type Map struct {
	// From is what is looked up; Volatile as in Config.
	From     unit.Template
	Volatile bool

	exact    map[string]Value
	heads    map[string]Value // ".example.com", of hosts that begin with anything
	tails    map[string]Value // "www.example.", of hosts that end in anything
	hosts    bool             // a dot at the end does not count
	networks map[netip.Prefix]Value
	lengths  [2][]int // of networks, IPv4's and IPv6's, the longest first
	regex    []expression
	fallback Value
}

type expression struct {
	regexp *regexp.Regexp
	value  Value
}

// Value is what was found.
type Value []Part

// Part is a literal text, a variable, or a group of the expression that matched.
type Part struct {
	Literal, Variable string
	Group             int // 0: it is no group
}

// Set are maps by the names of their variables.
type Set map[string]*Map

// New makes the map of a checked configuration.
func New(c *Config) *Map {
	m := &Map{
		From: c.From, Volatile: c.Volatile, fallback: value(c.Default, nil), hosts: len(c.Hosts) > 0,
		exact: make(map[string]Value), heads: make(map[string]Value), tails: make(map[string]Value),
	}
	for key, text := range c.Hosts {
		m.addHost(strings.ToLower(key), value(text, nil))
	}
	for key, text := range c.Exact {
		m.exact[strings.ToLower(key)] = value(text, nil)
	}
	m.addNetworks(c.Networks)
	for i := range c.Regex {
		e := &c.Regex[i]
		m.regex = append(m.regex, expression{e.Match.Regexp, value(e.Value, e.groups())})
	}
	return m
}

func (m *Map) addHost(key string, v Value) {
	switch {
	case strings.HasPrefix(key, "*."):
		m.heads[key[1:]] = v
	case strings.HasPrefix(key, "."):
		m.heads[key] = v
		m.exact[key[1:]] = v
	case strings.HasSuffix(key, ".*"):
		m.tails[key[:len(key)-1]] = v
	default:
		m.exact[key] = v
	}
}

// value splits a text whose variables may be groups of an expression.
func value(t unit.Template, groups []string) Value {
	var v Value
	for _, part := range t.Parts() {
		p := Part{Literal: part.Literal, Variable: part.Variable}
		if groups != nil && len(p.Variable) == 1 && p.Variable[0] >= '1' && p.Variable[0] <= '9' {
			p.Group = int(p.Variable[0] - '0')
		}
		for i, name := range groups {
			if name != "" && name == p.Variable {
				p.Group = i
			}
		}
		v = append(v, p)
	}
	return v
}

// Find looks a text up. groups are offsets in it as package regexp gives them,
// where an expression matched; nil otherwise. It does not allocate for texts
// shorter than 128 bytes, unless expressions are asked.
func (m *Map) Find(text []byte) (v Value, groups []int) {
	var short [128]byte
	key := append(short[:0], text...)
	for i, c := range key {
		if c >= 'A' && c <= 'Z' {
			key[i] = c | 0x20
		}
	}
	if m.hosts {
		key = bytes.TrimSuffix(key, []byte("."))
	}
	if v, ok := m.exact[string(key)]; ok {
		return v, nil
	}
	if v, ok := m.wildcard(key); ok {
		return v, nil
	}
	if len(m.networks) > 0 {
		if v, ok := m.network(text); ok {
			return v, nil
		}
	}
	for i := range m.regex {
		if groups := m.regex[i].regexp.FindSubmatchIndex(text); groups != nil {
			return m.regex[i].value, groups
		}
	}
	return m.fallback, nil
}

// network finds the smallest network that an address is in.
func (m *Map) network(text []byte) (Value, bool) {
	addr, err := netip.ParseAddr(string(text))
	if err != nil {
		return nil, false
	}
	addr = addr.Unmap().WithZone("")
	for _, bits := range m.lengths[family(addr)] {
		prefix, _ := addr.Prefix(bits)
		if v, ok := m.networks[prefix]; ok {
			return v, true
		}
	}
	return nil, false
}

func family(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}

// addNetworks notes networks and how long their prefixes are: an address is
// looked up once for each length.
func (m *Map) addNetworks(networks map[string]unit.Template) {
	m.networks = make(map[netip.Prefix]Value, len(networks))
	for key, text := range networks {
		prefix, err := unit.ParseCIDR(key)
		if err != nil {
			continue // Check has refused it
		}
		m.networks[prefix] = value(text, nil)
		lengths := &m.lengths[family(prefix.Addr())]
		if !slices.Contains(*lengths, prefix.Bits()) {
			*lengths = append(*lengths, prefix.Bits())
		}
	}
	for _, lengths := range m.lengths {
		slices.SortFunc(lengths, func(a, b int) int { return b - a })
	}
}

// wildcard finds the longest part of a host that is known.
func (m *Map) wildcard(host []byte) (Value, bool) {
	if len(m.heads) > 0 {
		for i := 1; i < len(host); i++ {
			if host[i] == '.' {
				if v, ok := m.heads[string(host[i:])]; ok {
					return v, true
				}
			}
		}
	}
	if len(m.tails) > 0 {
		for i := len(host) - 1; i > 0; i-- {
			if host[i-1] == '.' {
				if v, ok := m.tails[string(host[:i])]; ok {
					return v, true
				}
			}
		}
	}
	return nil, false
}
