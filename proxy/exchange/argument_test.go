package exchange

import (
	"testing"

	"perigee/proxy/unit"
	"perigee/proxy/wire"
)

func TestHideAndRemoveArgument(t *testing.T) {
	for _, c := range []struct{ name, query, hidden, left string }{
		{"none", "a=1&b=2", "a=1&b=2", "a=1&b=2"},
		{"first", "k=secret&b=2", "k=***&b=2", "b=2"},
		{"last", "a=1&k=secret", "a=1&k=***", "a=1"},
		{"all", "k=secret&k=other", "k=***&k=***", ""},
		{"escaped name", "%6b=secret&b", "%6b=***&b", "b"},
		{"without a value", "k&b", "k=***&b", "b"},
		{"longer names", "kk=1&k.=2", "kk=1&k.=2", "kk=1&k.=2"},
		{"nothing", "", "", ""},
		{"empty pairs", "&&k=secret&", "&&k=***&", "&&"},
	} {
		ex := Acquire(nil, &Conn{})
		ex.Raw = []byte("GET /p?" + c.query + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := wire.ScanRequest(&ex.Head, ex.Raw, 0, wire.Limits{}); err != nil {
			t.Fatal(err)
		}
		ex.Query = []byte(c.query)
		ex.Record.Query, ex.Record.Path, ex.Record.Method, ex.Record.Protocol = ex.Query, []byte("/p"), []byte("GET"), "HTTP/1.1"
		ex.HideArgument("k")
		ex.HideArgument("k") // a request that is matched again
		ex.HideArgument("none")
		if got := string(ex.Record.Query); got != c.hidden {
			t.Errorf("%s: the record has %q, want %q", c.name, got, c.hidden)
		}
		if c.hidden != "" {
			line := ex.AppendEscapedTemplate(nil, unit.MustTemplate("$request|$request_uri|$args"), EscapeNone)
			if want := "GET /p?" + c.hidden + " HTTP/1.1|/p?" + c.hidden + "|" + c.hidden; string(line) != want {
				t.Errorf("%s: a log line has %q, want %q", c.name, line, want)
			}
		}
		ex.RemoveArgument("k")
		if got := string(ex.Query); got != c.left {
			t.Errorf("%s: %q is sent on, want %q", c.name, got, c.left)
		}
		Release(ex)
	}
}
