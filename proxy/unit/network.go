package unit

import (
	"net/netip"

	"go.yaml.in/yaml/v3"
)

// Network is one thing that clients' addresses are compared with: a network, an
// address, "all", or "unix:" for clients of unix sockets.
type Network struct {
	text   string
	prefix netip.Prefix
}

const (
	everybody = "all"
	unixPeers = "unix:"
)

// ParseNetwork reads a network.
func ParseNetwork(text string) (Network, error) {
	if text == everybody || text == unixPeers {
		return Network{text: text}, nil
	}
	prefix, err := ParseCIDR(text)
	if err != nil {
		err.(*ValueError).Fix = cidrFix + `, "all" or "unix:"`
		if masked, wrong := netip.ParsePrefix(text); wrong == nil && !masked.Addr().Is4In6() {
			err.(*ValueError).Fix = "write " + masked.Masked().String()
		}
		return Network{}, err
	}
	return Network{text: prefix.String(), prefix: prefix}, nil
}

// Contains tells whether a client of this address is meant; of a unix socket
// there is none, and addr is the zero Addr.
func (n Network) Contains(addr netip.Addr) bool {
	switch n.text {
	case everybody:
		return true
	case unixPeers:
		return !addr.IsValid()
	}
	return n.prefix.Contains(addr.Unmap().WithZone(""))
}

// IsZero says that nothing was written.
func (n Network) IsZero() bool { return n.text == "" }

// String is what ParseNetwork reads back.
func (n Network) String() string { return n.text }

// UnmarshalYAML reads a scalar node; the error carries its line and column.
func (n *Network) UnmarshalYAML(node *yaml.Node) error { return unmarshal(n, node, ParseNetwork) }

// MarshalYAML writes String.
func (n Network) MarshalYAML() (any, error) { return n.text, nil }

// Shape describes the text for the JSON Schema.
func (Network) Shape() Shape {
	return Shape{Types: []string{"string"}, Examples: []string{"10.0.0.0/8", "2001:db8::/32", everybody}}
}
