package luatest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// The report that JUnit's readers (Jenkins, GitLab, GitHub's actions) take: a
// suite for each spec file.
type junitSuites struct {
	XMLName  xml.Name      `xml:"testsuites"`
	Tests    int           `xml:"tests,attr"`
	Failures int           `xml:"failures,attr"`
	Errors   int           `xml:"errors,attr"`
	Skipped  int           `xml:"skipped,attr"`
	Time     string        `xml:"time,attr"`
	Suites   []*junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`

	elapsed time.Duration
}

type junitCase struct {
	Class     string       `xml:"classname,attr"`
	Name      string       `xml:"name,attr"`
	File      string       `xml:"file,attr"`
	Line      int          `xml:"line,attr,omitempty"`
	Time      string       `xml:"time,attr"`
	Failure   *junitDetail `xml:"failure,omitempty"`
	Error     *junitDetail `xml:"error,omitempty"`
	Skipped   *junitDetail `xml:"skipped,omitempty"`
	SystemOut *junitText   `xml:"system-out,omitempty"`
}

type junitDetail struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

type junitText struct {
	Text string `xml:",chardata"`
}

// writeJUnit writes the report; text that XML cannot carry is replaced.
func writeJUnit(w io.Writer, s *Summary) error {
	all := junitSuites{
		Tests: len(s.Results), Failures: s.Count(Failed), Errors: s.Count(Errored),
		Skipped: s.Count(Pending), Time: bare(s.Elapsed),
	}
	var last *junitSuite
	for i := range s.Results {
		r := &s.Results[i]
		if last == nil || last.Name != r.File {
			last = &junitSuite{Name: r.File}
			all.Suites = append(all.Suites, last)
		}
		last.add(r)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func bare(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

func (s *junitSuite) add(r *Result) {
	c := junitCase{
		Class: strings.TrimSuffix(r.File, ".lua"), Name: title(r),
		File: r.File, Line: r.Line, Time: bare(r.Elapsed),
	}
	detail := &junitDetail{Message: firstLine(r.Message), Text: details(r)}
	switch r.Status {
	case Failed:
		s.Failures++
		c.Failure = detail
	case Errored:
		s.Errors++
		c.Error = detail
	case Pending:
		s.Skipped++
		c.Skipped = &junitDetail{Message: r.Message}
	}
	if r.Log != "" {
		c.SystemOut = &junitText{r.Log}
	}
	s.Tests++
	s.elapsed += r.Elapsed
	s.Time = bare(s.elapsed)
	s.Cases = append(s.Cases, c)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// details is the whole of a failure, as plain prints it.
func details(r *Result) string {
	var b strings.Builder
	p := plain{out: &b}
	p.failure(r)
	return b.String()
}
