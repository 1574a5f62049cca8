//go:build luajit && !race

package instructions

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "take the figures measured now over into testdata/instructions.txt")

const (
	table  = "testdata/instructions.txt"
	warm   = 100
	rounds = 200

	tolerance = 0.03
	fewest    = 8 // differences up to this are not looked at
)

type script struct {
	name  string
	phase int
}

// scripts are testdata/scripts by the phase they run in, PG_PHASE_*.
var scripts = []script{
	{"nothing", 4}, {"access", 4}, {"arguments", 4}, {"context", 4}, {"dict", 4}, {"limit", 4}, {"log", 4},
	{"metrics", 4}, {"regex", 4}, {"socket", 4}, {"text", 4}, {"thread", 4}, {"variables", 4},
	{"content", 5}, {"headers", 7},
}

// A figure is what one run of a script takes.
type figure struct {
	all  int64 // instructions in C and Lua's interpreter
	shim int64 // of them in luavm/shim's own functions
	heap int64 // bytes that Lua's heap grew by; nothing is collected meanwhile
}

// TestInstructions holds the figures to the committed ones.
func TestInstructions(t *testing.T) {
	for _, program := range []string{"gcc", "valgrind"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v; make deps-test installs it", err)
		}
	}
	key := machine(t)
	b := bridge{build(t), modules(t)}
	want, header := readTable(t)
	got, missing := map[string]figure{}, []string(nil)
	for _, sc := range scripts {
		watch(t, path("bench/instructions/testdata/scripts/"+sc.name+".lua"))
		row := key + " " + sc.name
		if _, ok := want[row]; !ok && !*update {
			missing = append(missing, sc.name)
		}
		got[sc.name] = b.compare(t, sc, want[row])
	}
	switch {
	case *update && !t.Failed():
		writeTable(t, key, header, got)
	case len(missing) == len(scripts):
		t.Logf("WARNING: nothing was compared: %s has no rows for %q. Add them with: go test -tags luajit ./bench/instructions -update", table, key)
	case len(missing) > 0:
		t.Errorf("%s has no rows for %q of %q: go test -tags luajit ./bench/instructions -update", table, missing, key)
	}
}

// A bridge is the harness and the modules of lualib that it boots with.
type bridge struct {
	harness string
	modules []string
}

// compare measures a script against want, which is zero where there is nothing to
// compare with.
func (b bridge) compare(t *testing.T, sc script, want figure) (got figure) {
	t.Run(sc.name, func(t *testing.T) {
		p, heap := b.count(t, sc)
		got = figure{p.total / rounds, p.shim() / rounds, heap / rounds}
		t.Logf("%d instructions, %d of them the shim's own, %d bytes of Lua's heap", got.all, got.shim, got.heap)
		if *update || want == (figure{}) {
			return
		}
		bad := differs(t, "instructions", got.all, want.all)
		bad = differs(t, "instructions of luavm/shim's own functions", got.shim, want.shim) || bad
		bad = differs(t, "bytes of Lua's heap", got.heap, want.heap) || bad
		if bad {
			t.Logf("of the shim's functions these take most: %s", p.largest(rounds))
			t.Logf("if that is as it should be: go test -tags luajit ./bench/instructions -update, and say why in the commit")
		}
	})
	return got
}

// count runs a script under callgrind and says by how much Lua's heap grew.
func (b bridge) count(t *testing.T, sc script) (p profile, heap int64) {
	out := filepath.Join(t.TempDir(), "callgrind.out")
	args := []string{
		"--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no", "--callgrind-out-file=" + out,
		b.harness, path("luavm/shim"), path("luavm/lualib"), path("bench/instructions/testdata/scripts/" + sc.name),
		strconv.Itoa(sc.phase), strconv.Itoa(warm), strconv.Itoa(rounds),
	}
	cmd := exec.Command("valgrind", append(args, b.modules...)...)
	// The C library's plainest functions, which all processors have.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GLIBC_TUNABLES=glibc.cpu.hwcaps=" +
		"-AVX2,-AVX,-AVX512F,-ERMS,-FSRM,-BMI2,-SSE4_2,-SSSE3,-AVX_Fast_Unaligned_Load"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("valgrind: %v\n%s", err, stderr.String())
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = parseProfile(string(text)); err != nil {
		t.Fatal(err)
	}
	if heap, err = strconv.ParseInt(strings.TrimSpace(stdout.String()), 10, 64); err != nil {
		t.Fatalf("the harness says %q", stdout.String())
	}
	return p, heap
}

