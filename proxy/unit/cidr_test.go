package unit

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestParseCIDR(t *testing.T) {
	check(t, ParseCIDR, []read{
		{"10.0.0.0/8", "10.0.0.0/8", ""}, {"192.0.2.1", "192.0.2.1/32", ""}, {"2001:db8::/32", "2001:db8::/32", ""}, {"::1", "::1/128", ""},
		{"0.0.0.0/0", "0.0.0.0/0", ""}, {"::ffff:10.0.0.1", "10.0.0.1/32", ""},
		{"10.0.0.1/8", "", "write 10.0.0.0/8"}, {"", "", "neither"}, {"localhost", "", "neither"}, {"10.0.0.0/33", "", "neither"},
		{"fe80::1%eth0", "", "neither"}, {"::ffff:10.0.0.0/104", "", "IPv6 clothes"}, {"010.0.0.0/8", "", "neither"},
	})
}

func TestCIDRSetContains(t *testing.T) {
	set, err := ParseCIDRSet("10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "192.0.2.8/31", "2001:db8::/32", "203.0.113.0/24")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"10.0.0.0": true, "10.255.255.255": true, "9.255.255.255": false, "11.0.0.0": false, "10.1.2.3": true,
		"192.0.2.6": false, "192.0.2.7": true, "192.0.2.9": true, "192.0.2.10": false, "203.0.113.255": true,
		"2001:db8::1": true, "2001:db9::": false, "::ffff:10.2.3.4": true, "::ffff:11.2.3.4": false, "::": false,
		"255.255.255.255": false, "2001:db8::1%eth0": true,
	} {
		if got := set.Contains(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if (CIDRSet{}).Contains(netip.MustParseAddr("10.0.0.1")) || set.Contains(netip.Addr{}) {
		t.Error("the empty set, or no address, contains something")
	}
	if set.IsZero() || !(CIDRSet{}).IsZero() || len(set.Prefixes()) != 6 {
		t.Error("IsZero or Prefixes is wrong")
	}
	if _, err := ParseCIDRSet("10.0.0.0/8", "x"); err == nil {
		t.Error("a bad network was taken")
	}
	if n := testing.AllocsPerRun(100, func() { set.Contains(netip.MustParseAddr("192.0.2.9")) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCIDRSetAgreesWithItsNetworks(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var texts []string
		for range random.IntN(12) {
			addr := netip.AddrFrom4([4]byte{10, byte(random.IntN(3)), byte(random.IntN(256)), byte(random.IntN(256))})
			texts = append(texts, netip.PrefixFrom(addr, 8+random.IntN(25)).Masked().String())
		}
		set, err := ParseCIDRSet(texts...)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			addr := netip.AddrFrom4([4]byte{10, byte(random.IntN(4)), byte(random.IntN(256)), byte(random.IntN(256))})
			want := false
			for _, prefix := range set.Prefixes() {
				want = want || prefix.Contains(addr)
			}
			if got := set.Contains(addr); got != want {
				t.Fatalf("%v contains %v: %v, want %v", set, addr, got, want)
			}
		}
	}
}
