package compress

import (
	"strings"
	"testing"
)

func TestAccepts(t *testing.T) {
	for _, c := range []struct {
		field string
		want  bool
	}{
		{"", false}, {"gzip", true}, {"GZip", true}, {"x-gzip", true}, {"deflate, gzip", true}, {"deflate,br", false},
		{"gzipped", false}, {"x gzip", false}, {"gzip;q=0", false}, {"gzip;q=0.000", false}, {"gzip; q=0.001", true},
		{"gzip;q=1", true}, {"gzip;q=1.000", true}, {"gzip;q=1.1", false}, {"gzip;q=2", false}, {"gzip;q=0.0001", false},
		{"gzip;q=", false}, {"gzip;q=.5", false}, {"gzip ; Q=0.5", true}, {"gzip;q=0,gzip", false}, {"gzip;x=1", true},
		{"*", true}, {"*;q=0", false}, {"*;q=0, gzip", true}, {"gzip;q=0, *", false}, {"identity;q=0, *;q=0.1", true}, {",,gzip,,", true}, {";;,=", false},
	} {
		if got := accepts([]byte(c.field)); got != c.want {
			t.Errorf("%q: %v, want %v", c.field, got, c.want)
		}
	}
}

func TestLists(t *testing.T) {
	for _, c := range []struct {
		field, word string
		want        bool
	}{
		{"no-cache", "no-cache", true}, {"Max-Age=1, No-Cache", "no-cache", true}, {`private="x", max-age=2`, "private", true},
		{"no-cache-x", "no-cache", false}, {"", "private", false}, {"max-age=1", "max-age", true},
	} {
		if got := lists([]byte(c.field), c.word); got != c.want {
			t.Errorf("%q in %q: %v, want %v", c.word, c.field, got, c.want)
		}
	}
}

// Whatever stands around an item, gzip without a weight before all others is
// accepted, and with the weight 0 it is not.
func FuzzAccepts(f *testing.F) {
	for _, s := range []string{"", "br", "gzip;q=0", "*;q=0.5", "a;b=c;q=1,,", ";q"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		accepts([]byte(s))
		if !accepts([]byte("gzip," + s)) {
			t.Errorf("gzip before %q is refused", s)
		}
		if accepts([]byte("gzip;q=0," + s)) {
			t.Errorf("gzip;q=0 before %q is accepted", s)
		}
		if lists([]byte(s), "gzip") && !strings.Contains(strings.ToLower(s), "gzip") {
			t.Errorf("%q lists gzip", s)
		}
	})
}
