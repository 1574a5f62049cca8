package ip

import (
	"net/netip"
	"testing"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

func networks(t *testing.T, texts ...string) (list []unit.Network) {
	t.Helper()
	for _, text := range texts {
		n, err := unit.ParseNetwork(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

func TestCheck(t *testing.T) {
	rules := Rules{
		{Allow: networks(t, "10.0.0.0/8")}, {}, {Deny: networks(t, "all")}, {Allow: networks(t, "all"), Deny: networks(t, "all")},
	}
	problems := rules.Check()
	if len(problems) != 2 || problems[0].Path != "[1]" || problems[1].Path != "[3]" {
		t.Errorf("problems are %+v", problems)
	}
}

func TestStep(t *testing.T) {
	rules := Rules{
		{Deny: networks(t, "10.1.0.0/16")}, {Allow: networks(t, "10.0.0.0/8", "2001:db8::/32")}, {Deny: networks(t, "all")},
	}
	for _, c := range []struct {
		name   string
		rules  Rules
		client string
		want   exchange.Verdict
	}{
		{"no rule", nil, "1.2.3.4", exchange.Continue},
		{"an earlier rule", rules, "10.1.2.3", exchange.Fail},
		{"a later rule", rules, "10.2.2.3", exchange.Continue},
		{"another family", rules, "2001:db8::7", exchange.Continue},
		{"all others", rules, "192.0.2.1", exchange.Fail},
		{"a unix socket", rules, "", exchange.Fail},
		{"a unix socket that may", Rules{{Allow: networks(t, "unix:")}, {Deny: networks(t, "all")}}, "", exchange.Continue},
		{"none names the client", rules[:2], "192.0.2.1", exchange.Continue},
	} {
		t.Run(c.name, func(t *testing.T) {
			ex := exchange.Acquire(nil, &exchange.Conn{})
			defer exchange.Release(ex)
			if c.client != "" {
				ex.Record.Client = netip.AddrPortFrom(netip.MustParseAddr(c.client), 1)
			}
			reports := 0
			f := New(c.rules, func(observe.Level, *exchange.Exchange, string) { reports++ })
			if got := f.Step(ex, exchange.Access); got != c.want {
				t.Errorf("verdict %v, wanted %v", got, c.want)
			}
			if denied := c.want == exchange.Fail; denied != (ex.FailStatus == 403) || denied != (reports == 1) {
				t.Errorf("status %d, %d reports", ex.FailStatus, reports)
			}
		})
	}
}
