package main

import (
	"fmt"
	"io"

	"perigee/proxy/nginxconf"
)

// exitLeft says that -strict was given and something was left out.
const exitLeft = 3

// importConf prints the configuration that does what an nginx.conf does.
func importConf(args []string, out, errs io.Writer) int {
	flags := newFlags("import", errs)
	strict := flags.Bool("strict", false, "exit with 3 when anything was left out")
	prefix := flags.String("p", "", "nginx's prefix `FOLDER` (default: the file's folder, or the one above conf/)")
	var path string
	for rest := args; ; rest = flags.Args()[1:] { // flags may stand behind the file too
		if flags.Parse(rest) != nil {
			return exitUsage
		}
		if flags.NArg() == 0 {
			break
		}
		if path != "" {
			path = ""
			break
		}
		path = flags.Arg(0)
	}
	if path == "" {
		fmt.Fprintln(errs, "perigee import: name one nginx.conf")
		flags.Usage()
		return exitUsage
	}
	result, err := nginxconf.Import(path, *prefix)
	if err != nil {
		fmt.Fprintf(errs, "perigee import: %v\n", err)
		return exitFailed
	}
	for _, left := range result.Left {
		fmt.Fprintln(errs, left)
	}
	if _, err := out.Write(result.YAML); err != nil {
		fmt.Fprintf(errs, "perigee import: %v\n", err)
		return exitFailed
	}
	if *strict && len(result.Left) > 0 {
		return exitLeft
	}
	return exitOK
}
