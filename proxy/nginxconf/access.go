package nginxconf

import (
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"perigee/proxy/unit"
)

// peerRule is an allow or a deny with its network.
type peerRule struct{ verdict, network string }

// access carries over who may ask. False: the directive is about something
// else.
func (m *importer) access(d *directive, s *scope) bool {
	switch d.name {
	case "allow", "deny":
	case "set_real_ip_from", "real_ip_header", "real_ip_recursive":
		m.realIP(d)
		return true
	case "access_by_lua_no_postpone":
		if d.arg(0) == "on" {
			m.leave(d, "allow and deny are asked before access scripts")
		}
		return true
	case "satisfy":
		if d.arg(0) != "all" {
			m.leave(d, "a client must satisfy all that a route asks of it")
		}
		return true
	default:
		return false
	}
	text := d.arg(0)
	if p, err := netip.ParsePrefix(text); err == nil {
		text = p.Masked().String() // nginx takes the bits right of the mask for nothing
	}
	n, err := unit.ParseNetwork(text)
	if err != nil {
		m.leave(d, "%v", err)
		return true
	}
	if s.own != nil && !s.own["allow"] {
		s.peers, s.own["allow"] = nil, true
	}
	text = strings.TrimSuffix(strings.TrimSuffix(n.String(), "/32"), "/128")
	s.peers = append(s.peers[:len(s.peers):len(s.peers)], peerRule{d.name, text})
	return true
}

// realIP carries over whose word on clients' addresses is believed, which is one
// for all servers.
func (m *importer) realIP(d *directive) {
	text := d.arg(0)
	switch d.name {
	case "real_ip_recursive":
		if text != "on" {
			m.leave(d, "addresses of trusted proxies are always passed over")
		}
		return
	case "real_ip_header":
		m.realIPFrom = strings.ToLower(text)
		if m.realIPFrom != "x-forwarded-for" {
			m.leave(d, "trusted proxies are believed in X-Forwarded-For alone")
		}
		return
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		text = p.Masked().String()
	}
	if _, err := unit.ParseCIDR(text); err != nil {
		m.leave(d, "%v", err)
		return
	}
	if !slices.Contains(m.out.trusted, text) {
		m.out.trusted = append(m.out.trusted, text)
		m.trust = append(m.trust, d)
	}
}

// believed takes trusted proxies back if they speak in another field than
// X-Forwarded-For: that one would be anybody's word.
func (m *importer) believed() {
	if m.realIPFrom == "x-forwarded-for" {
		return
	}
	for _, d := range m.trust {
		m.leave(d, "trusted proxies are believed in X-Forwarded-For alone, which real_ip_header does not name")
	}
	m.out.trusted = nil
}

// peers adds the rules; neighbours of one verdict become one rule.
func (m mapping) peers(rules []peerRule) {
	all := &yaml.Node{Kind: yaml.SequenceNode}
	var networks []string
	for i, r := range rules {
		networks = append(networks, r.network)
		if i+1 < len(rules) && rules[i+1].verdict == r.verdict {
			continue
		}
		one := newMapping()
		one.node.Style = yaml.FlowStyle
		one.add(r.verdict, flow(networks))
		all.Content = append(all.Content, one.node)
		networks = nil
	}
	m.add("ip", all)
}
