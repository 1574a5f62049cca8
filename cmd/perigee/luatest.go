package main

import (
	"fmt"
	"io"
	"os"
	"regexp"

	"perigee/proxy/luatest"
)

// luaTest runs Lua specs against gateways of their own.
func luaTest(args []string, out, errs io.Writer) int {
	flags := newFlags("test", errs)
	o := luatest.Options{Out: out, Build: buildInfo()}
	filter := flags.String("filter", "", "run the tests whose full name fits this `EXPRESSION` (RE2)")
	junit := flags.String("junit", "", "write a report in JUnit's XML to `FILE`")
	flags.StringVar(&o.Config, "c", "", "a configuration `FILE` that perigee.gateway() serves; modules and shared dictionaries of specs are its too")
	flags.BoolVar(&o.Verbose, "v", false, "report every test and what it logged")
	flags.BoolVar(&o.TAP, "tap", false, "report in the Test Anything Protocol")
	flags.DurationVar(&o.Timeout, "timeout", 0, "the real `TIME` that a test may wait (default 30s)")
	flags.DurationVar(&o.Budget, "budget", 0, "the CPU `TIME` that a test may use between two waits (default 5s)")
	for len(args) > 0 { // flags may stand behind paths too
		if flags.Parse(args) != nil {
			return exitUsage
		}
		args = flags.Args()
		if len(args) > 0 {
			o.Paths, args = append(o.Paths, args[0]), args[1:]
		}
	}
	if *filter != "" {
		var err error
		if o.Filter, err = regexp.Compile(*filter); err != nil {
			fmt.Fprintf(errs, "perigee test: -filter: %v\n", err)
			return exitUsage
		}
	}
	summary, err := withReport(*junit, o)
	if err != nil {
		fmt.Fprintf(errs, "perigee test: %v\n", err)
		return exitFailed
	}
	if !summary.OK() {
		return exitFailed
	}
	return exitOK
}

// withReport runs the specs with the JUnit report going to a file, unless path
// is empty.
func withReport(path string, o luatest.Options) (*luatest.Summary, error) {
	if path == "" {
		return luatest.Run(o)
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	o.JUnit = f
	summary, err := luatest.Run(o)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return summary, err
}
