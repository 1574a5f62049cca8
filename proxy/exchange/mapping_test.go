package exchange

import (
	"testing"

	"perigee/proxy/mapping"
	"perigee/proxy/unit"
)

func mapOf(t *testing.T, from string, volatile bool, pairs ...string) *mapping.Map {
	t.Helper()
	c := &mapping.Config{From: unit.MustTemplate(from), Volatile: volatile, Exact: make(map[string]unit.Template)}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == "default" {
			c.Default = unit.MustTemplate(pairs[i+1])
			continue
		}
		if pairs[i][0] == '~' {
			p, err := unit.ParseValuePattern(pairs[i])
			if err != nil {
				t.Fatal(err)
			}
			c.Regex = append(c.Regex, mapping.Expression{Match: p, Value: unit.MustTemplate(pairs[i+1])})
			continue
		}
		c.Exact[pairs[i]] = unit.MustTemplate(pairs[i+1])
	}
	return mapping.New(c)
}

func TestMappedVariables(t *testing.T) {
	ex := Acquire(nil, &Conn{})
	defer Release(ex)
	ex.Maps = mapping.Set{
		"first":  mapOf(t, "$uri", false, "/a", "one", "default", "other"),
		"live":   mapOf(t, "$uri", true, "/a", "one", "default", "other"),
		"second": mapOf(t, "$first-$live", false, "one-one", "both of $host", "default", "$first/$live"),
		"groups": mapOf(t, "$uri", true, "~ ^/(?P<n>.)(.*)", "$2$n$first"),
	}
	ex.Path, ex.Host = append(ex.Path[:0], "/a"...), append(ex.Host[:0], "h"...)
	ask := func(text, want string) {
		t.Helper()
		if got := string(ex.AppendTemplate(nil, unit.MustTemplate(text))); got != want {
			t.Errorf("%q is %q, wanted %q", text, got, want)
		}
	}
	seen := make(map[string]string)
	ex.Glance(func(name string, value []byte) { seen[name] = string(value) })
	if seen["first"] != "one" || seen["second"] != "both of h" || seen["groups"] != "aone" || len(ex.Vars) != 0 {
		t.Errorf("a glance sees %v and leaves %v", seen, ex.Vars)
	}
	ask("<$first|$live|$second>", "<one|one|both of h>")
	ex.Path = append(ex.Path[:0], "/bcd"...)
	ask("<$first|$live|$second|$groups>", "<one|other|both of h|cdbone>")
	ex.SetVariable([]byte("live"), []byte("set"))
	ask("$live", "set")
	ex.Captures = append(ex.Captures[:0], []byte("kept"))
	ask("$groups$1", "cdbonekept")
}
