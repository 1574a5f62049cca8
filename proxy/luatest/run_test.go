//go:build cgo && luajit

package luatest

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// run runs specs and fails the test when nothing can be run.
func run(t *testing.T, o Options) (*Summary, string) {
	t.Helper()
	var out bytes.Buffer
	o.Out = &out
	s, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, out.String()
}

// written is a spec file of a text.
func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a_spec.lua")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSpecs: the specs of testdata say what specs can do, and all hold.
func TestSpecs(t *testing.T) {
	begin := time.Now()
	s, out := run(t, Options{Paths: []string{"testdata"}})
	if !s.OK() || s.Count(Passed) < 70 {
		t.Errorf("%s", out)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("hours of sleep took %s", took)
	}
}

// told are results in one line each: status, name, message to its first line's
// end, position in the file.
func told(s *Summary) string {
	var b strings.Builder
	for _, r := range s.Results {
		at := r.At
		if i := strings.LastIndexByte(at, ':'); i >= 0 {
			at = at[i:]
		}
		b.WriteString(string(r.Status) + "|" + r.Name + "|" + firstLine(r.Message) + "|" + at + "\n")
	}
	return b.String()
}

// TestEnds: every way in which a test can end is told, with its line, and the
// tests after it run.
func TestEnds(t *testing.T) {
	const last = "\nit('last', function() end)"
	for _, c := range []struct{ name, spec, want string }{
		{"passed", "it('a', function() end)", "passed|a||"},
		{"a failed assertion", "it('a', function()\n assert.is_true(false) end)", "failed|a|Expected objects to be the same.|:2"},
		{"an assertion in a helper", "local function check()\n assert.is_true(false)\nend\nit('a', function()\n check() end)", "failed|a|Expected objects to be the same.|:2"},
		{"an error", "it('a', function()\n\n error('no') end)", "error|a|no|:3"},
		{"an error in the library", "it('a', function()\n string.rep() end)", "error|a|bad argument #1 to 'rep' (string expected, got no value)|:2"},
		{"an error that is a table", "it('a', function()\n error({}) end)", "error|a|table: 0x|:2"},
		{"an error that is nil", "it('a', function() error() end)", "error|a|nil|:1"},
		{"an error in a coroutine", "it('a', function()\n coroutine.wrap(function() error('no') end)() end)", "error|a|no|:2"},
		{"pending", "pending('a')\nit('b')\nit('c', function() pending('not now') end)", "pending|a|pending|\npending|b|has no body|\npending|c|not now|"},
		{"an endless loop", "it('a', function()\n while true do end end)", "error|a|execution time limit exceeded (it used|:2"},
		{"an endless loop that catches errors", "it('a', function()\n while true do pcall(function() while true do end end) end end)", "error|a|execution time limit exceeded (it used|:2"},
		{"a test that waits for ever", "it('a', function() ngx.thread.wait(ngx.thread.spawn(function() coroutine.yield() while true do ngx.sleep(1) end end)) end)", "error|a|the test took longer than -timeout allows|"},
		{"a failed setup", "describe('d', function()\n setup(function() error('no') end)\n it('a', function() end)\n it('b', function() end)\nend)", "error|d a|setup: no|:2\nerror|d b|setup: no|:2"},
		{"a failed teardown", "describe('d', function()\n teardown(function() error('no') end)\n it('a', function() end)\nend)", "error|d a|teardown: no|:2"},
		{"a failed before_each", "describe('d', function()\n before_each(function() error('no') end)\n it('a', function() end)\nend)", "error|d a|before_each: no|:2"},
		{"a failed after_each", "describe('d', function()\n after_each(function() error('no') end)\n it('a', function() end)\nend)", "error|d a|after_each: no|:2"},
		{"a test that fails twice", "describe('d', function()\n after_each(function() error('later') end)\n it('a', function() error('first') end)\nend)", "error|d a|first|:3"},
		{"a block that fails", "describe('d', function()\n error('no') end)", "error|d |no|:2"},
		{"it in it", "it('a', function()\n it('b', function() end) end)", "error|a|'it' must stand in describe or the file, not in a test|:2"},
		{"ngx.exit outside of requests", "it('a', function() ngx.exit(200) end)", "error|a|ngx.exit(200) was called by the spec itself|"},
		{"the request's API", "it('a', function()\n ngx.req.get_method() end)", "error|a|API disabled in the current context|:2"},
		{"a stub that fails", "it('a', function()\n local gw = perigee.gateway{upstreams = {u = function() error('no', 0) end}, config = 'upstreams: {u: {endpoints: [\"10.0.0.1:80\"]}}\\nroutes: [{name: r, upstream: u}]'}\n assert.are.equal(500, gw:get('/').status) end)", "error|a|the stub for upstream u: |"},
		{"a gateway that outlives its test", "local gw\nit('a', function() gw = perigee.gateway{config = 'routes: [{name: r, respond: {}}]'} end)\nit('b', function() gw:get('/') end)", "passed|a||\nerror|b|GET /: this gateway is closed|:3"},
		{"a connection that ends", "it('a', function()\n local gw = perigee.gateway{config = 'routes: [{name: r, lua: {content: \"ngx.exit(444)\"}}]'}\n gw:get('/') end)", "error|a|GET /: the gateway closed the connection without an answer|:3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := written(t, c.spec+last)
			s, _ := run(t, Options{Paths: []string{path}, Budget: 100 * time.Millisecond, Timeout: time.Second})
			got := strings.Split(strings.ReplaceAll(told(s), path, "SPEC"), "\n")
			want := strings.Split(c.want+"\npassed|last||", "\n")
			if len(got)-1 != len(want) {
				t.Fatalf("got %q\nwant %q", got, want)
			}
			for i, w := range want {
				// The message may go on.
				cut := strings.LastIndexByte(w, '|')
				if !strings.HasPrefix(got[i], w[:cut]) || !strings.HasSuffix(got[i], w[cut:]) {
					t.Errorf("got  %q\nwant %q", got[i], w)
				}
			}
		})
	}
}

