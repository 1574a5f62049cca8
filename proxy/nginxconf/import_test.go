package nginxconf

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perigee/proxy/config"
	"perigee/proxy/exchange"
)

var update = flag.Bool("update", false, "write what the importer gives into testdata")

// sections splits a txtar file: "-- name --" lines, each with a text below.
func sections(t *testing.T, path string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found, name := make(map[string]string), ""
	for _, line := range strings.SplitAfter(string(data), "\n") {
		inner, begins := strings.CutPrefix(line, "-- ")
		if title, ends := strings.CutSuffix(inner, " --\n"); begins && ends {
			name, found[title] = title, ""
			continue
		}
		found[name] += line
	}
	return found
}

func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no cases", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			files := sections(t, path)
			dir := t.TempDir()
			for name, text := range files {
				if name == "" || name == "yaml" || name == "left" {
					continue
				}
				full := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			result, err := Import(filepath.Join(dir, "conf", "nginx.conf"), "")
			if err != nil {
				t.Fatal(err)
			}
			var left strings.Builder
			for _, l := range result.Left {
				left.WriteString(l.String() + "\n")
			}
			text := strings.ReplaceAll(string(result.YAML), dir, "PREFIX")
			if *update {
				before, _, _ := strings.Cut(string(must(os.ReadFile(path))), "-- yaml --\n")
				if err := os.WriteFile(path, []byte(before+"-- yaml --\n"+text+"-- left --\n"+left.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if text != files["yaml"] {
				t.Errorf("YAML is\n%s\nwanted\n%s", text, files["yaml"])
			}
			if left.String() != files["left"] {
				t.Errorf("left out is\n%s\nwanted\n%s", left.String(), files["left"])
			}
			written := filepath.Join(dir, "perigee.yaml")
			if err := os.WriteFile(written, result.YAML, 0o600); err != nil {
				t.Fatal(err)
			}
			file, err := config.Load(written)
			if err != nil {
				t.Fatalf("the loader refuses it: %v", err)
			}
			if unknown := file.CheckVariables(exchange.KnownVariable); len(unknown) > 0 {
				t.Errorf("it asks for variables that nothing makes: %v", unknown)
			}
		})
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

func TestUnescape(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"quotes":           {`\"a\'`, `"a'`},
		"backslash":        {`a\\d`, `a\d`},
		"two in a row":     {`\\\\n`, `\\n`},
		"controls":         {`\t\r\n`, "\t\r\n"},
		"others stay":      {`\d\w\0`, `\d\w\0`},
		"alone at the end": {`a\`, `a\`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := unescape(test.text); got != test.want {
				t.Errorf("unescape(%q) = %q, wanted %q", test.text, got, test.want)
			}
		})
	}
}

func TestTemplate(t *testing.T) {
	for name, test := range map[string]struct{ text, want, err string }{
		"plain":             {"a", "a", ""},
		"name":              {"$Host/$uri", "$host/$uri", ""},
		"braces":            {"${host}-x", "$host-x", ""},
		"braces and letter": {"${Host}x", "$(host)x", ""},
		"lonely dollar":     {"100 $", "100 $$", ""},
		"open brace":        {"${host", "", "not closed"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := template(test.text)
			if got != test.want || (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("template(%q) = %q, %v; wanted %q, %q", test.text, got, err, test.want, test.err)
			}
		})
	}
}

func TestSearchPath(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"slash":    {"$prefix/lua/?.lua;;", "lua/?.lua;;"},
		"no slash": {"${prefix}lua/?.lua;$prefix//x/?.so", "lua/?.lua;x/?.so"},
		"absolute": {"/usr/share/lua/?.lua", "/usr/share/lua/?.lua"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := searchPath(test.text); got != test.want {
				t.Errorf("searchPath(%q) = %q, wanted %q", test.text, got, test.want)
			}
		})
	}
}

func TestBrokenFiles(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"no semicolon":    {"http {\n  set $a 1\n}", `nginx.conf:3: directive "set" is not ended`},
		"open block":      {"http {\n", "a } is missing"},
		"open quote":      {"set $a 'x;\n", "nginx.conf:1: the quote ' is not closed"},
		"open Lua block":  {"init_by_lua_block { x = '}'\n", "the Lua block is not closed"},
		"stray brace":     {"}", `unexpected "}"`},
		"word after text": {`set $a "x"y;`, "after a closing quote"},
		"endless include": {"include nginx.conf;", "deeper than 32"},
		"missing include": {"\ninclude other.conf;", "nginx.conf:2: include:"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "nginx.conf")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Import(path, ""); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, wanted %q", err, test.want)
			}
		})
	}
}

// FuzzParse holds that no text makes the parser or the importer fall over.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "http { server { listen 80; location / { content_by_lua 'ngx.say(\"\\\\n\")'; } } }",
		"init_by_lua_block { [==[ } ]==] -- }\n }", "set $a ${b}c;", "a \\", "\"", "location ~ a{2} {}", "x #",
		"http { server { set $x $y; location a {} location /a/ { proxy_pass http://h:1/b; } } upstream {} }",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "include") {
			t.Skip("reads files")
		}
		list, err := (&reader{}).block(&lexer{file: "f", text: text, line: 1}, 0, 0)
		if err != nil {
			return
		}
		m := &importer{names: make(map[string]bool)}
		m.main(list)
		if _, err := m.out.yaml(); err != nil {
			t.Errorf("%q cannot be written: %v", text, err)
		}
	})
}
