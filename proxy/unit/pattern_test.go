package unit

import (
	"reflect"
	"testing"
)

func TestParsePattern(t *testing.T) {
	check(t, ParsePattern, []read{
		{"/", "/", ""}, {"/p", "/p", ""}, {"= /p", "= /p", ""}, {"=/p", "= /p", ""}, {"^~ /p/", "^~ /p/", ""}, {"^~/p", "^~ /p", ""},
		{`~ \.php$`, `~ \.php$`, ""}, {`~* \.PNG$`, `~* \.PNG$`, ""}, {"~^/a", "~ ^/a", ""}, {"/with blank", "/with blank", ""},
		{"", "", "is empty"}, {"p", "", "slash"}, {"= p", "", "slash"}, {"^~", "", "slash"}, {"~", "", "no expression"}, {"~* ", "", "no expression"},
		{"~ (", "", "missing closing )"}, {`~ (?<!a)b`, "", "RE2"}, {`~ (a)\1`, "", "RE2"}, {"/a?b", "", "write /a and"}, {"= /a#b", "", "write = /a and"}, {"*", "", "slash"},
	})
}

func TestPatternMatch(t *testing.T) {
	for _, test := range []struct {
		pattern, path string
		want          bool
	}{
		{"/p", "/p", true}, {"/p", "/pq", true}, {"/p", "/", false}, {"/p", "/P", false},
		{"= /p", "/p", true}, {"= /p", "/p/", false}, {"^~ /p", "/p/x", true},
		{"~ b", "/abc", true}, {"~ B", "/abc", false}, {"~* B", "/abc", true}, {"~ ^b", "/abc", false},
	} {
		p, err := ParsePattern(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match([]byte(test.path)); got != test.want {
			t.Errorf("%q on %q: %v", test.pattern, test.path, got)
		}
	}
}

func TestParseHostPattern(t *testing.T) {
	check(t, ParseHostPattern, []read{
		{"example.com", "example.com", ""}, {"WWW.Example.COM.", "www.example.com", ""}, {"*.Example.com", "*.example.com", ""},
		{`~ ^a\.`, `~ ^a\.`, ""}, {"~x", "~ x", ""}, {"[::1]", "[::1]", ""}, {"a_b.c", "a_b.c", ""}, {"127.0.0.1", "127.0.0.1", ""},
		{"", "", "not a host name"}, {"*", "", "every host"}, {"www.*", "", `write "~ ^www\."`}, {".a.b", "", `write both "a.b" and "*.a.b"`},
		{"a.*.b", "", "wildcard inside"}, {"a:80", "", "write a"}, {"*.a:80", "", "write *.a"}, {"a b", "", "not a host name"}, {"a..b", "", "not a host name"},
		{"~", "", "no expression"}, {"~ (", "", "missing closing"}, {"[::1", "", "not a host name"}, {"é.com", "", "xn--"}, {"*.", "", "not a host name"},
	})
	for _, test := range []struct {
		pattern, host string
		want          bool
	}{
		{"a.b", "a.b", true}, {"a.b", "x.a.b", false}, {"*.a.b", "x.a.b", true}, {"*.a.b", "x.y.a.b", true}, {"*.a.b", "a.b", false},
		{"*.a.b", ".a.b", false}, {"~ ^x", "xyz", true}, {"~ ^x", "yx", false},
	} {
		h, err := ParseHostPattern(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.Match([]byte(test.host)); got != test.want {
			t.Errorf("%q on %q: %v", test.pattern, test.host, got)
		}
	}
}

func TestParseValuePattern(t *testing.T) {
	check(t, ParseValuePattern, []read{
		{"acme", "acme", ""}, {"*", "*", ""}, {"!", "!", ""}, {"= *", "= *", ""}, {"= acme", "acme", ""}, {"= ", "= ", ""}, {"= ~ x", "= ~ x", ""},
		{"~ ^a", "~ ^a", ""}, {"~* ^a", "~* ^a", ""}, {"~a", "~ a", ""},
		{"", "", "is empty"}, {"!a", "", "negates"}, {"~", "", "no expression"}, {"~* (", "", "missing closing"},
	})
	for _, test := range []struct {
		pattern, value string
		want, absent   bool
	}{
		{"acme", "acme", true, false}, {"acme", "ACME", false, false}, {"*", "", true, false}, {"!", "x", false, true},
		{"= ", "", true, false}, {"~ ^a", "ab", true, false}, {"~* ^a", "AB", true, false}, {"~ ^a", "b", false, false},
	} {
		v, err := ParseValuePattern(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if v.Match([]byte(test.value)) != test.want || v.MatchAbsent() != test.absent {
			t.Errorf("%q on %q: %v, absent %v", test.pattern, test.value, v.Match([]byte(test.value)), v.MatchAbsent())
		}
	}
}

func TestParseTemplate(t *testing.T) {
	literal := func(s string) TemplatePart { return TemplatePart{Literal: s} }
	variable := func(s string) TemplatePart { return TemplatePart{Variable: s} }
	for _, test := range []struct {
		text string
		want []TemplatePart
	}{
		{"", nil},
		{"plain", []TemplatePart{literal("plain")}},
		{"$host", []TemplatePart{variable("host")}},
		{"a $http_x_tenant/b", []TemplatePart{literal("a "), variable("http_x_tenant"), literal("/b")}},
		{"$a$b", []TemplatePart{variable("a"), variable("b")}},
		{"$$5 and 100 $ and $", []TemplatePart{literal("$5 and 100 $ and $")}},
		{"$$host", []TemplatePart{literal("$host")}},
		{"/$1/$22", []TemplatePart{literal("/"), variable("1"), literal("/"), variable("2"), literal("2")}},
	} {
		got, err := ParseTemplate(test.text)
		if err != nil || !reflect.DeepEqual(got.Parts(), test.want) {
			t.Errorf("%q: %+v, %v", test.text, got.Parts(), err)
		}
		text, isLiteral := got.Literal()
		if want := len(test.want) == 0 || len(test.want) == 1 && test.want[0].Variable == ""; isLiteral != want {
			t.Errorf("%q: literal %q %v", test.text, text, isLiteral)
		}
		if got.String() != test.text || got.IsZero() != (test.text == "") {
			t.Errorf("%q: String %q", test.text, got.String())
		}
	}
	for _, text := range []string{"${host}", "a\x00"} {
		if _, err := ParseTemplate(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if text, ok := MustTemplate(EscapeTemplate("$a $$ ${b}")).Literal(); !ok || text != "$a $$ ${b}" {
		t.Errorf("escaped: %q %v", text, ok)
	}
	defer func() {
		if recover() == nil {
			t.Error("MustTemplate took a bad text")
		}
	}()
	MustTemplate("${x}")
}
