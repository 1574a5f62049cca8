package static

import (
	"strings"
	"testing"

	"perigee/proxy/exchange"
	"perigee/proxy/unit"
)

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		name, root, alias, pattern, path string
		captures                         []string
		wantRoot, wantName               string
	}{
		{"root", "/srv/www", "", "/", "/a/b.css", nil, "/srv/www", "/a/b.css"},
		{"relative root", "html", "", "/", "/a", nil, "/prefix/html", "/a"},
		{"root with a variable", "/srv/$host/html", "", "/", "/a", nil, "/srv/", "a.test/html/a"},
		{"root with a variable inside a segment", "/srv/v-$host", "", "/", "/a", nil, "/srv/", "v-a.test/a"},
		{"root that is a variable", "$base", "", "/", "/a", nil, "/", "/opt/a"},
		{"relative root that is a variable", "$host/x", "", "/", "/a", nil, "/prefix", "a.test/x/a"},
		{"alias", "", "/srv/img/", "/i/", "/i/a.gif", nil, "/srv/img/", "/a.gif"},
		{"alias without slash", "", "/srv/img", "/i", "/i/a.gif", nil, "/srv/img", "/a.gif"},
		{"alias without its slash", "", "/srv/img", "/i/", "/i/a.gif", nil, "/srv/img", "/a.gif"},
		{"alias of a directory", "", "/srv/img/", "/i/", "/i/", nil, "/srv/img/", ""},
		{"alias of a directory without slash", "", "/srv/img", "/i", "/i", nil, "/srv/img", ""},
		{"directory below an alias", "", "/srv/img/", "/i/", "/i/sub/", nil, "/srv/img/", "/sub/"},
		{"alias of one file", "", "/srv/fav.ico", "= /favicon.ico", "/favicon.ico", nil, "/srv/fav.ico", ""},
		{"alias climbs nowhere", "", "/srv/img/", "/i", "/i../secret", nil, "/srv/img/", "/../secret"},
		{"alias by expression", "", "/srv/$1", "~ ^/d/(.*)", "/d/y.txt", []string{"y.txt"}, "/srv/", "y.txt"},
		{"relative alias", "", "img", "/i/", "/i/a", nil, "/prefix/img", "/a"},
		{"alias with a variable", "", "/srv/$host", "/i/", "/i/a", nil, "/srv/", "a.test/a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := Config{Root: unit.MustTemplate(c.root), Alias: unit.MustTemplate(c.alias)}
			pattern, err := unit.ParsePattern(c.pattern)
			if err != nil {
				t.Fatal(err)
			}
			p := newPlace(&config, []unit.Pattern{pattern}, "/prefix")
			ex := exchange.Acquire(nil, &exchange.Conn{})
			defer exchange.Release(ex)
			ex.Host = append(ex.Host[:0], "a.test"...)
			ex.Vars = append(ex.Vars, exchange.Var{Name: "base", Value: "/opt"})
			for _, group := range c.captures {
				ex.Captures = append(ex.Captures, []byte(group))
			}
			root, name, _, ok := p.name(ex, c.path)
			if !ok || root != c.wantRoot || name != c.wantName {
				t.Errorf("%q %q (%v), want %q %q", root, name, ok, c.wantRoot, c.wantName)
			}
			if len(p.prefixes) > 0 {
				if _, _, _, ok := p.name(ex, "/elsewhere"); ok {
					t.Error("the alias stands for a path that the route does not match")
				}
			}
		})
	}
}

func TestHidden(t *testing.T) {
	for path, want := range map[string]bool{
		"": false, "/": false, "/a/b.c": false, "/.git/config": true, "/a/.env": true, ".htaccess": true, "/a/.b/c": true,
		"/.well-known/acme-challenge/x": false, "/a./b.": false, "/a/...": true, "/a..b": false, "/.well-known/.x": true, "/.well-knownx": true,
	} {
		if got := hidden(path); got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
}

func TestTypes(t *testing.T) {
	config := Config{}
	config.SetDefaults()
	config.Types = map[string][]string{"text/markdown": {"md", "MKD"}, "text/x": {"css"}}
	plain := newTypes(&Config{Types: map[string][]string{"text/html": {"html"}}, DefaultType: "text/plain"})
	own := newTypes(&config)
	for _, c := range []struct {
		name  string
		types *types
		path  string
		want  string
	}{
		{"built in", &own, "/a.png", "image/png"},
		{"another", &own, "/a.html", "text/html"},
		{"capitals", &own, "/a.PNG", "image/png"},
		{"own", &own, "/a.mkd", "text/markdown"},
		{"own over built in", &own, "/a.css", "text/x"},
		{"unknown", &own, "/a.xyz", "application/octet-stream"},
		{"no ending", &own, "/png", "application/octet-stream"},
		{"the last ending", &own, "/a.tar.zip", "application/zip"},
		{"dot in a directory", &own, "/a.png/b", "application/octet-stream"},
		{"hidden file", &own, "/.png", "application/octet-stream"},
		{"ends in a dot", &own, "/a.", "application/octet-stream"},
		{"very long", &own, "/a.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "application/octet-stream"},
		{"without the built-in", &plain, "/a.png", "text/plain"},
		{"alone", &plain, "/a.html", "text/html"},
		{"empty", &plain, "", "text/plain"},
	} {
		if got := c.types.of([]byte(c.path)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestBuiltinEndingsAreUnique(t *testing.T) {
	seen := make(map[string]string)
	for media, endings := range builtin {
		for ending := range strings.FieldsSeq(endings) {
			if other, twice := seen[ending]; twice {
				t.Errorf(".%s is %s and %s", ending, media, other)
			}
			seen[ending] = media
		}
	}
}
