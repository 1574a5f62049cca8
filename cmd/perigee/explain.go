package main

import (
	"fmt"
	"io"
	"strings"

	"perigee/proxy"
	"perigee/proxy/config"
)

// explain says what would happen to a request, without serving one.
func explain(args []string, out, errs io.Writer) int {
	flags := newFlags("explain", errs)
	path := flags.String("c", "", "the configuration `FILE`")
	var headers headerFlags
	flags.Var(&headers, "H", "a request header, `'Name: value'`; may be repeated")
	// Flags may stand before and behind METHOD and URL.
	var words []string
	for len(args) > 0 {
		if flags.Parse(args) != nil {
			return exitUsage
		}
		args = flags.Args()
		if len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	if *path == "" || len(words) != 2 {
		flags.Usage()
		return exitUsage
	}
	file, err := config.Load(*path)
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	text, err := proxy.Explain(file, proxy.Question{Method: words[0], URL: words[1], Headers: headers})
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	fmt.Fprint(out, text)
	return exitOK
}

// headerFlags collects -H.
type headerFlags []proxy.HeaderLine

func (h *headerFlags) String() string { return "" }

func (h *headerFlags) Set(text string) error {
	name, value, ok := strings.Cut(text, ":")
	if !ok || name == "" {
		return fmt.Errorf("header %q: write 'Name: value'", text)
	}
	*h = append(*h, proxy.HeaderLine{Name: name, Value: strings.TrimSpace(value)})
	return nil
}
