package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"perigee/proxy/unit"
	"perigee/proxy/upstream"
)

// minimal is a configuration that loads, to which a test adds.
const minimal = "listeners: [{address: \":8080\"}]\nroutes: [{name: a, respond: {}}]\n"

func parse(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse("perigee.yaml", []byte(text), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDefaults(t *testing.T) {
	f := parse(t, minimal+"upstreams: {u: {endpoints: ['a:1']}}\n")
	for name, pair := range map[string][2]any{
		"prefix":         {f.Prefix, "."},
		"driver":         {f.Listeners[0].DriverName(), DriverLoop},
		"admin":          {f.Admin, Admin{Address: "127.0.0.1:9901"}},
		"header_bytes":   {f.Limits.HeaderBytes, 16 * unit.KiB},
		"body_bytes":     {f.Limits.BodyBytes, 10 * unit.MiB},
		"header_timeout": {f.Limits.HeaderTimeout.Std(), 10 * time.Second},
		"idle_timeout":   {f.Limits.IdleTimeout.Std(), 75 * time.Second},
		"cpu_budget":     {f.Lua.CPUBudget.Std(), 100 * time.Millisecond},
		"total_time":     {f.Lua.TotalTime.Std(), time.Minute},
		"status":         {f.Routes[0].Respond.Status, 200},
		"weight":         {f.Upstreams["u"].Endpoints[0].Weight, 1},
		"connect":        {f.Upstreams["u"].Timeouts.Connect.Std(), 5 * time.Second},
		"attempts":       {f.Upstreams["u"].Retry.Attempts, 2},
		"route timeouts": {f.Routes[0].Timeouts, upstream.TimeoutConfig{}},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: %v, want %v", name, pair[0], pair[1])
		}
	}
	if f := parse(t, minimal+"admin: {address: off}\n"); !f.Admin.Off() {
		t.Error("admin is not off")
	}
}

func TestAWrittenZeroIsNotTheDefault(t *testing.T) {
	f := parse(t, minimal+"limits: {body_bytes: 0}\nlua: {total_time: 0}\nupstreams: {u: {endpoints: ['a:1', {address: 'b:1', weight: 0}], retry: {on: []}}}\n")
	if f.Limits.BodyBytes != 0 || f.Lua.TotalTime != 0 || f.Upstreams["u"].Endpoints[1].Weight != 0 || len(f.Upstreams["u"].Retry.On) != 0 {
		t.Errorf("%+v %+v", f.Limits, f.Upstreams["u"])
	}
}

func TestPathsStartAtPrefix(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "conf/a.lua", "#!/usr/bin/luajit\nreturn 1\n")
	write(t, dir, "perigee.yaml", "prefix: conf\nlog: {file: error.log}\n"+
		"lua: {path: 'lua/?.lua;;/abs/?.lua'}\nlisteners: [{address: ':1'}]\nroutes: [{name: a, lua: {content: {file: a.lua}}}]\n")
	f, err := Load(filepath.Join(dir, "perigee.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "conf")
	source := f.Routes[0].Lua.Content
	for name, pair := range map[string][2]string{
		"root": {f.Root(), root}, "log": {f.Log.File, root + "/error.log"}, "access log": {f.AccessLog.File, "-"},
		"lua.path": {f.Lua.Path, root + "/lua/?.lua;;/abs/?.lua"}, "file": {source.File, root + "/a.lua"},
		"chunk name": {source.ChunkName("content"), "@" + root + "/a.lua"},
		"text":       {source.Text, "#!/usr/bin/luajit\nreturn 1\n"}, "name": {f.Name(), filepath.Join(dir, "perigee.yaml")},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %q, want %q", name, pair[0], pair[1])
		}
	}
}

func TestPositionsOfValuesAndScripts(t *testing.T) {
	f := parse(t, "listeners: [{address: ':1'}]\nroutes:\n  - name: a\n    lua:\n      access: |\n        return 1\n      content: {name: n, inline: 'x'}\n")
	if got := f.Routes[0].Lua.Access.Position.String(); got != "perigee.yaml:5:15" {
		t.Errorf("access at %s", got)
	}
	if got := f.Routes[0].Lua.Access.ChunkName("access"); got != "=access(perigee.yaml:5)" {
		t.Errorf("chunk name %s", got)
	}
	if got := f.Routes[0].Lua.Content.ChunkName("content"); got != "=n" {
		t.Errorf("chunk name %s", got)
	}
	for path, want := range map[string]string{
		"routes[0].name": "3:11", "routes[0].lua.access": "5:15", "routes[0].proxy.via": "3:5", "limits.header_bytes": "1:1", `variables["a.b"]`: "1:1", "": "1:1",
	} {
		if got := f.Position(path); got.String() != "perigee.yaml:"+want {
			t.Errorf("%s at %s, want %s", path, got, want)
		}
	}
	e := f.NewError("routes[0].lua.access", "unexpected symbol", "see line 1")
	if got := (Errors{e, e}).Error(); got != "perigee.yaml:5:15: routes[0].lua.access: unexpected symbol (see line 1)\nperigee.yaml:5:15: routes[0].lua.access: unexpected symbol (see line 1)" {
		t.Errorf("error %q", got)
	}
}

func TestErrorsAreTyped(t *testing.T) {
	_, err := Parse("x.yaml", []byte(minimal+"limts: {}\n"), ".")
	var all Errors
	if !errors.As(err, &all) || len(all) != 1 {
		t.Fatalf("%v", err)
	}
	want := Error{Position: unit.Position{File: "x.yaml", Line: 3, Column: 1}, Path: "limts", Message: `unknown key "limts"`, Hint: `did you mean "limits"?`}
	if all[0] != want {
		t.Errorf("got %+v, want %+v", all[0], want)
	}
	if _, err := Load(t.TempDir() + "/none.yaml"); err == nil || !strings.Contains(err.Error(), "none.yaml: cannot be read: no such file or directory") {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

func TestDigestChangesWithWhatMattersOnly(t *testing.T) {
	load := func(text, script string) *File {
		t.Helper()
		dir := t.TempDir()
		write(t, dir, "a.lua", script)
		write(t, dir, "perigee.yaml", text)
		f, err := Load(filepath.Join(dir, "perigee.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	const text = "listeners: [{address: ':8080'}]\nvariables: {v: '${DIGEST_TEST:-a}'}\nroutes: [{name: a, lua: {content: {file: a.lua}}}]\n"
	base := load(text, "return 1")
	if len(base.Digest()) != 64 || strings.Trim(base.Digest(), "0123456789abcdef") != "" {
		t.Errorf("digest %q", base.Digest())
	}
	for name, same := range map[string]*File{
		"another folder": load(text, "return 1"),
		"a comment":      load("# hello\n"+text, "return 1"),
		"a default":      load("limits: {header_bytes: 16KiB}\nadmin: {}\n"+text, "return 1"),
		"other notation": load(strings.Replace(text, "[{address: ':8080'}]", "\n  - address: \":8080\"", 1), "return 1"),
	} {
		if same.Digest() != base.Digest() {
			t.Errorf("%s changes the digest", name)
		}
	}
	t.Setenv("DIGEST_TEST", "b")
	for name, other := range map[string]*File{
		"the environment": load(text, "return 1"),
		"a script":        load(strings.Replace(text, "${DIGEST_TEST:-a}", "a", 1), "return 2"),
		"a limit":         load("limits: {header_bytes: 32KiB}\n"+strings.Replace(text, "${DIGEST_TEST:-a}", "a", 1), "return 1"),
	} {
		if other.Digest() == base.Digest() {
			t.Errorf("%s does not change the digest", name)
		}
	}
}

func TestDigestHasModules(t *testing.T) {
	const text = "prefix: root\nlua: {path: 'lua/?.lua;lua/?/init.lua;;'}\nlisteners: [{address: ':8080'}]\nroutes: [{name: a, lua: {content: {file: a.lua}}}]\n"
	base := map[string]string{
		"a.lua": `local p = require "my.policy" -- require "commented"
			local ok, q = pcall(require, 'by-pcall')
			for _, name in ipairs({[[in_table]], "missing"}) do require(name) end
			require("plugins." .. kind .. ".handler")
			require("whole") ("x")
			require("\100ot") ngx.say("quo\"ted") --[[ require "commented" ]]`,
		"lua/my/policy.lua": `return require "deep"`, "lua/deep/init.lua": `return require("my.policy")`,
		"lua/by-pcall.lua": "", "lua/in_table.lua": "", "lua/whole.lua": "", "lua/plugins/x/handler.lua": "",
		"lua/unused.lua": "", "lua/commented.lua": "", "lua/plugins/..2026/x.lua": "", "lua/whole/init.lua": "",
	}
	digest := func(path, added string) string {
		t.Helper()
		dir := t.TempDir()
		for name, content := range base {
			if name == path {
				content += added
			}
			name = filepath.Join("root", name)
			if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, dir, name, content)
		}
		write(t, dir, "perigee.yaml", text)
		f, err := Load(filepath.Join(dir, "perigee.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return f.Digest()
	}
	first := digest("", "")
	for path, part := range map[string]bool{
		"lua/my/policy.lua": true, "lua/deep/init.lua": true, "lua/by-pcall.lua": true, "lua/in_table.lua": true,
		"lua/whole.lua": true, "lua/plugins/x/handler.lua": true,
		"lua/unused.lua": false, "lua/commented.lua": false, "lua/plugins/..2026/x.lua": false,
		"lua/whole/init.lua": false, // behind whole.lua in lua.path
	} {
		if changed := digest(path, "-- edited") != first; changed != part {
			t.Errorf("%s: the digest changes: %v, want %v", path, changed, part)
		}
	}
	if digest("", "") != first {
		t.Error("the digest depends on the folder")
	}
}

func FuzzLuaStrings(f *testing.F) {
	for _, seed := range []string{`require "a" .. b`, "--[==[ x ]==] '\\' [[\n]]", "[=[", "'", `"\`, "--[[", "--[=", "[=[]=]", "["} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rest := text
		for literal := range luaStrings(text) {
			i := strings.Index(rest, literal)
			if i < 0 {
				t.Fatalf("%q is not in the rest %q of %q", literal, rest, text)
			}
			rest = rest[i+len(literal):]
		}
	})
}

func TestMaskedShowsNothingThatWasExpanded(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "secret", "hunter2\n")
	t.Setenv("TOKEN", "hunter2$host")
	f, err := Parse("perigee.yaml", []byte(minimal+`
variables: {a: "Bearer ${file:secret}", b: "${TOKEN}"}
upstreams:
  u: {endpoints: ["a:1"], host: "${TOKEN}"}
log: {file: "${file:secret}"}
`), dir)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := f.Variables["b"].Literal(); text != "hunter2$host" {
		t.Errorf("an expanded dollar became a variable: %+v", f.Variables["b"].Parts())
	}
	dump, err := f.Masked()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(dump), "hunter2") {
		t.Errorf("the dump shows it:\n%s", dump)
	}
	if !strings.Contains(string(dump), "a: Bearer ${file:secret}") {
		t.Errorf("the dump does not show what was written:\n%s", dump)
	}
}

func TestMaskedReadsBack(t *testing.T) {
	f, err := Load("perigee.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dump, err := f.Masked()
	if err != nil {
		t.Fatal(err)
	}
	// A mask is no hash: these two cannot be read back, and must not.
	for _, key := range []string{"sha256", "secret_base64"} {
		dump = []byte(strings.ReplaceAll(string(dump), key+": '"+unit.Mask+"'", key+": "+strings.Repeat("0", 64)))
	}
	again, err := Parse("dump.yaml", dump, filepath.Dir("perigee.example.yaml"))
	if err != nil {
		t.Fatalf("%v\n%s", err, dump)
	}
	twice, err := again.Masked()
	if first, _ := f.Masked(); err != nil || string(twice) != string(first) {
		t.Errorf("the dump of the dump differs: %v\n%s\n%s", err, dump, twice)
	}
}

func TestCheckVariables(t *testing.T) {
	f := parse(t, minimal+"variables: {tenant: $http_x_tenant, b: '$tenent $1 $$x $other'}\n")
	all := f.CheckVariables(func(name string) bool { return strings.HasPrefix(name, "http_") })
	want := "perigee.yaml:3:40: variables.b: there is no variable $other ($$ is a dollar)\n" +
		"perigee.yaml:3:40: variables.b: there is no variable $tenent (did you mean $tenant?)"
	if all.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", all, want)
	}
}

func TestVariablesMadeOfThemselvesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"{a: $a}": "a", "{a: $b, b: $c, c: $a}": "a b c", "{a: $b, b: $b}": "b", "{a: $b$b, b: x$http_a}": "", "{a: $$a}": "",
	} {
		_, err := Parse("x.yaml", []byte(minimal+"variables: "+text), ".")
		var got []string
		all, _ := err.(Errors)
		for _, e := range all {
			got = append(got, strings.TrimPrefix(e.Path, "variables."))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want errors for %q", text, err, want)
		}
	}
}

func TestVariableOrder(t *testing.T) {
	f := parse(t, minimal+"variables: {a: $d$b, b: $c, c: x, d: $http_y}\n")
	if got := strings.Join(f.VariableOrder(), " "); got != "d c b a" {
		t.Errorf("got %s", got)
	}
}
