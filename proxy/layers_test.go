package proxy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "perigee"

// A layer is one row of the house. A package imports packages of rows below
// its own only: never upwards and never sideways.
type layer struct {
	packages []string
	// private says why rows below and neighbours must not import this row.
	private string
}

// layers is the house from the ground up. A new package gets its line here
// first; the lowest row that can see all it needs is the right one.
var layers = []layer{
	{
		packages: []string{
			"luavm/lualib", "luavm/shim", "luavm/socket", "proctest", "proxy/disk", "proxy/sockets",
			"proxy/unit", "proxy/wire", "ratelimit", "ratelimit/clocktest",
		},
		private: "the ground knows nothing of its neighbours: each of these can be read, tested and used alone",
	},
	{
		packages: []string{"proxy/h2", "proxy/mapping", "proxy/observe", "luavm", "ratelimit/fleet"},
		private:  "what is recorded, what is looked up and what runs Lua are independent: a VM exposes Stats(), it does not own metrics",
	},
	{
		packages: []string{"proxy/upstream"},
		private:  "an endpoint outlives every exchange and must not know who asks",
	},
	{
		packages: []string{"proxy/trace"},
		private:  "a trace is made of ids, names and times; it must not know whose",
	},
	{
		packages: []string{"proxy/exchange"},
		private:  "the exchange is what filters and drivers meet on; below it nothing knows of requests",
	},
	{
		packages: []string{
			"proxy/ai", "proxy/auth", "proxy/cache", "proxy/compress", "proxy/ip", "proxy/limit",
			"proxy/respond", "proxy/rewrite", "proxy/script", "proxy/static", "proxy/transform",
		},
		private: "features are blind to each other: what a later stage needs of an earlier one is a named field of the exchange",
	},
	{
		packages: []string{"proxy/config", "proxy/loop", "proxy/route", "proxy/serve"},
		private:  "drivers, matching and the file format know exchanges, not each other: proxy joins them",
	},
	{
		packages: []string{"proxy"},
		private:  "the gateway joins the parts; a part that imports it could not be tested without the whole",
	},
	{
		packages: []string{"cmd/perigee/demo", "proxy/admin", "proxy/luatest", "proxy/nginxconf", "proxy/proxytest"},
		private:  "surfaces around the gateway reach it through an interface of their own; nothing inside may depend on them",
	},
	{
		packages: []string{"cmd/perigee"},
		private:  "a command is nobody's library",
	},
}

// A ban forbids an import whatever the rows say.
type ban struct {
	imported string   // exact import path, or a prefix ending in "/..."
	except   []string // packages that may, same patterns
	only     []string // if set, the ban holds only for these packages
	tests    bool     // also in _test.go files
	reason   string
}

var bans = []ban{
	{
		imported: "perigee/proxy/...", only: []string{"ratelimit/...", "luavm/..."}, tests: true,
		reason: "ratelimit and luavm are libraries of their own, usable and praised without a gateway",
	},
	{
		imported: "perigee/proxy/proxytest", except: []string{"proxy/proxytest"},
		reason: "proxytest is for tests; it would drag scripted upstreams into the binary",
	},
	{
		imported: "perigee/proctest",
		reason:   "proctest is for tests; it would drag package testing into the binary",
	},
	{
		imported: "C", except: []string{"luavm/shim"}, tests: true,
		reason: "one package crosses into C, so that its rules on pointers and threads are checked in one place",
	},
	{
		imported: "github.com/aarzilli/golua/...", except: []string{"luavm/shim"}, tests: true,
		reason: "golua's calls crash LuaJIT on errors and in coroutines; the shim knows which of them are safe",
	},
	{
		imported: "github.com/VictoriaMetrics/metrics", except: []string{"proxy/observe", "bench/..."},
		reason: "metric names and labels are owned by observe; others hold counters it gave them or expose Stats()",
	},
	{
		imported: "go.opentelemetry.io/...", except: []string{"proxy/trace", "proxy/proxytest"},
		reason: "how spans travel is one package's knowledge; others name spans and attributes in its words",
	},
	{
		imported: "encoding/json",
		reason:   "JSON is github.com/goccy/go-json everywhere, fuzzed against encoding/json in tests",
	},
	{
		imported: "net/http/pprof", except: []string{"proxy/admin"},
		reason: "importing it registers handlers on http.DefaultServeMux; profiles belong to the admin listener",
	},
	{
		imported: "expvar",
		reason:   "importing it registers a handler on http.DefaultServeMux; metrics belong to observe",
	},
	{
		imported: "log",
		reason:   "the process has one log, observe's, with levels and a file that can be reopened",
	},
}

