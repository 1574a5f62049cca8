package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	known := []string{"listeners", "limits", "lua", "log", "access", "warn", "path"}
	for word, want := range map[string]string{
		"listenres": "listeners", "Limits": "limits", "limit": "limits", "acces": "access", "acecss": "access", "warning": "warn",
		"paths": "path", "auth": "", "cache": "", "502": "", "": "", "lau": "lua", "lg": "log", "listen": "listeners",
	} {
		if got, _ := nearest(word, known); got != want {
			t.Errorf("nearest to %q: %q, want %q", word, got, want)
		}
	}
}

func TestSlips(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got := slips(test.a, test.b); got != test.want {
			t.Errorf("%q to %q: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestParentOfAPath(t *testing.T) {
	for path, want := range map[string]string{
		"a": "", "a.b": "a", "a[0]": "a", "a[0].b": "a[0]", `a["x.y"]`: "a", `a["x"].b`: `a["x"]`, `a["[\"q\"]"]`: "a", `["x y"]`: "", "": "",
	} {
		if got := parent(path); got != want {
			t.Errorf("parent of %s: %q, want %q", path, got, want)
		}
	}
}

func TestExpand(t *testing.T) {
	t.Setenv("SET", "value")
	t.Setenv("EMPTY", "")
	t.Setenv("DOLLAR", "a$b$$")
	dir := t.TempDir()
	write(t, dir, "secret", "two\nlines\r\n")
	write(t, dir, "bare", "x")
	e := expander{dir: dir}
	for _, test := range []struct{ text, plain, template string }{
		{"no dollar", "no dollar", "no dollar"},
		{"${SET}-${SET}", "value-value", "value-value"},
		{"${UNSET_X:-d}${EMPTY:-d}${EMPTY}", "dd", "dd"},
		{"${UNSET_X:-}", "", ""},
		{"$$ $name $$name ${DOLLAR}", "$ $name $name a$b$$", "$$ $name $$name a$$b$$$$"},
		{"$${SET}", "${SET}", "$${SET}"},
		{"$", "$", "$"},
		{"${file:secret}|${file:bare}", "two\nlines|x", "two\nlines|x"},
		{"${file:" + dir + "/bare}", "x", "x"},
	} {
		for _, template := range []bool{false, true} {
			want := test.plain
			if template {
				want = test.template
			}
			if got := e.expand(test.text, template); got.problem != nil || got.text != want {
				t.Errorf("%q (template %v): %q %+v, want %q", test.text, template, got.text, got.problem, want)
			}
		}
	}
	for text, want := range map[string]string{
		"${UNSET_X}": `"UNSET_X" is not set`, "${": "no closing brace", "${}": "names no", "${a-b}": "names no",
		"${file:none}": "no such file", "${file:.}": "not a regular file", "${file:/dev/zero}": "not a regular file",
	} {
		if got := e.expand(text, false); got.problem == nil || !strings.Contains(got.problem.message, want) || got.problem.hint == "" {
			t.Errorf("%q: %+v, want %q", text, got, want)
		}
	}
}

func TestManyAliasesAreRefusedQuickly(t *testing.T) {
	var b strings.Builder
	b.WriteString("variables: {}\nupstreams:\n  a0: &a0 {endpoints: ['a:1']}\n")
	for i := 1; i < 16; i++ {
		fmt.Fprintf(&b, "  a%d: &a%d {<<: [%s]}\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 12), ","))
	}
	_, err := Parse("x.yaml", []byte(b.String()), ".")
	if err == nil || !strings.Contains(err.Error(), "values") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		minimal,
		"listeners: &l [{address: ':1'}]\nadmin: *l",
		"a: &a {<<: *a}", "upstreams: &u {<<: *u, x: &x {<<: [*x, *u]}}", "routes: [&r {name: *r}]",
		"? [a]\n: b", "? {a: b}\n: c", "<<: {limits: {}}", "!!binary a: b", "limits: !!map {}", "lua: {init: !x y}",
		"variables: {a: '${', b: '$${', c: '${HOME}', d: '${file:/etc/hostname}', e: '${file:}'}",
		"trusted_proxies: [[1], {a: b}, *x]", "trusted_proxies: {a: b}", "error_pages: {1: /, x: /, 999999999999999999999: /}",
		"routes:\n- name: \"\\x00\"\n  match: {paths: ['~ (']}\n", "---\n---\n", "%YAML 9", "\t", "- -", "\xff\xfe", "{", "a: |\n  b\n c",
		"lua: {shared_dicts: {\"a\\nb\": 1MiB}}", "upstreams: {\"\": {}}", "workers: 0x10", "workers: 1_0", "listeners: [~]", "routes: [null, ~, ]",
	} {
		f.Add([]byte(seed))
	}
	example, err := parseExample()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("fuzz.yaml", data, "testdata")
		if err != nil {
			all, ok := err.(Errors)
			if !ok || len(all) == 0 {
				t.Fatalf("error %#v", err)
			}
			for _, e := range all {
				if e.Position.Line < 1 || e.Position.Column < 1 || e.Message == "" {
					t.Fatalf("error without position or message: %+v", e)
				}
			}
			return
		}
		dump, err := file.Masked()
		if err != nil || len(dump) == 0 || len(file.Digest()) != 64 {
			t.Fatalf("dump: %v", err)
		}
	})
}