func differs(t *testing.T, what string, got, want int64) bool {
	if d := got - want; max(d, -d) <= max(int64(tolerance*float64(want)), fewest) {
		return false
	}
	verb := "grew"
	if got < want {
		verb = "fell"
	}
	t.Errorf("%s %s from %d to %d (%+.1f %%)", what, verb, want, got, 100*float64(got-want)/float64(max(want, 1)))
	return true
}

func path(name string) string {
	p, err := filepath.Abs("../../" + name)
	if err != nil {
		panic(err)
	}
	return p
}

// machine is what figures depend on beside the source: "amd64 gcc-12
// luajit-hardened-2.1-20230119-1".
func machine(t *testing.T) string {
	gcc, err := exec.Command("gcc", "-dumpversion").Output()
	if err != nil {
		t.Fatal(err)
	}
	major, _, _ := strings.Cut(strings.TrimSpace(string(gcc)), ".")
	luajit, err := os.ReadFile(path(".deps/luajit/build.txt"))
	if err != nil {
		t.Fatalf("%v; make deps makes it", err)
	}
	return fmt.Sprintf("%s gcc-%s luajit-%s", runtime.GOARCH, major, strings.Join(strings.Fields(string(luajit)), "-"))
}

// modules are lualib's files but init, by name.
func modules(t *testing.T) (names []string) {
	root := path("luavm/lualib")
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(file) != ".lua" {
			return err
		}
		watch(t, file)
		name, err := filepath.Rel(root, strings.TrimSuffix(file, ".lua"))
		if name != "init" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// watch lets go test know that the result depends on a file which other programs
// read.
func watch(t *testing.T, file string) {
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
}

var (
	cflags  = regexp.MustCompile(`(?m)^#cgo CFLAGS: (.*)$`)
	include = regexp.MustCompile(`-I\S+`)
)

// build makes the harness of the shim's files, compiled as cgo compiles them.
func build(t *testing.T) string {
	shim, dir := path("luavm/shim"), t.TempDir()
	source, err := os.ReadFile(filepath.Join(shim, "shim.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := cflags.FindSubmatch(source)
	if found == nil {
		t.Fatal("shim.go has no #cgo CFLAGS line any more: compile as the package is compiled now")
	}
	flags := strings.Fields(include.ReplaceAllString(string(found[1]), ""))
	flags = append(flags, "-g", "-O2", "-I"+shim, "-I"+path(".deps/luajit/include"))
	files, err := filepath.Glob(filepath.Join(shim, "*.[ch]"))
	if err != nil {
		t.Fatal(err)
	}
	harness := path("bench/instructions/testdata/harness.c")
	for _, f := range append(files, harness) {
		watch(t, f)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return filepath.Ext(f) == ".h" })
	compile(t, append(append([]string{"-c"}, flags...), append(files, harness)...), dir)
	objects, err := filepath.Glob(filepath.Join(dir, "*.o"))
	if err != nil {
		t.Fatal(err)
	}
	link := append([]string{"-o", "harness", "-Wl,--wrap=syscall", "-rdynamic"}, objects...)
	compile(t, append(link, path(".deps/lib/libpcre2-8-text.a"), path(".deps/lib/liblua5.1-cjson.a"),
		path(".deps/lib/libluajit-5.1.a"), "-lm", "-ldl", "-lpthread"), dir)
	return filepath.Join(dir, "harness")
}

func compile(t *testing.T, args []string, dir string) {
	cmd := exec.Command("gcc", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
}
