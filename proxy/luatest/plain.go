package luatest

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// plain reports in text for people: failures as they come, then a line for
// each file.
type plain struct {
	out     io.Writer
	verbose bool
}

func (p *plain) begin(string) {}

func (p *plain) test(r *Result) {
	switch {
	case r.Status == Failed || r.Status == Errored:
		fmt.Fprintf(p.out, "--- %s: %s\n", capital(r.Status), title(r))
		p.failure(r)
	case p.verbose && r.Status == Pending:
		fmt.Fprintf(p.out, "--- PENDING: %s: %s\n", title(r), r.Message)
	case p.verbose:
		fmt.Fprintf(p.out, "--- PASS: %s (%s)\n", title(r), seconds(r.Elapsed))
	}
	if r.Log != "" && (p.verbose || r.Status != Passed) {
		fmt.Fprintf(p.out, "    logged:\n%s", indented(r.Log, "      "))
	}
}

// capital is a status as a headline shouts it.
func capital(s Status) string {
	if s == Failed {
		return "FAIL"
	}
	return strings.ToUpper(string(s))
}

// title is a result's name; errors outside of tests have none.
func title(r *Result) string {
	if r.Name == "" {
		return r.File
	}
	return r.Name
}

func (p *plain) failure(r *Result) {
	at := r.At
	if at == "" && r.Line > 0 {
		at = fmt.Sprintf("%s:%d", r.File, r.Line)
	}
	message := r.Message
	if at != "" {
		message = at + ": " + strings.TrimPrefix(message, at+": ")
	}
	fmt.Fprint(p.out, indented(message, "    "))
	if r.Trace != "" {
		fmt.Fprint(p.out, indented(r.Trace, "    "))
	}
}

// indented puts prefix before each line and ends the last.
func indented(text, prefix string) string {
	text = strings.TrimRight(text, "\n")
	return prefix + strings.ReplaceAll(text, "\n", "\n"+prefix) + "\n"
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Seconds()) }

func (p *plain) end(file string, results []Result, elapsed time.Duration) {
	s := Summary{Results: results}
	word := "ok  "
	if !s.OK() {
		word = "FAIL"
	}
	plural := "s"
	if len(results) == 1 {
		plural = ""
	}
	fmt.Fprintf(p.out, "%s  %s  %d test%s  %s\n", word, file, len(results), plural, seconds(elapsed))
}

func (p *plain) finish(s *Summary) error {
	w := &writer{w: p.out}
	fmt.Fprintf(w, "%d passed, %d failed, %d errors, %d pending in %s\n",
		s.Count(Passed), s.Count(Failed), s.Count(Errored), s.Count(Pending), seconds(s.Elapsed))
	s.Coverage.write(w)
	return w.err
}
