// Package testdata holds hostile HTTP messages with the one outcome each must
// have, and reads them. It is imported by tests only: those of package wire run
// the cases on the scanner alone, and end-to-end tests replay the same bytes
// through a whole gateway, with an origin that records what reaches it.
//
// The go command leaves directories of this name out of "./...": the cases are
// data with a reader, and the tests of package wire test the reader too.
//
// # Files
//
//	heads.txt      requests wrong in their head, or close to it and right
//	bodies.txt     requests whose chunked body or trailer section is
//	endtoend.txt   what only a whole gateway can show: time, sizes, pipelines
//	responses.txt  an upstream's answers to a good request
//
// # Format
//
// A case is a paragraph of `key: value` lines that starts with `case:`. Empty
// lines and lines that start with '#' do not count. A value of bytes is a row
// of Go string literals, each optionally followed by `* N` to repeat it; lines
// that start with a blank continue the row.
//
//	case: chunked with a length
//	why: RFC 9112 §6.3: one hop reads the length, the next one the chunks
//	send: "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n"
//	      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
//	answers: 400 te_and_length
//	origin: none
//
//	send:     bytes the client writes at once (responses.txt: the origin)
//	wait:     a pause before the next step
//	end:      "write": half-close; "all": hang up
//	answers:  final status codes the client gets, in order; behind the last may
//	          stand the reason of the refusal; "nothing" for none at all
//	closed:   "yes" or "no", whether the gateway ends the connection after the
//	          last answer; without it: yes if the last answer is a refusal
//	origin:   each complete request the origin gets, one literal row per line
//	          with this key, or "none"; framing, connection and forwarding
//	          fields left out, the body as its payload
//	cut:      this request may have begun at the origin, and must not complete
//	asked:    responses.txt: the method that was asked, GET without it
//	body:     responses.txt: the payload that the client gets
package testdata

import (
	"embed"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits of the gateway that the end-to-end cases are written for. The other
// limits are the defaults of package wire. Times are long enough for a machine
// that is busy with other tests.
const (
	BodyBytes  = 64 << 10                // limits.body_bytes
	HeaderTime = 1500 * time.Millisecond // limits.header_timeout
	BodyTime   = 1500 * time.Millisecond // limits.body_timeout
	IdleTime   = 2 * time.Second         // limits.idle_timeout
)

// End is how a client stops.
type End uint8

const (
	EndNot   End = iota // it stays
	EndWrite            // it sends no more but still reads
	EndAll              // it closes the connection
)

// Step is one thing a client does: send, or wait, or end.
type Step struct {
	Send []byte
	Wait time.Duration
	End  End
}

// Case is one hostile conversation and its outcome.
type Case struct {
	Name, Why string
	File      string
	Line      int
	Steps     []Step
	Answers   []int    // final status codes
	Reason    string   // why the last answer is a refusal; "" when it is none
	Closed    bool     // the gateway ends the connection
	Origin    []string // complete requests at the origin, see package comment
	Cut       string   // a request that may begin there and not complete
	Asked     string   // method that a response case answers
	Body      string   // payload that the client of a response case gets
	HasBody   bool     // Body was stated
}

// Sent is everything the case sends, without the pauses.
func (c *Case) Sent() (all []byte) {
	for _, s := range c.Steps {
		all = append(all, s.Send...)
	}
	return all
}

//go:embed *.txt
var files embed.FS

// Read returns the cases of one file of this directory, say "heads.txt".
func Read(name string) ([]Case, error) {
	text, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, string(text))
}

// Parse reads cases from text; file is their File.
func Parse(file, text string) ([]Case, error) {
	r := reader{file: file, seen: map[string]int{}}
	for i, line := range strings.Split(text, "\n") {
		r.line = i + 1
		if err := r.take(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, r.line, err)
		}
	}
	if err := r.finish(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", file, r.line, err)
	}
	return r.cases, nil
}

// reader collects cases line by line.
type reader struct {
	file   string
	line   int
	cases  []Case
	seen   map[string]int // names and their lines
	closed bool           // the present case said so itself
	row    *[]byte        // what a continued row goes to
}