func TestSyntaxError(t *testing.T) {
	path := written(t, "it('a', function()\n  if end)")
	s, out := run(t, Options{Paths: []string{path}})
	if s.OK() || len(s.Results) != 1 || s.Results[0].Line != 2 || !strings.Contains(out, path+":2: ") {
		t.Errorf("%+v\n%s", s.Results, out)
	}
}

func TestFilter(t *testing.T) {
	path := written(t, `
		describe("a", function()
			local entered
			setup(function() entered = true end)
			it("one", function() assert.is_true(entered) end)
			it("two", function() error("chosen by nobody") end)
		end)
		describe("b", function()
			setup(function() error("a block that nobody enters") end)
			it("two", function() end)
		end)`)
	s, out := run(t, Options{Paths: []string{path}, Filter: regexp.MustCompile("^a one$")})
	if !s.OK() || len(s.Results) != 1 {
		t.Errorf("%s", out)
	}
}

const mixed = `
describe("d", function()
	it("passes", function() end)
	it("fails", function() assert.are.equal(1, 2) end)
	it("breaks\1 & <that>", function() ngx.log(ngx.ERR, "seen") error("no") end)
	pending("waits")
end)`

func TestPlain(t *testing.T) {
	path := written(t, mixed)
	_, out := run(t, Options{Paths: []string{path}, Verbose: true})
	out = regexp.MustCompile(`\d+\.\d+s`).ReplaceAllString(strings.ReplaceAll(out, path, "SPEC"), "TIME")
	for _, want := range []string{
		"--- PASS: d passes (TIME)\n",
		"--- FAIL: d fails\n    SPEC:4: Expected objects to be equal.\n    Passed in:\n    (number) 2\n    Expected:\n    (number) 1\n",
		"    SPEC:5: no\n    stack traceback:\n    \t[C]: in function 'error'\n    \tSPEC:5: in function <SPEC:5>\n",
		"    logged:\n      [error] [lua] a_spec.lua:5: seen\n",
		"--- PENDING: d waits: pending\n",
		"FAIL  SPEC  4 tests  TIME\n",
		"1 passed, 1 failed, 1 errors, 1 pending in TIME\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

func TestTAP(t *testing.T) {
	path := written(t, mixed)
	_, out := run(t, Options{Paths: []string{path}, TAP: true})
	for _, want := range []string{
		"TAP version 13\nok 1 - d passes\nnot ok 2 - d fails\n#     " + path + ":4: Expected",
		"\nok 4 - d waits # SKIP pending\n1..4\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	for _, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		if !regexp.MustCompile(`^(TAP version 13|(not )?ok \d+ - .*|#.*|1\.\.4)$`).MatchString(line) {
			t.Errorf("%q is not TAP", line)
		}
	}
}

func TestJUnit(t *testing.T) {
	path := written(t, mixed)
	var report bytes.Buffer
	run(t, Options{Paths: []string{path}, JUnit: &report})
	d := xml.NewDecoder(bytes.NewReader(report.Bytes()))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, report.String())
		}
	}
	var got junitSuites
	if err := xml.Unmarshal(report.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Tests != 4 || got.Failures != 1 || got.Errors != 1 || got.Skipped != 1 || len(got.Suites) != 1 {
		t.Errorf("%+v", got)
	}
	cases := got.Suites[0].Cases
	if len(cases) != 4 || cases[1].Failure == nil || cases[2].Error == nil || cases[3].Skipped == nil {
		t.Fatalf("%+v", cases)
	}
	if c := cases[2]; c.Name != "d breaks\uFFFD & <that>" || c.Line != 5 || c.SystemOut == nil ||
		!strings.Contains(c.Error.Text, path+":5: no") {
		t.Errorf("%+v", c)
	}
}

