// Command perigee is the gateway: one binary, one YAML file.
package main

import (
	"fmt"
	"io"
	"os"
)

// version is set by the build (-ldflags -X main.version=...).
var version = "dev"

// Exit codes: 0 done, 1 the command failed or what it looked at is wrong, 2 it
// was called wrongly.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

// command is one word behind "perigee".
type command struct {
	name, arguments, does string
	run                   func(args []string, out, errs io.Writer) int
}

var commands = []command{
	{"run", "-c FILE [-watch] [-last-good FILE]", "serve in the foreground; SIGHUP (with -watch a file change too) reloads, SIGTERM drains and ends, SIGUSR2 hands over to a newer binary", run},
	{"check", "-c FILE | -schema", "say what is wrong with a configuration, or print its JSON Schema", check},
	{"explain", "-c FILE METHOD URL [-H 'K: V']...", "say which route, filters and upstream would serve a request, and why", explain},
	{"import", "NGINX.CONF [-p PREFIX] [-strict]", "print the perigee.yaml that does the same; what is left out goes to standard error (-strict: exit 3)", importConf},
	{"test", "[-c FILE] [-filter RE] [-v] [-tap] [-junit FILE] [PATH...]", "run Lua specs (*_spec.lua) against gateways of their own; exit 1 when one fails", luaTest},
	{"demo", "[-c FILE] [-origin ADDRESS]", "serve the built-in demo, with an origin behind it", demo},
	{"doctor", "[-c FILE] [-q]", "say what around the process would hurt it, and what mends that; exit 1 when something does", doctor},
	{"healthcheck", "[-timeout LONG] [URL]", "exit 0 when URL (http://127.0.0.1:9901/readyz) answers 2xx, else 1", healthcheck},
	{"version", "", "print the version, and how LuaJIT was built", printVersion},
}

func main() { os.Exit(dispatch(os.Args[1:], os.Stdout, os.Stderr)) }

func dispatch(args []string, out, errs io.Writer) int {
	if len(args) > 0 {
		for _, c := range commands {
			if c.name == args[0] {
				return c.run(args[1:], out, errs)
			}
		}
		if args[0] != "-h" && args[0] != "-help" && args[0] != "--help" && args[0] != "help" {
			fmt.Fprintf(errs, "perigee: unknown command %q\n", args[0])
			usage(errs)
			return exitUsage
		}
		usage(out)
		return exitOK
	}
	usage(errs)
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: perigee COMMAND [ARGUMENTS]")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-11s %s\n              %s\n", c.name, c.arguments, c.does)
	}
}
