package mapping

import (
	"strings"
	"testing"

	"perigee/proxy/unit"
)

func texts(pairs ...string) map[string]unit.Template {
	m := make(map[string]unit.Template)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = unit.MustTemplate(pairs[i+1])
	}
	return m
}

func regex(t testing.TB, pairs ...string) (list []Expression) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		p, err := unit.ParseValuePattern(pairs[i])
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Expression{Match: p, Value: unit.MustTemplate(pairs[i+1])})
	}
	return list
}

// said is a value with groups filled in and variables named.
func said(v Value, text string, groups []int) string {
	var b strings.Builder
	for _, p := range v {
		switch {
		case p.Group > 0:
			if 2*p.Group < len(groups) && groups[2*p.Group] >= 0 {
				b.WriteString(text[groups[2*p.Group]:groups[2*p.Group+1]])
			}
		case p.Variable != "":
			b.WriteString("<" + p.Variable + ">")
		default:
			b.WriteString(p.Literal)
		}
	}
	return b.String()
}

func TestFind(t *testing.T) {
	m := New(&Config{
		Exact: texts("Acme", "a", "", "empty", "x.example.com", "exact"),
		Hosts: texts("www.example.com", "www", "*.example.com", "any", "*.deep.example.com", "deep", ".example.org", "org",
			"www.example.*", "tail", "www.example.co.*", "longer tail", "*.example.net", "net"),
		Networks: texts("10.0.0.0/8", "ten", "10.1.0.0/16", "ten one", "10.1.1.1", "host", "2001:db8::/32", "six"),
		Regex:    regex(t, "~ ^([a-z]+)-(?P<Rest>.*)$", "$1+$rest+$host", "~* ^IN(.)?", "in:$1", "~ ^plain", "p"),
		Default:  unit.MustTemplate("none $uri"),
	})
	for _, c := range []struct{ name, text, want string }{
		{"exact", "Acme", "a"},
		{"exact in other letters", "aCME", "a"},
		{"nothing", "", "empty"},
		{"a name", "www.example.com", "www"},
		{"exact goes before names", "x.example.com", "exact"},
		{"a dot at the end", "www.example.com.", "www"},
		{"a longer head", "a.deep.example.com", "deep"},
		{"a head", "b.a.example.com", "any"},
		{"a head and its name", "example.org", "org"},
		{"a head in other letters", "X.EXAMPLE.ORG", "org"},
		{"a head is no name", "example.net", "none <uri>"},
		{"a tail", "www.example.de", "tail"},
		{"a longer tail", "www.example.co.uk", "longer tail"},
		{"groups by number and name", "ab-CD.e", "ab+CD.e+<host>"},
		{"expressions mind the case", "AB-c", "none <uri>"},
		{"unless told otherwise", "inX", "in:X"},
		{"a group that did not take part", "in", "in:"},
		{"no group", "plain$1", "p"},
		{"none", "other", "none <uri>"},
		{"a network", "10.2.3.4", "ten"},
		{"a smaller network", "10.1.2.3", "ten one"},
		{"an address", "10.1.1.1", "host"},
		{"an address in IPv6 clothes", "::ffff:10.1.1.1", "host"},
		{"another family", "2001:db8::1", "six"},
		{"no network", "11.0.0.1", "none <uri>"},
		{"a long text", strings.Repeat("x", 300), "none <uri>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, groups := m.Find([]byte(c.text))
			if got := said(v, c.text, groups); got != c.want {
				t.Errorf("%q gives %q, wanted %q", c.text, got, c.want)
			}
		})
	}
	text := []byte("Acme")
	if n := testing.AllocsPerRun(100, func() { m.Find(text) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCheck(t *testing.T) {
	c := Config{
		Exact:    texts("a", "1", "A", "2", "b", "3"),
		Hosts:    texts("*.a.test", "1", "a.*.test", "2", "*", "3", ".", "4", "a..b", "5", "a:80", "6", "www.a.*", "7"),
		Networks: texts("10.0.0.1/8", "1", "x", "2", "10.0.0.0/8", "3"),
		Regex:    append(regex(t, "~ ok", ""), Expression{}, Expression{Match: unit.ValuePattern{Text: "x"}}),
	}
	var got []string
	for _, p := range c.Check() {
		got = append(got, p.Path)
	}
	want := `from exact.a hosts["*"] hosts["."] hosts["a.*.test"] hosts["a..b"] hosts["a:80"] networks["10.0.0.1/8"] networks.x regex[1].match regex[2].match`
	if strings.Join(got, " ") != want {
		t.Errorf("problems at %q, wanted %q", strings.Join(got, " "), want)
	}
}

func FuzzFind(f *testing.F) {
	m := New(&Config{
		Exact: texts("a", "1"), Hosts: texts("*.a.b", "2", "c.*", "3", ".d.e", "4"),
		Regex: regex(f, "~ ^(x+)(y)?", "$1$2"), Default: unit.MustTemplate("d"),
	})
	for _, seed := range []string{"", "a", ".", "..", "x.a.b", "c.", "c.x", "d.e.", "xy"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, groups := m.Find([]byte(text))
		said(v, text, groups)
	})
}
