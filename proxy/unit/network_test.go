package unit

import (
	"net/netip"
	"testing"
)

func TestParseNetwork(t *testing.T) {
	check(t, ParseNetwork, []read{
		{"10.0.0.0/8", "10.0.0.0/8", ""}, {"192.0.2.1", "192.0.2.1/32", ""}, {"::1", "::1/128", ""},
		{"all", "all", ""}, {"unix:", "unix:", ""},
		{"10.0.0.1/8", "", "write 10.0.0.0/8"}, {"ALL", "", `"all" or "unix:"`}, {"", "", "neither"},
	})
}

func TestNetworkContains(t *testing.T) {
	for _, c := range []struct {
		network, addr string
		want          bool
	}{
		{"10.0.0.0/8", "10.1.2.3", true}, {"10.0.0.0/8", "11.0.0.0", false}, {"10.0.0.0/8", "::ffff:10.1.2.3", true},
		{"10.0.0.0/8", "", false}, {"2001:db8::/32", "2001:db8::1%eth0", true}, {"all", "::1", true}, {"all", "", true},
		{"unix:", "", true}, {"unix:", "127.0.0.1", false},
	} {
		n, err := ParseNetwork(c.network)
		if err != nil {
			t.Fatal(err)
		}
		var addr netip.Addr
		if c.addr != "" {
			addr = netip.MustParseAddr(c.addr)
		}
		if got := n.Contains(addr); got != c.want {
			t.Errorf("%s contains %q: %v, want %v", c.network, c.addr, got, c.want)
		}
	}
}
