// Command sizes keeps files and functions small enough to be read at once, and
// finds words that say work is unfinished. It looks at every file that git
// would commit; run it from the module's root:
//
//	go run ./.ci/sizes
//
// Beyond a soft limit it warns; beyond a hard one it exits with 1.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// A limit is a number of lines.
type limit struct {
	soft, hard int
}

var (
	fileLimit     = limit{soft: 400, hard: 600}
	testFileLimit = limit{soft: 800, hard: 800}
	functionLimit = limit{soft: 60, hard: 80}
)

const maxParameters = 5

// unfinished is put together from halves, so that this file passes its own check.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b|\bnot imple` + `mented\b`)

// A function is one function found in a source file, of whatever language.
type function struct {
	name       string
	line       int
	length     int // lines from its head to its end, tables in tests left out
	parameters int
	// bools counts the bare bools among parameters, and among results if those
	// are more. Only Go has them.
	bools int
}

// A report collects what was found and prints it as it comes.
type report struct {
	warnings, errors int
}

func (r *report) warn(format string, args ...any) {
	r.warnings++
	fmt.Printf("warning: "+format+"\n", args...)
}

func (r *report) fail(format string, args ...any) {
	r.errors++
	fmt.Printf("error: "+format+"\n", args...)
}

// size judges what is length lines long against a limit.
func (r *report) size(what string, length int, l limit) {
	switch {
	case length > l.hard:
		r.fail("%s is %d lines long, at most %d", what, length, l.hard)
	case length > l.soft:
		r.warn("%s is %d lines long, better at most %d", what, length, l.soft)
	}
}

func main() {
	listed, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sizes: git ls-files:", err)
		os.Exit(2)
	}
	var r report
	for name := range strings.SplitSeq(strings.TrimRight(string(listed), "\x00"), "\x00") {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // deleted, not yet committed
		}
		if bytes.IndexByte(text, 0) < 0 {
			r.check(name, text)
		}
	}
	fmt.Printf("sizes: %d errors, %d warnings\n", r.errors, r.warnings)
	if r.errors > 0 {
		os.Exit(1)
	}
}

func (r *report) check(name string, text []byte) {
	for i, line := range strings.Split(string(text), "\n") {
		if word := unfinished.FindString(line); word != "" {
			r.fail("%s:%d: %q: finish it, or say what is so and why", name, i+1, word)
		}
	}
	var functions []function
	switch filepath.Ext(name) {
	case ".go":
		var err error
		if functions, err = goFunctions(name, text); err != nil {
			r.fail("%v", err)
			return
		}
	case ".c", ".h":
		functions = cFunctions(string(text))
	case ".lua":
		functions = luaFunctions(string(text))
	default:
		return
	}
	r.size(name, bytes.Count(text, []byte("\n")), limitOf(name))
	for _, f := range functions {
		r.function(name, f)
	}
}

func limitOf(name string) limit {
	if strings.HasSuffix(name, "_test.go") || strings.Contains(name, "testdata/") {
		return testFileLimit
	}
	return fileLimit
}

func (r *report) function(file string, f function) {
	at := fmt.Sprintf("%s:%d: %s", file, f.line, f.name)
	r.size(at, f.length, functionLimit)
	if f.parameters > maxParameters {
		message := "%s takes %d parameters, at most %d: what belongs together is a struct"
		if filepath.Ext(file) == ".go" {
			r.fail(message, at, f.parameters, maxParameters)
		} else {
			// A text is two parameters in C, and a struct an allocation in Lua.
			r.warn(message, at, f.parameters, maxParameters)
		}
	}
	if f.bools > 1 {
		r.fail("%s has %d bare bools beside each other: nobody can read them at the call; name a type", at, f.bools)
	}
}
