package main

import (
	"bytes"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// perigeeTest runs "perigee test" and bounds its time.
func perigeeTest(t *testing.T, dir string, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"test"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	if !limit.Stop() {
		t.Fatalf("it did not end\n%s%s", &stdout, &stderr)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// TestDemoSpecs runs the specs that the README names.
func TestDemoSpecs(t *testing.T) {
	code, out, errs := perigeeTest(t, "", "demo")
	if code != 0 || !strings.Contains(out, " 0 failed, 0 errors, ") ||
		!strings.Contains(out, "phases covered: access 1/1, content 1/1, header_filter 1/1\n") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestTestCommand(t *testing.T) {
	for _, c := range []struct {
		name, spec string
		args       []string
		code       int
		out        string // in standard output, or with code 2 in standard error
	}{
		{name: "pass", spec: "it('a', function() end)", out: "1 passed, 0 failed, 0 errors, 0 pending"},
		{name: "fail", spec: "it('a', function() assert.is_true(false) end)", code: 1, out: "a_spec.lua:1: Expected objects to be the same."},
		{name: "syntax error", spec: "it('a' function() end)", code: 1, out: "a_spec.lua:1: ')' expected near 'function'"},
		{name: "endless loop", spec: "it('a', function()\nwhile true do end end)\nit('b', function() end)", args: []string{"-budget", "200ms"}, code: 1, out: "a_spec.lua:2: execution time limit exceeded"},
		{name: "verbose", spec: "it('a', function() end)", args: []string{"-v"}, out: "--- PASS: a "},
		{name: "tap", spec: "it('a', function() end)", args: []string{"-tap"}, out: "ok 1 - a\n1..1\n"},
		{name: "filter", spec: "it('a', function() end)\nit('b', function() error() end)", args: []string{"-filter", "^a$"}, out: "1 passed"},
		{name: "wrong filter", args: []string{"-filter", "("}, code: 2, out: "-filter: error parsing regexp"},
		{name: "wrong flag", args: []string{"-no"}, code: 2, out: "flag provided but not defined: -no"},
		{name: "no specs", args: []string{"."}, code: 1},
		{name: "configuration", spec: "it('a', function() assert.are.equal('hi', perigee.gateway():get('/').body) end)", args: []string{"-c", "perigee.yaml"}, out: "1 passed"},
		{name: "no configuration", spec: "it('a', function() perigee.gateway() end)", code: 1, out: "give it config = TEXT or file = PATH, or the command -c FILE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "perigee.yaml"), "listeners: [{address: \":8080\"}]\nroutes: [{name: a, respond: {body: hi}}]\n")
			if c.spec != "" {
				write(t, filepath.Join(dir, "a_spec.lua"), c.spec)
			}
			code, out, errs := perigeeTest(t, dir, c.args...)
			said := out
			if c.code == 2 {
				said = errs
			}
			if code != c.code || !strings.Contains(said, c.out) {
				t.Errorf("exit code %d, want %d and %q\n%s%s", code, c.code, c.out, out, errs)
			}
		})
	}
}

func TestJUnitFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a_spec.lua"), "it('a', function() end)\nit('b', function() error('<no> & \"never\"') end)")
	code, out, errs := perigeeTest(t, dir, "-junit", "report.xml")
	if code != 1 {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	report, err := os.ReadFile(filepath.Join(dir, "report.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Tests  int `xml:"tests,attr"`
		Errors int `xml:"errors,attr"`
	}
	if err := xml.Unmarshal(report, &got); err != nil || got.Tests != 2 || got.Errors != 1 {
		t.Errorf("%v, %+v\n%s", err, got, report)
	}
}

// TestReadmeSpec: the spec that the README shows is a part of the demo's.
func TestReadmeSpec(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := os.ReadFile("demo/lua/orders_spec.lua")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(readme), "```lua\ndescribe(")
	block, _, _ = strings.Cut(block, "```")
	if !found || len(block) < 200 {
		t.Fatal("the README shows no spec")
	}
	for _, part := range strings.Split("describe("+block, "\n\n") {
		if !strings.Contains(string(spec), strings.TrimRight(part, "\n")) {
			t.Errorf("the README shows what the demo's spec does not have:\n%s", part)
		}
	}
}
