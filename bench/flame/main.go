// Command flame draws flame graphs: it reads a profile as text from its standard
// input, `perf script` or `go tool pprof -raw`, and writes an SVG. A frame is as
// wide as its share of the CPU time and stands on its caller; what took less than
// -least of all is left out, so that the file stays small.
//
//	perf script | flame -title "W1 plain proxy" >w1.svg
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	title := flag.String("title", "", "what was profiled")
	least := flag.Float64("least", 0.003, "the smallest share of the time that is drawn")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *title, *least); err != nil {
		fmt.Fprintln(os.Stderr, "flame:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, title string, least float64) error {
	if least <= 0 || least >= 1 {
		return fmt.Errorf("-least %g is not between 0 and 1", least)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	root, err := parse(string(text))
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, draw(root, title, least))
	return err
}
