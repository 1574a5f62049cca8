package unit

import (
	"net/netip"
	"testing"

	"go.yaml.in/yaml/v3"
)

// roundTrip says that what a parser takes, it also reads back from String to
// the same text, and that what it refuses, it refuses with value and fix.
func roundTrip[T interface{ String() string }](t *testing.T, text string, parse func(string) (T, error)) {
	t.Helper()
	value, err := parse(text)
	if err != nil {
		if bad, ok := err.(*ValueError); !ok || bad.Value != text || bad.Problem == "" || bad.Fix == "" {
			t.Fatalf("%q: error %#v", text, err)
		}
		return
	}
	again, err := parse(value.String())
	if err != nil || again.String() != value.String() {
		t.Fatalf("%q gives %q, which reads back as %q, %v", text, value.String(), again.String(), err)
	}
}

func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"250ms", "1d2h", "0", "1.5s", "-1s", "9999999999d", "1h1h", "1µs", "0.0000000001s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		roundTrip(t, text, ParseDuration)
		if d, err := ParseDuration(text); err == nil && d < 0 {
			t.Fatalf("%q is negative: %d", text, d)
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, seed := range []string{"16KiB", "10MB", "1", "9223372036854775807", "8388608TiB", "k"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		roundTrip(t, text, ParseSize)
		if s, err := ParseSize(text); err == nil && s < 0 {
			t.Fatalf("%q is negative: %d", text, s)
		}
	})
}

func FuzzRate(f *testing.F) {
	for _, seed := range []string{"100/s", "5/10s", "1/d", "/", "1/1h1ms", "0/m"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { roundTrip(t, text, ParseRate) })
}

func FuzzPercent(f *testing.F) {
	for _, seed := range []string{"20%", "0.5%", "0.2", "100.0%", ".%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { roundTrip(t, text, ParsePercent) })
}

func FuzzCIDR(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "::1", "::ffff:1.2.3.4", "1.2.3.4/0", "fe80::%1/10"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		roundTrip(t, text, func(s string) (netip.Prefix, error) { return ParseCIDR(s) })
		if set, err := ParseCIDRSet(text); err == nil && !set.Contains(set.Prefixes()[0].Addr()) {
			t.Fatalf("%q does not contain its own first address", text)
		}
	})
}

func FuzzNetwork(f *testing.F) {
	for _, seed := range []string{"", "all", "unix:", "10.0.0.0/8", "::1", "10.0.0.1/8"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { roundTrip(t, text, ParseNetwork) })
}

func FuzzPattern(f *testing.F) {
	for _, seed := range []string{"/p", "= /p", "^~ /p", "~ re", "~* (a|b)$", "=", "~*", "^~~ /"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		roundTrip(t, text, ParsePattern)
		if p, err := ParsePattern(text); err == nil {
			p.Match([]byte(text))
		}
	})
}

func FuzzHostPattern(f *testing.F) {
	for _, seed := range []string{"a.b", "*.a.b", "~ ^a", "[::1]", "A.", "*..", "a:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		roundTrip(t, text, ParseHostPattern)
		if h, err := ParseHostPattern(text); err == nil && h.Kind == HostExact && !h.Match([]byte(h.Text)) {
			t.Fatalf("%q does not match itself", text)
		}
	})
}

func FuzzValuePattern(f *testing.F) {
	for _, seed := range []string{"acme", "*", "!", "= *", "~ a", "~*a", "= ", "~ *"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { roundTrip(t, text, ParseValuePattern) })
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"$host", "$$", "a$1b", "${x}", "$", "$$$a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if literal, ok := Template.Literal(mustOrSkip(t, EscapeTemplate(text))); !ok || literal != text {
			t.Fatalf("%q escaped is %q, %v", text, literal, ok)
		}
		roundTrip(t, text, ParseTemplate)
	})
}

func mustOrSkip(t *testing.T, text string) Template {
	value, err := ParseTemplate(text)
	if err != nil {
		t.Skip()
	}
	return value
}

// FuzzSecret holds any text in a secret and looks for it in what is printed.
func FuzzSecret(f *testing.F) {
	f.Add("hunter2 is long enough")
	f.Fuzz(func(t *testing.T, text string) {
		out, err := yaml.Marshal(map[string]Secret{"k": NewSecret(text)})
		want := "k: '********'\n"
		if text == "" {
			want = "k: \"\"\n"
		}
		if err != nil || string(out) != want {
			t.Fatalf("%q is written as %q, %v", text, out, err)
		}
	})
}
