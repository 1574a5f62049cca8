package luatest

import (
	"io"
	"time"

	"perigee/proxy/config"
)

// suite is one run of everything.
type suite struct {
	*Options
	config   *config.File // of Options.Config; nil: none
	summary  Summary
	coverage coverage
	reporter reporter
}

// reporter tells of tests as they end, and of all of them at the end.
type reporter interface {
	// begin is called before the tests of a file.
	begin(file string)
	test(*Result)
	// end is called after the tests of a file, which are the last n results.
	end(file string, results []Result, elapsed time.Duration)
	finish(*Summary) error
}

// Run finds and runs specs. The error is of what keeps them from being run or
// reported; failed tests are in the summary.
func Run(options Options) (*Summary, error) {
	options.defaults()
	files, err := find(options.Paths)
	if err != nil {
		return nil, err
	}
	s := &suite{Options: &options, coverage: newCoverage()}
	if options.Config != "" {
		if s.config, err = config.Load(options.Config); err != nil {
			return nil, err
		}
	}
	s.reporter = &plain{out: options.Out, verbose: options.Verbose}
	if options.TAP {
		s.reporter = &tap{out: options.Out}
	}
	start := time.Now()
	for _, path := range files {
		begin, first := time.Now(), len(s.summary.Results)
		s.reporter.begin(path)
		s.runFile(path)
		s.reporter.end(path, s.summary.Results[first:], time.Since(begin))
	}
	s.summary.Elapsed = time.Since(start)
	s.summary.Coverage = s.coverage.sum()
	err = s.reporter.finish(&s.summary)
	if err == nil && options.JUnit != nil {
		err = writeJUnit(options.JUnit, &s.summary)
	}
	return &s.summary, err
}

// add takes a result and reports it.
func (s *suite) add(r Result) {
	s.summary.Results = append(s.summary.Results, r)
	s.reporter.test(&r)
}

// writer keeps the first error of many writes.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) Write(p []byte) (int, error) {
	if w.err == nil {
		_, w.err = w.w.Write(p)
	}
	return len(p), nil
}