func (r *reader) take(line string) error {
	if strings.TrimSpace(line) == "" || line[0] == '#' {
		r.row = nil
		return nil
	}
	if line[0] == ' ' || line[0] == '\t' {
		if r.row == nil {
			return fmt.Errorf("a continued row without a row before it")
		}
		return r.literals(line)
	}
	key, value, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("%q has no key; write `key: value`", line)
	}
	value = strings.TrimSpace(value)
	r.row = nil
	if key == "case" {
		return r.begin(value)
	}
	if len(r.cases) == 0 {
		return fmt.Errorf("%s before the first case", key)
	}
	return r.set(&r.cases[len(r.cases)-1], key, value)
}

func (r *reader) begin(name string) error {
	if err := r.finish(); err != nil {
		return err
	}
	if before, twice := r.seen[name]; twice || name == "" {
		return fmt.Errorf("case %q has no name, or that of line %d", name, before)
	}
	r.seen[name] = r.line
	r.closed = false
	r.cases = append(r.cases, Case{Name: name, File: r.file, Line: r.line, Asked: "GET"})
	return nil
}

// finish checks the case that ends here.
func (r *reader) finish() error {
	r.row = nil
	if len(r.cases) == 0 {
		return nil
	}
	c := &r.cases[len(r.cases)-1]
	if len(c.Steps) == 0 || c.Answers == nil {
		return fmt.Errorf("case %q needs send and answers", c.Name)
	}
	if !r.closed {
		c.Closed = c.Reason != ""
	}
	return nil
}

func (r *reader) set(c *Case, key, value string) (err error) {
	switch key {
	case "why":
		c.Why = value
	case "asked":
		c.Asked = value
	case "send":
		c.Steps = append(c.Steps, Step{})
		r.row = &c.Steps[len(c.Steps)-1].Send
		return r.literals(value)
	case "wait":
		var d time.Duration
		d, err = time.ParseDuration(value)
		c.Steps = append(c.Steps, Step{Wait: d})
	case "end":
		end, ok := map[string]End{"write": EndWrite, "all": EndAll}[value]
		if !ok {
			return fmt.Errorf("end: %s is neither write nor all", value)
		}
		c.Steps = append(c.Steps, Step{End: end})
	case "answers":
		return c.answers(value)
	case "closed":
		r.closed = true
		c.Closed = value == "yes"
	case "origin":
		if value != "none" {
			return r.text(value, func(s string) { c.Origin = append(c.Origin, s) })
		}
	case "cut":
		return r.text(value, func(s string) { c.Cut = s })
	case "body":
		c.HasBody = true
		return r.text(value, func(s string) { c.Body = s })
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return err
}

// text reads a row of one line.
func (r *reader) text(value string, to func(string)) error {
	var row []byte
	r.row = &row
	err := r.literals(value)
	r.row = nil
	to(string(row))
	return err
}

func (c *Case) answers(value string) error {
	c.Answers = []int{}
	if value == "nothing" {
		return nil
	}
	for _, word := range strings.Fields(value) {
		status, err := strconv.Atoi(word)
		switch {
		case c.Reason != "":
			return fmt.Errorf("answers: %s behind the reason", word)
		case err != nil && len(c.Answers) > 0:
			c.Reason = word
		case err != nil:
			return fmt.Errorf("answers: %s is no status", word)
		default:
			c.Answers = append(c.Answers, status)
		}
	}
	return nil
}

// literals appends a row of Go string literals to the present row.
func (r *reader) literals(row string) error {
	for row = strings.TrimSpace(row); row != ""; row = strings.TrimSpace(row) {
		quoted, err := strconv.QuotedPrefix(row)
		if err != nil {
			return fmt.Errorf("%s is not a row of Go string literals", row)
		}
		piece, err := strconv.Unquote(quoted)
		if err != nil {
			return err
		}
		times := 1
		row = strings.TrimSpace(row[len(quoted):])
		if rest, ok := strings.CutPrefix(row, "*"); ok {
			count, after, _ := strings.Cut(strings.TrimSpace(rest), " ")
			if times, err = strconv.Atoi(count); err != nil || times < 0 {
				return fmt.Errorf("* %s is no count", count)
			}
			row = after
		}
		*r.row = append(*r.row, strings.Repeat(piece, times)...)
	}
	return nil
}
