// Command manifests checks what kustomize has rendered beyond what a schema can
// say, and prepares what other tools check.
//
//	manifests schemas SWAGGER CRDS OUT       strict JSON Schemas for kubeconform
//	manifests lint -metrics FILE -runbook FILE -out DIR RENDERED...
//
// lint also unpacks: OUT/NAME/DEPLOYMENT/ is what the gateway's container sees in
// /etc/perigee (for `perigee check`), OUT/NAME.rules.yaml the alerts (for promtool).
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) < 2 {
		fail("manifests: schemas or lint")
	}
	switch os.Args[1] {
	case "schemas":
		if len(os.Args) != 5 {
			fail("manifests schemas SWAGGER CRDS OUT")
		}
		if err := writeSchemas(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fail(err)
		}
	case "lint":
		lint(os.Args[2:])
	default:
		fail("manifests: unknown word " + os.Args[1])
	}
}

func fail(what any) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(1)
}

func lint(args []string) {
	flags := flag.NewFlagSet("manifests lint", flag.ExitOnError)
	metrics := flags.String("metrics", "", "`FILE` with an exposition of the real binary")
	runbook := flags.String("runbook", "", "`FILE` with a heading per alert")
	out := flags.String("out", "", "`DIR` for what is unpacked")
	_ = flags.Parse(args)
	known, err := readMetrics(*metrics)
	if err != nil {
		fail(err)
	}
	headings, err := os.ReadFile(*runbook)
	if err != nil {
		fail(err)
	}
	problems := 0
	for _, path := range flags.Args() {
		b, err := readBundle(path)
		if err != nil {
			fail(err)
		}
		b.policies()
		b.names(known, string(headings))
		if err := b.unpack(filepath.Join(*out, b.name)); err != nil {
			fail(err)
		}
		for _, p := range b.problems {
			fmt.Fprintf(os.Stderr, "%s: %s\n", path, p)
		}
		problems += len(b.problems)
	}
	if problems > 0 {
		fail(fmt.Sprintf("manifests: %d problems", problems))
	}
}

// readMetrics lists the families of an exposition.
func readMetrics(path string) (map[string]bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 4 || fields[0] != "#" || fields[1] != "TYPE" {
			continue
		}
		known[fields[2]] = true
		if fields[3] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				known[fields[2]+suffix] = true
			}
		}
	}
	if len(known) < 20 {
		return nil, fmt.Errorf("%s: %d metrics are not those of a gateway", path, len(known))
	}
	return known, nil
}