func TestCoverage(t *testing.T) {
	path := written(t, `
		it("asks one of three", function()
			local gw = perigee.gateway{config = [[
routes:
  - name: a
    match: {paths: ["/a"]}
    lua: {access: "return", content: "ngx.say(1)"}
  - name: b
    match: {paths: ["/b"]}
    lua: {access: "return", content: "ngx.say(2)", log: "return"}
]]}
			gw:get("/a")
		end)`)
	s, out := run(t, Options{Paths: []string{path}})
	want := "phases covered: access 1/2, content 1/2, log 0/1\n" +
		"never ran: " + path + ": b/access\nnever ran: " + path + ": b/content\nnever ran: " + path + ": b/log\n"
	if !s.OK() || !strings.HasSuffix(out, want) {
		t.Errorf("got %s\nwant %s", out, want)
	}
}

func TestFind(t *testing.T) {
	if _, err := Run(Options{Paths: []string{t.TempDir()}}); err == nil || !strings.Contains(err.Error(), "no *_spec.lua under ") {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := Run(Options{Paths: []string{"missing"}}); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a missing path: %v", err)
	}
	files, err := find([]string{"testdata/words_spec.lua", "testdata"})
	if err != nil || len(files) != 7 || files[0] != "testdata/words_spec.lua" {
		t.Errorf("%q, %v", files, err)
	}
}

// TestConfig: -c gives specs a configuration to serve, modules and dictionaries.
func TestConfig(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"perigee.yaml": `
listeners: [{address: ":8080"}]
lua: {path: "scripts/?.lua;;", shared_dicts: {seen: 64KiB}}
routes:
  - name: a
    lua: {content: "ngx.say(require('greeting').text, ngx.shared.seen:incr('n', 1, 0))"}
`,
		"scripts/greeting.lua": `return {text = "hi "}`,
		"specs/a_spec.lua": `
it("is served", function()
	local gw = perigee.gateway()
	assert.matches("^hi 1", gw:get("/").body)
	assert.matches("^hi 2", gw:get("/").body)
end)
it("gives the spec what scripts have", function()
	assert.are.equal("hi ", require("greeting").text)
	assert.are.equal(5, (ngx.shared.seen:incr("n", 5, 0)))
	assert.matches("/$", ngx.config.prefix())
end)`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, out := run(t, Options{Paths: []string{dir}, Config: filepath.Join(dir, "perigee.yaml")})
	if !s.OK() || len(s.Results) != 2 {
		t.Errorf("%s", out)
	}
	if _, err := Run(Options{Paths: []string{dir}, Config: filepath.Join(dir, "missing.yaml")}); err == nil {
		t.Error("a missing configuration is no error")
	}
}

// TestLeavesNothing: whatever specs open is gone with them.
func TestLeavesNothing(t *testing.T) {
	again := func() int {
		run(t, Options{Paths: []string{"testdata/gateway_spec.lua", "testdata/socket_spec.lua", "testdata/time_spec.lua"}})
		n := 0
		for range 100 { // what ends beside gets a moment
			if n = runtime.NumGoroutine(); n < 10 {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		return n
	}
	first := again()
	for range 3 {
		again()
	}
	if last := again(); last > first+2 {
		t.Errorf("%d goroutines after the first run, %d after the last", first, last)
	}
}
