package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A frame is a function on the stack below it, with the samples in it and in what
// it called.
type frame struct {
	name    string
	samples int64
	callees map[string]*frame
}

// add counts n samples of a stack, innermost function first.
func (f *frame) add(stack []string, n int64) {
	f.samples += n
	for _, name := range slices.Backward(stack) {
		if f.callees == nil {
			f.callees = map[string]*frame{}
		}
		next := f.callees[name]
		if next == nil {
			next = &frame{name: name}
			f.callees[name] = next
		}
		next.samples += n
		f = next
	}
}

// sorted are the callees by name, so that the same profile draws the same.
func (f *frame) sorted() []*frame {
	return slices.SortedFunc(maps.Values(f.callees), func(a, b *frame) int { return strings.Compare(a.name, b.name) })
}

// parse reads either form of profile.
func parse(text string) (root *frame, err error) {
	root = &frame{name: "all"}
	if _, body, ok := strings.Cut(text, "\nSamples:\n"); ok {
		err = parsePprof(root, body)
	} else {
		parsePerf(root, text)
	}
	if err == nil && root.samples == 0 {
		err = errors.New("no samples in what was read; it must be the text of perf script or of go tool pprof -raw")
	}
	return root, err
}

// parsePerf reads blocks of a headline and one line for each function: address,
// name+0xoffset, (file).
func parsePerf(root *frame, text string) {
	var stack []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
			if len(stack) > 0 {
				root.add(followed(stack), 1)
			}
			stack = stack[:0]
		case line[0] == ' ' || line[0] == '\t':
			stack = append(stack, perfName(fields))
		}
	}
	if len(stack) > 0 {
		root.add(followed(stack), 1)
	}
}

// Names of what has none: what LuaJIT has compiled, and callers that cannot be
// told because LuaJIT's code keeps no frame pointers.
const (
	compiled = "compiled Lua"
	nowhere  = "?"
	lost     = "Lua (keeps no frame pointers: callers are not known)"
)

// followed is the part of a stack that can be believed: behind a frame without a
// name come random ones.
func followed(stack []string) []string {
	for i, name := range stack {
		switch name {
		case compiled:
			return append(stack[:i+1:i+1], lost)
		case nowhere:
			return append(stack[:i:i], lost)
		}
	}
	return stack
}

// parts is what GCC adds to the name of a part or variant of a function.
var parts = regexp.MustCompile(`(\.(part|isra|constprop|cold)(\.\d+)?)+$`)

// perfName is a function as it is shown.
func perfName(fields []string) string {
	if len(fields) < 2 {
		return nowhere
	}
	name := strings.Join(fields[1:len(fields)-1], " ")
	if at := strings.LastIndex(name, "+0x"); at >= 0 {
		name = name[:at]
	}
	file := strings.Trim(fields[len(fields)-1], "()")
	if name != "[unknown]" {
		return parts.ReplaceAllString(name, "")
	}
	switch {
	case file == "[unknown]":
		return nowhere
	case strings.HasPrefix(file, "//anon"), strings.HasSuffix(file, ".map"):
		return compiled
	}
	return "? in " + file[strings.LastIndex(file, "/")+1:]
}

// parsePprof reads "count nanoseconds: locations" lines, then what the locations
// are: "3: 0x4f M=1 function file:line:column s=12", with what is inlined there
// outermost last, on lines of their own.
func parsePprof(root *frame, body string) error {
	samples, rest, ok := strings.Cut(body, "Locations\n")
	if !ok {
		return errors.New("pprof: samples without locations")
	}
	names := pprofNames(rest)
	for i, line := range strings.Split(strings.TrimSpace(samples), "\n") {
		if i == 0 { // names the columns
			continue
		}
		counts, stack, ok := strings.Cut(line, ":")
		fields := strings.Fields(counts)
		if !ok || len(fields) == 0 {
			continue // a label of the sample above
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			continue // the same
		}
		var frames []string
		for _, id := range strings.Fields(stack) {
			if names[id] == nil {
				return fmt.Errorf("pprof: %q has no location %s", line, id)
			}
			frames = append(frames, names[id]...)
		}
		root.add(frames, n)
	}
	return nil
}

func pprofNames(text string) map[string][]string {
	names := map[string][]string{}
	var at string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "Mappings") {
			break
		}
		fields := strings.Fields(line)
		if len(fields) > 2 && strings.HasSuffix(fields[0], ":") && strings.HasPrefix(fields[1], "0x") {
			at = strings.TrimSuffix(fields[0], ":")
			fields = fields[2:]
			if strings.HasPrefix(fields[0], "M=") {
				fields = fields[1:]
			}
		}
		name := nowhere
		if len(fields) > 0 {
			name = fields[0]
		}
		if at != "" {
			names[at] = append(names[at], name)
		}
	}
	return names
}
