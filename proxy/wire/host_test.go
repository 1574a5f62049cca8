package wire

import (
	"net/netip"
	"strings"
	"testing"
)

func TestValidHost(t *testing.T) {
	good := []string{
		"a", "a.test", "A.TEST", "a.test.", "a_b.test", "xn--bcher-kva.test", "localhost:8080",
		"a:", "a:0", "a:65535", "192.0.2.1", "192.0.2.1:80", "999.1.2.3", "%41.test", "a%2Db",
		"!$&'()*+,;=~", "[::]", "[::1]:443", "[2001:db8::1]", "[1:2:3:4:5:6:7:8]",
		"[1:2:3:4:5:6:7::]", "[::2:3:4:5:6:7:8]", "[::ffff:192.0.2.1]", "[1:2:3:4:5:6:192.0.2.1]",
	}
	bad := []string{
		"", ":", ":80", "a b", "a/b", "a?b", "a#b", "a@b", "a\\b", "a\"b", "<a>", "a|b", "a^b", "a`b", "{a}",
		"a:80x", "a:-1", "a:65536", "a:000080", "a:b", "a:1:2", "a%", "a%4", "a%4g", "\xc3\xa9", "a\x00", "a\x7f",
		"[", "]", "[]", "[]:80", "[:]", "[:::]", "[1]", "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]",
		"[1::2::3]", "[1:2:3:4:5:6:7:8::]", "[12345::]", "[g::]", "[::1%25eth0]", "[v1.a]", "[::1", "::1", "::1]",
		"[::1]80", "[::1]:x", "[::1]]", "a[::1]", "[::256.0.2.1]", "[::01.0.2.1]", "[::1.2.3]", "[::1.2.3.4.5]",
		"[::1.2.3.4:5]", "[1:2:3:4:5:6:7:192.0.2.1]", "[192.0.2.1]", "[1:]", "[:1]", "[1::2:]", "[::1.2.3.]",
	}
	for _, h := range good {
		if !ValidHost([]byte(h)) {
			t.Errorf("%q is refused", h)
		}
	}
	for _, h := range bad {
		if ValidHost([]byte(h)) {
			t.Errorf("%q is taken", h)
		}
	}
}

func TestSplitHost(t *testing.T) {
	cases := [][3]string{
		{"a", "a", ""}, {"a:80", "a", "80"}, {"a:", "a", ""},
		{"[::1]", "[::1]", ""}, {"[::1]:80", "[::1]", "80"},
	}
	for _, c := range cases {
		host, port := SplitHost([]byte(c[0]))
		if string(host) != c[1] || string(port) != c[2] {
			t.Errorf("%q is cut into %q and %q", c[0], host, port)
		}
	}
}

// The address in brackets is what net/netip takes for IPv6 without a zone.
func FuzzValidIPv6(f *testing.F) {
	for _, s := range []string{"::", "::1", "1:2:3:4:5:6:7:8", "1::8", "::1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1:", "::1::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		addr, err := netip.ParseAddr(s)
		want := err == nil && addr.Is6() && !strings.Contains(s, "%")
		if got := validIPv6([]byte(s)); got != want {
			t.Errorf("%q: %v, net/netip says %v (%v)", s, got, want, err)
		}
	})
}
