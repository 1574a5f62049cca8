package luatest

import (
	"io"
	"regexp"
	"time"

	"perigee/proxy/observe"
)

// Options say what is run and how it is reported.
type Options struct {
	// Paths are spec files, or folders whose *_spec.lua are run.
	Paths []string
	// Config is a configuration file: what perigee.gateway() serves unless told
	// otherwise, and where the specs' own VM takes lua.path, lua.cpath and
	// shared dictionaries from. Empty: none.
	Config string
	// Filter chooses tests by their full name; nil: all.
	Filter *regexp.Regexp
	// Timeout bounds a step of a test in real time. Default 30 s.
	Timeout time.Duration
	// Budget bounds the CPU time of a step between two waits. Default 5 s.
	Budget time.Duration
	// Verbose reports every test, and what it logged.
	Verbose bool
	// TAP writes the Test Anything Protocol in place of text for people.
	TAP bool
	// JUnit takes a report in JUnit's XML; nil: none.
	JUnit io.Writer
	// Out takes the report.
	Out io.Writer
	// Build is what gateways call themselves.
	Build observe.BuildInfo
}

func (o *Options) defaults() {
	if len(o.Paths) == 0 {
		o.Paths = []string{"."}
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Budget == 0 {
		o.Budget = 5 * time.Second
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
}

// Status is how a test ended.
type Status string

// The ways a test can end.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"  // an assertion did not hold
	Errored Status = "error"   // anything else went wrong
	Pending Status = "pending" // it was not run, or gave up by pending()
)

// Result is one test's end, or an error outside of tests.
type Result struct {
	File    string // as it was found
	Line    int    // where the test stands; 0: unknown
	Name    string // the names of its blocks and its own
	Status  Status
	Message string
	At      string // file:line of the failure; empty: unknown
	Trace   string // of an error
	Log     string // what it logged
	Elapsed time.Duration
}

// Summary is what became of all tests.
type Summary struct {
	Results  []Result
	Coverage Coverage
	Elapsed  time.Duration
}

// Count is how many tests ended so.
func (s *Summary) Count(status Status) (n int) {
	for i := range s.Results {
		if s.Results[i].Status == status {
			n++
		}
	}
	return n
}

// OK says that nothing failed.
func (s *Summary) OK() bool { return s.Count(Failed)+s.Count(Errored) == 0 }