// A sourceFile is one Go file of the module.
type sourceFile struct {
	path    string // relative to the module's root, slashes
	pkg     string // directory, relative to the module's root
	test    bool
	syntax  *ast.File
	imports []string
}

// readModule parses every Go file of the module, whatever its build tags.
func readModule(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	err := filepath.WalkDir("..", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return enter(name)
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(name, ".."+string(filepath.Separator)))
		file := sourceFile{path: rel, pkg: path.Dir(rel), syntax: syntax, test: strings.HasSuffix(rel, "_test.go")}
		for _, spec := range syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			file.imports = append(file.imports, imported)
		}
		files = append(files, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// enter answers SkipDir for directories that the go command leaves out too.
func enter(name string) error {
	if name == ".." {
		return nil
	}
	base := filepath.Base(name)
	if base[0] == '.' || base[0] == '_' || base == "testdata" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// matches reports whether name is pattern, or lies under it for "x/...".
func matches(pattern, name string) bool {
	parent, all := strings.CutSuffix(pattern, "/...")
	return name == parent || all && strings.HasPrefix(name, parent+"/")
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// rowOf answers a package's row, or -1.
func rowOf(pkg string) int {
	return slices.IndexFunc(layers, func(l layer) bool { return slices.Contains(l.packages, pkg) })
}

func TestEveryPackageHasALayer(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range readModule(t) {
		// Packages of tests alone (bench) and load generators stand outside.
		if file.test || seen[file.pkg] || matches("bench/...", file.pkg) || matches("loadtest/...", file.pkg) {
			continue
		}
		seen[file.pkg] = true
		if rowOf(file.pkg) < 0 {
			t.Errorf("package %s has no row: give it one in layers, the lowest that sees all it needs", file.pkg)
		}
	}
}

func TestImportsGoDownOnly(t *testing.T) {
	for _, file := range readModule(t) {
		from := rowOf(file.pkg)
		if file.test || from < 0 {
			continue
		}
		for _, imported := range file.imports {
			pkg, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				continue
			}
			if to := rowOf(pkg); to >= from {
				t.Errorf("%s (row %d) imports %s (row %d): %s", file.path, from, pkg, to, layers[to].private)
			}
		}
	}
}

func TestBannedImports(t *testing.T) {
	for _, file := range readModule(t) {
		for _, imported := range file.imports {
			for _, b := range bans {
				if !matches(b.imported, imported) || file.test && !b.tests {
					continue
				}
				if matchesAny(b.except, file.pkg) || len(b.only) > 0 && !matchesAny(b.only, file.pkg) {
					continue
				}
				t.Errorf("%s imports %s: %s", file.path, imported, b.reason)
			}
		}
	}
}

func TestGoluaHasOneDoor(t *testing.T) {
	var doors []string
	for _, file := range readModule(t) {
		if slices.ContainsFunc(file.imports, func(i string) bool { return matches("github.com/aarzilli/golua/...", i) }) {
			doors = append(doors, file.path)
		}
	}
	if len(doors) > 1 {
		t.Errorf("golua is imported by %s: one file holds the state, the others go through it", strings.Join(doors, ", "))
	}
}

func TestEveryPackageIsDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, file := range readModule(t) {
		if !file.test {
			documented[file.pkg] = documented[file.pkg] || file.syntax.Doc != nil
		}
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no doc comment: say what it is for and what it does not do", pkg)
		}
	}
}

// An init function runs because of an import; features are named in one table
// instead, which can be read, reordered and tested.
func TestNothingHappensOnImport(t *testing.T) {
	for _, file := range readModule(t) {
		if file.test {
			continue
		}
		for _, decl := range file.syntax.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function: build the value where it is used", file.path)
			}
		}
	}
}

func TestLayersNameEachPackageOnce(t *testing.T) {
	seen := map[string]int{}
	for row, l := range layers {
		if l.private == "" {
			t.Errorf("row %d gives no reason", row)
		}
		for _, pkg := range l.packages {
			if other, twice := seen[pkg]; twice {
				t.Errorf("%s stands in rows %d and %d", pkg, other, row)
			}
			seen[pkg] = row
		}
	}
}
