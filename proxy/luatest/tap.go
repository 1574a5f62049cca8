package luatest

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// tap reports in the Test Anything Protocol, version 13.
type tap struct {
	out io.Writer
	n   int
}

func (t *tap) begin(string) {
	if t.n == 0 {
		fmt.Fprintln(t.out, "TAP version 13")
	}
}

func (t *tap) test(r *Result) {
	t.n++
	name := strings.NewReplacer("#", "\\#", "\n", " ").Replace(title(r))
	switch r.Status {
	case Passed:
		fmt.Fprintf(t.out, "ok %d - %s\n", t.n, name)
	case Pending:
		fmt.Fprintf(t.out, "ok %d - %s # SKIP %s\n", t.n, name, strings.ReplaceAll(r.Message, "\n", " "))
	default:
		fmt.Fprintf(t.out, "not ok %d - %s\n", t.n, name)
		p := plain{out: prefixed{t.out}}
		p.failure(r)
	}
}

// prefixed makes each line a comment; every Write has whole lines.
type prefixed struct{ w io.Writer }

func (p prefixed) Write(b []byte) (int, error) {
	_, err := io.WriteString(p.w, indented(string(b), "# "))
	return len(b), err
}

func (t *tap) end(string, []Result, time.Duration) {}

func (t *tap) finish(s *Summary) error {
	w := &writer{w: t.out}
	fmt.Fprintf(w, "1..%d\n", t.n)
	s.Coverage.write(prefixed{w})
	return w.err
}
