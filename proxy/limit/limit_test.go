package limit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"perigee/proxy/exchange"
	"perigee/proxy/unit"
)

// asked is an exchange of a request with these fields.
func asked(t testing.TB, client string, fields ...string) *exchange.Exchange {
	t.Helper()
	ex := exchange.Acquire(nil, &exchange.Conn{})
	t.Cleanup(func() { exchange.Release(ex) })
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		ex.AddRequestHeader(name, []byte(value))
	}
	if client != "" {
		ex.Record.Client = netip.AddrPortFrom(netip.MustParseAddr(client), 1)
	}
	ex.Record.Route, ex.Host, ex.Path = "r", []byte("h.test"), []byte("/p")
	ex.Route = &exchange.Route{Name: "r"}
	return ex
}

func keysOf(t testing.TB, r Rule, parts ...string) keys {
	t.Helper()
	for _, p := range parts {
		r.Key = append(r.Key, KeyPart{Text: unit.MustTemplate(p)})
	}
	k, err := newKeys(&r, 0)
	if err != nil {
		t.Fatal(err)
	}
	k.conceal([]string{"x-partner"})
	return k
}

func TestKeys(t *testing.T) {
	bits := func(n int) *int { return &n }
	for _, c := range []struct {
		name    string
		rule    Rule
		parts   []string
		ex      *exchange.Exchange
		text    string
		missing bool
	}{
		{"none", Rule{}, nil, asked(t, ""), "all", false},
		{"ip", Rule{}, []string{"ip"}, asked(t, "192.0.2.7"), "192.0.2.7", false},
		{"ip in ipv6", Rule{}, []string{"ip"}, asked(t, "::ffff:192.0.2.7"), "192.0.2.7", false},
		{"ipv4 network", Rule{IPv4Prefix: bits(24)}, []string{"ip"}, asked(t, "192.0.2.7"), "192.0.2.0/24", false},
		{"ipv6 network", Rule{}, []string{"ip"}, asked(t, "2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64", false},
		{"ipv6 in 48 bits", Rule{IPv6Prefix: bits(48)}, []string{"ip"}, asked(t, "2001:db8:1:2::1"), "2001:db8:1::/48", false},
		{"ipv6 in 60 bits", Rule{IPv6Prefix: bits(60)}, []string{"ip"}, asked(t, "2001:db8:1:2::1"), "2001:db8:1::/60", false},
		{"all of ipv6", Rule{IPv6Prefix: bits(128)}, []string{"ip"}, asked(t, "2001:db8::9"), "2001:db8::9/128", false},
		{"unix socket", Rule{}, []string{"ip"}, asked(t, ""), "-", true},
		{"route and header", Rule{}, []string{"route", "header:X-Tenant"}, asked(t, "", "x-tenant=acme"), "r acme", false},
		{"no header", Rule{}, []string{"route", "header:X-Tenant"}, asked(t, ""), "r -", true},
		{"cookie", Rule{}, []string{"cookie:sid"}, asked(t, "", "Cookie=a=1; sid=77"), "***", false},
		{"credentials", Rule{}, []string{"header:X-Partner", "header:X-Auth-Token", "arg:k", "$http_x_partner/$host", "header:X-A"}, asked(t, "", "X-Partner=p", "X-Auth-Token=t", "X-A=a"), "*** *** - *** a", true},
		{"text", Rule{}, []string{"$host:$http_x"}, asked(t, "", "X=1"), "h.test:1", false},
		{"host and path", Rule{}, []string{"host", "path"}, asked(t, ""), "h.test /p", false},
		{"nobody", Rule{}, []string{"consumer"}, asked(t, ""), "-", true},
		{"long", Rule{}, []string{"header:X", "route"}, asked(t, "", "X="+strings.Repeat("x", 300)), strings.Repeat("x", 300) + " r", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := keysOf(t, c.rule, c.parts...)
			key, missing := k.append([]byte("before"), c.ex)
			if got := k.text(key[len("before"):]); got != c.text || missing != c.missing {
				t.Errorf("%q, missing %v; want %q, %v", got, missing, c.text, c.missing)
			}
		})
	}
}

func TestKeysOfIdentity(t *testing.T) {
	ex := asked(t, "")
	ex.Identify(exchange.NewIdentity(exchange.Identity{
		Consumer: "acme", Credential: "jwt", Key: "k1", Groups: []string{"gold"}, Roles: []string{"b", "a"},
	}, []exchange.Var{{Name: "plan", Value: "big"}}))
	k := keysOf(t, Rule{}, "consumer", "group", "roles", "api_key", "claim:plan", "$jwt_claim_plan")
	key, missing := k.append(nil, ex)
	if got := k.text(key); got != "acme gold a,b k1 big big" || missing {
		t.Errorf("%q, %v", got, missing)
	}
}

// FuzzKeys holds keys apart that differ in any part.
func FuzzKeys(f *testing.F) {
	f.Add("a", "b", "ab", "")
	f.Add(strings.Repeat("x", 127), "", strings.Repeat("x", 128), "")
	k := keys{parts: []part{{kind: partConsumer}, {kind: partRoute}}}
	f.Fuzz(func(t *testing.T, a1, b1, a2, b2 string) {
		one, two := asked(t, ""), asked(t, "")
		one.Record.Consumer, one.Record.Route = a1, b1
		two.Record.Consumer, two.Record.Route = a2, b2
		key1, missing := k.append(nil, one)
		key2, _ := k.append(nil, two)
		if same := a1 == a2 && b1 == b2; same != bytes.Equal(key1, key2) {
			t.Errorf("%q %q and %q %q: %x, %x", a1, b1, a2, b2, key1, key2)
		}
		if missing != (a1 == "" || b1 == "") {
			t.Errorf("missing %v", missing)
		}
		length, n := binary.Uvarint(key1)
		if string(key1[n:n+int(length)]) != a1 {
			t.Errorf("%x does not begin with %q", key1, a1)
		}
	})
}

func TestTop(t *testing.T) {
	var all top
	for i := range 3000 {
		all.note(uint64(i%500)+10, fmt.Append(nil, "light ", i), 1)
		if i%10 == 0 {
			all.note(1, []byte("heavy"), 1)
			all.note(2, []byte("heavier"), 16)
		}
	}
	list := all.list()
	if len(list) != topKeys || string(list[0].key) != "heavier" || string(list[1].key) != "heavy" || list[1].count < 300 {
		t.Fatalf("%d keys, first %q %d, then %q %d", len(list), list[0].key, list[0].count, list[1].key, list[1].count)
	}
	all.forget(2)
	if list = all.list(); string(list[0].key) != "heavy" {
		t.Errorf("first is %q after the reset", list[0].key)
	}
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]int64{"": 7, "5": 5, "0": 0, "-1": 7, "1.5": 7, "9999999999999": maxWeight, "99999999999999": 7, "x": 7} {
		if got := number([]byte(text), 7); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
