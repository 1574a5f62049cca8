package unit

import (
	"reflect"
	"testing"
)

func TestHeaderChecks(t *testing.T) {
	for name, want := range map[string]bool{
		"X-Tenant": true, "x": true, "a!#$%&'*+-.^_`|~9": true, "": false, "a b": false, "a:": false, "a\n": false, "é": false, "a\x00": false, "(a)": false,
	} {
		if got := IsToken(name); got != want || (len(CheckHeaderName("p", name)) == 0) != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	for value, bad := range map[string]bool{
		"plain": false, "tab\tis fine": false, "é": false, "": false, "$host": false, "a\nb": true, "a\r": true, "\x7f": true, "$a\x01$b": true,
	} {
		if got := CheckHeaderValue("p", MustTemplate(value)); (len(got) > 0) != bad {
			t.Errorf("%q: %v", value, got)
		}
	}
	if twice := CheckHeaders("h", map[string]Template{"X-A": {}, "x-a": {}}); len(twice) != 1 || twice[0].Path != "h.x-a" {
		t.Errorf("one header in two cases: %+v", twice)
	}
	problems := CheckHeaders("headers", map[string]Template{"b b": MustTemplate("x"), "a a": MustTemplate("\n")})
	var paths []string
	for _, p := range problems {
		paths = append(paths, p.Path)
	}
	if want := []string{`headers["a a"]`, `headers["a a"]`, `headers["b b"]`}; !reflect.DeepEqual(paths, want) {
		t.Errorf("paths %q, want %q", paths, want)
	}
}

func TestJoinAndPosition(t *testing.T) {
	for _, test := range [][3]string{
		{"", "routes", "routes"}, {"routes[2]", "lua", "routes[2].lua"}, {"a", "b-c_9", "a.b-c_9"}, {"a", "b.c", `a["b.c"]`}, {"", "x y", `["x y"]`}, {"a", "", `a[""]`},
	} {
		if got := Join(test[0], test[1]); got != test[2] {
			t.Errorf("Join(%q, %q) = %q", test[0], test[1], got)
		}
	}
	for want, p := range map[string]Position{"a.yaml:3:4": {"a.yaml", 3, 4}, "a.yaml": {File: "a.yaml"}, "3:4": {Line: 3, Column: 4}, "": {}} {
		if p.String() != want {
			t.Errorf("%+v: %q", p, p.String())
		}
	}
	if !(Position{Line: 1, Column: 9}).Before(Position{Line: 2, Column: 1}) || (Position{Line: 2, Column: 2}).Before(Position{Line: 2, Column: 2}) {
		t.Error("Before is wrong")
	}
}
