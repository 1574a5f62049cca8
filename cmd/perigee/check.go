package main

import (
	"flag"
	"fmt"
	"io"

	"perigee/proxy"
	"perigee/proxy/config"
)

// check loads a configuration as run would, scripts and certificates included,
// and opens no listener.
func check(args []string, out, errs io.Writer) int {
	flags := newFlags("check", errs)
	path := flags.String("c", "", "the configuration `FILE`")
	schema := flags.Bool("schema", false, "print the JSON Schema of the configuration")
	if flags.Parse(args) != nil || flags.NArg() > 0 || (*path == "" && !*schema) {
		flags.Usage()
		return exitUsage
	}
	if *schema {
		fmt.Fprintf(out, "%s\n", config.Schema())
		return exitOK
	}
	file, err := config.Load(*path)
	if err == nil {
		err = proxy.Check(file)
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	fmt.Fprintf(out, "%s: good (digest %s)\n", *path, file.Digest())
	return exitOK
}

func newFlags(name string, errs io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet("perigee "+name, flag.ContinueOnError)
	flags.SetOutput(errs)
	return flags
}
