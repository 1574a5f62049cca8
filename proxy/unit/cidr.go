package unit

import (
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// CIDRSet is a set of IP networks, written as a list of "10.0.0.0/8",
// "2001:db8::/32" or single addresses. The zero value is the empty set.
//
// Lookup is a binary search over disjoint address ranges, so a set of thousands
// of networks costs a dozen comparisons and no allocation.
type CIDRSet struct {
	prefixes []netip.Prefix // as written
	ranges   []addressRange // sorted, disjoint; IPv4 sorts before IPv6
}

type addressRange struct{ first, last netip.Addr }

const cidrFix = "write a network such as 10.0.0.0/8 or an address such as 192.0.2.1"

// ParseCIDRSet reads one text per network.
func ParseCIDRSet(texts ...string) (CIDRSet, error) {
	var set CIDRSet
	for _, text := range texts {
		prefix, err := ParseCIDR(text)
		if err != nil {
			return CIDRSet{}, err
		}
		set.prefixes = append(set.prefixes, prefix)
	}
	set.build()
	return set, nil
}

// ParseCIDR reads a network or an address (a network of one). Bits set to the
// right of the mask are refused: "10.1.2.3/8" is more often a slip than a wish.
func ParseCIDR(text string) (netip.Prefix, error) {
	fail := func(problem, fix string) (netip.Prefix, error) {
		return netip.Prefix{}, &ValueError{Kind: "network", Value: text, Problem: problem, Fix: fix}
	}
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return fail("is neither a network nor an address", cidrFix)
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return fail("is neither a network nor an address", cidrFix)
	}
	if prefix.Addr().Is4In6() {
		return fail("is an IPv4 network in IPv6 clothes", "write the IPv4 network itself")
	}
	if masked := prefix.Masked(); masked != prefix {
		return fail("has address bits right of its mask", "write "+masked.String())
	}
	return prefix, nil
}

// build sorts the networks' ranges and merges those that touch or overlap.
func (s *CIDRSet) build() {
	all := make([]addressRange, 0, len(s.prefixes))
	for _, prefix := range s.prefixes {
		all = append(all, addressRange{prefix.Addr(), lastAddr(prefix)})
	}
	slices.SortFunc(all, func(a, b addressRange) int { return a.first.Compare(b.first) })
	s.ranges = nil
	for _, r := range all {
		if n := len(s.ranges); n > 0 && r.first.Compare(s.ranges[n-1].last) <= 0 {
			if r.last.Compare(s.ranges[n-1].last) > 0 {
				s.ranges[n-1].last = r.last
			}
			continue
		}
		s.ranges = append(s.ranges, r)
	}
}

func lastAddr(prefix netip.Prefix) netip.Addr {
	raw := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(raw)
	return last
}

// Contains says whether addr is in one of the networks. An IPv4 address in
// IPv6 form (::ffff:10.0.0.1) counts as IPv4, which is how a dual-stack
// listener reports IPv4 clients.
func (s CIDRSet) Contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	low, high := 0, len(s.ranges)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if s.ranges[mid].last.Compare(addr) < 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < len(s.ranges) && s.ranges[low].first.Compare(addr) <= 0
}

// IsZero says whether the set is empty.
func (s CIDRSet) IsZero() bool { return len(s.prefixes) == 0 }

// Prefixes lists the networks as written. The caller must not change it.
func (s CIDRSet) Prefixes() []netip.Prefix { return s.prefixes }

// Texts lists the networks as ParseCIDRSet reads them back.
func (s CIDRSet) Texts() []string {
	texts := make([]string, len(s.prefixes))
	for i, prefix := range s.prefixes {
		texts[i] = prefix.String()
	}
	return texts
}

// String joins the networks with commas.
func (s CIDRSet) String() string { return strings.Join(s.Texts(), ",") }

// UnmarshalYAML reads a list of scalars (or one scalar); the error carries the
// line and column of the item that is wrong.
func (s *CIDRSet) UnmarshalYAML(node *yaml.Node) error {
	items := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		items = node.Content
	}
	var set CIDRSet
	for _, item := range items {
		var prefix netip.Prefix
		if err := unmarshal(&prefix, item, ParseCIDR); err != nil {
			return err
		}
		set.prefixes = append(set.prefixes, prefix)
	}
	set.build()
	*s = set
	return nil
}

// MarshalYAML writes the networks as written.
func (s CIDRSet) MarshalYAML() (any, error) { return s.Texts(), nil }

// Shape describes the list for the JSON Schema.
func (CIDRSet) Shape() Shape {
	return Shape{Types: []string{"array"}, Items: true, Examples: []string{"10.0.0.0/8", "2001:db8::/32"}}
}
