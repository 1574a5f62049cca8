package luatest

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"perigee/luavm"
)

// file runs the tests of one spec file.
type file struct {
	*host
	path string
	code string
	vm   *specVM

	tests []test
	// wanted are the indices of tests that are still to be run.
	wanted []int
}

// test is what collecting says of one.
type test struct {
	name    string
	line    int
	pending string // why it is not run; empty: it is
}

// runFile collects the tests of a file, runs those that are wanted and reports
// each.
func (s *suite) runFile(path string) {
	f := &file{path: path}
	code, err := os.ReadFile(path)
	if err != nil {
		s.add(Result{File: path, Status: Errored, Message: err.Error()})
		return
	}
	f.code, f.host = string(code), newHost(s, path)
	defer f.host.close()
	options, err := f.host.vmOptions()
	if err == nil {
		f.vm, err = openVM(options)
	}
	if err != nil {
		s.add(Result{File: path, Status: Errored, Message: err.Error()})
		return
	}
	f.host.vm = f.vm
	defer f.vm.close()
	if !f.collect(true) {
		return
	}
	for i, t := range f.tests {
		if s.Filter == nil || s.Filter.MatchString(t.name) {
			f.wanted = append(f.wanted, i)
		}
	}
	f.choose()
	for len(f.wanted) > 0 {
		i := f.wanted[0]
		f.wanted = f.wanted[1:]
		f.runTest(i)
	}
}

// collect loads the file. Errors are reported the first time.
func (f *file) collect(report bool) bool {
	start := time.Now()
	got, err := f.vm.do("collect", newTable("path", f.path, "code", f.code))
	if err != nil {
		f.suite.add(f.failure(Result{Name: "", Elapsed: time.Since(start)}, err))
		return false
	}
	found := got.(*table)
	f.tests = f.tests[:0]
	for _, item := range found.sub("tests").items() {
		t := item.(*table)
		one := test{name: t.text("name"), line: t.integer("line")}
		switch p := t.get("pending").(type) {
		case string:
			one.pending = p
		case bool:
			one.pending = "pending"
		}
		f.tests = append(f.tests, one)
	}
	if report {
		for _, item := range found.sub("errors").items() {
			e := item.(*table)
			f.suite.add(f.told(Result{Name: e.text("name"), Line: e.integer("line"), Elapsed: time.Since(start)}, e))
		}
	}
	return true
}

// choose tells the VM which tests are to come, so that blocks know their last.
func (f *file) choose() {
	list := &table{}
	for _, i := range f.wanted {
		if f.tests[i].pending == "" {
			list.list = append(list.list, i+1)
		}
	}
	if _, err := f.vm.do("select", list); err != nil {
		f.suite.add(f.failure(Result{}, err))
		f.wanted = nil
	}
}

func (f *file) runTest(i int) {
	t := f.tests[i]
	r := Result{Name: t.name, Line: t.line, Status: Passed}
	if t.pending != "" {
		r.File, r.Status, r.Message = f.path, Pending, t.pending
		f.suite.add(r)
		return
	}
	f.host.beginTest()
	start := time.Now()
	lost := false
	for _, verb := range []string{"run", "after"} {
		got, err := f.vm.do(verb, i+1)
		if r.Status == Passed || r.Status == Pending {
			r = f.outcome(r, got, err)
		}
		if lost = isLost(err); lost {
			break
		}
	}
	if problems := f.host.takeProblems(); problems != "" && r.Status == Passed {
		r.Status, r.Message = Errored, problems
	}
	r.Elapsed = time.Since(start)
	r.File = f.path
	r.Log = f.host.endTest(r.Status)
	f.suite.add(r)
	if lost && len(f.wanted) > 0 {
		// A new VM has taken the place of the lost one: it must learn the file.
		f.host.closeAll()
		if f.collect(false) {
			f.choose()
		} else {
			f.wanted = nil
		}
	}
}

func isLost(err error) bool {
	var failed *luavm.ScriptError
	return errors.As(err, &failed) && failed.Kind == luavm.ErrLost
}

// outcome adds what a step said to a test's result.
func (f *file) outcome(r Result, got any, err error) Result {
	if err != nil {
		return f.failure(r, err)
	}
	if failed, ok := got.(*table); ok {
		return f.told(r, failed)
	}
	return r
}

// told is a failure that Lua has explained.
func (f *file) told(r Result, failed *table) Result {
	r.File = f.path
	r.Status = Status(failed.text("status"))
	r.Message = failed.text("message")
	if failed.text("file") != "" && failed.integer("line") > 0 {
		r.At = fmt.Sprintf("%s:%d", failed.text("file"), failed.integer("line"))
	}
	if r.Status == Errored {
		r.Trace = failed.text("trace")
	}
	return r
}

// position is how Lua begins the text of an error.
var position = regexp.MustCompile(`^([^\s:]+)(:\d+): `)

// failure is a step that ended by force.
func (f *file) failure(r Result, err error) Result {
	r.File, r.Status, r.Message = f.path, Errored, err.Error()
	var failed *luavm.ScriptError
	if errors.As(err, &failed) {
		r.Message = failed.Message
		if m := position.FindStringSubmatch(r.Message); m != nil {
			r.At, r.Message = m[1]+m[2], r.Message[len(m[0]):]
			// Lua shortens long names at their beginning.
			if end, short := strings.CutPrefix(m[1], "..."); short && strings.HasSuffix(f.path, end) {
				r.At = f.path + m[2]
			}
		}
		if failed.Kind == luavm.ErrRuntime {
			r.Trace = failed.Traceback
		}
		if failed.Kind == luavm.ErrBudget || failed.Kind == luavm.ErrLost {
			r.Message += fmt.Sprintf(" (it used more than %s of CPU without a wait; -budget raises that)", f.suite.Budget)
		}
	}
	return r
}
