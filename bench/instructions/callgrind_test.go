//go:build luajit && !race

package instructions

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A profile is what callgrind counted: instructions by function, the calls that
// it makes left out.
type profile struct {
	total int64
	own   map[place]int64
}

type place struct{ file, function string }

// shimFiles is in the path of what is counted as the shim's own.
const shimFiles = "/luavm/shim/"

// parseProfile reads callgrind's format (Callgrind Format Specification, in
// Valgrind's manual) as it is written with one event and lines as positions. A
// name is written once, "fn=(7) pg_resume", and later is "fn=(7)"; files and
// functions are numbered apart, whoever names them first.
func parseProfile(text string) (p profile, err error) {
	p.own = map[place]int64{}
	var (
		files, functions = map[string]string{}, map[string]string{}
		at               place
		inclusive        bool // the line behind calls= is the callee's cost
	)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, named := strings.Cut(line, "=")
		switch {
		case strings.HasPrefix(line, "totals:"):
			if p.total, err = strconv.ParseInt(strings.TrimSpace(line[len("totals:"):]), 10, 64); err != nil {
				return p, fmt.Errorf("callgrind: %q: %w", line, err)
			}
		case named && (key == "fl" || key == "fi" || key == "fe"):
			at.file = unpack(files, value)
		case named && (key == "cfi" || key == "cfl"):
			unpack(files, value)
		case named && key == "fn":
			at.function = unpack(functions, value)
		case named && key == "cfn":
			unpack(functions, value)
		case named && key == "calls":
			inclusive = true
		case line != "" && strings.ContainsRune("+-*0123456789", rune(line[0])):
			if inclusive {
				inclusive = false
				continue
			}
			_, cost, _ := strings.Cut(line, " ")
			n, err := strconv.ParseInt(cost, 10, 64)
			if err != nil {
				return p, fmt.Errorf("callgrind: %q is not a line and a cost: %w", line, err)
			}
			p.own[at] += n
		}
	}
	return p, p.check()
}

// check says if what was read is all that was counted.
func (p *profile) check() error {
	var sum int64
	for _, n := range p.own {
		sum += n
	}
	if p.total == 0 || sum != p.total {
		return fmt.Errorf("callgrind: its functions took %d instructions, its total is %d", sum, p.total)
	}
	return nil
}

func unpack(names map[string]string, value string) string {
	id, name, ok := strings.Cut(value, " ")
	if ok {
		names[id] = name
	}
	return names[id]
}

// shim is what functions of the shim's own files took.
func (p *profile) shim() (n int64) {
	for at, own := range p.own {
		if strings.Contains(at.file, shimFiles) {
			n += own
		}
	}
	return n
}

// largest lists the shim's functions that took most, each by round.
func (p *profile) largest(rounds int64) string {
	var text strings.Builder
	by := map[string]int64{}
	for at, own := range p.own {
		if strings.Contains(at.file, shimFiles) {
			by[at.function] += own
		}
	}
	order := slices.SortedFunc(maps.Keys(by), func(a, b string) int {
		return cmp.Or(cmp.Compare(by[b], by[a]), cmp.Compare(a, b))
	})
	for i, name := range order[:min(8, len(order))] {
		if i > 0 {
			text.WriteString(", ")
		}
		fmt.Fprintf(&text, "%s %d", name, by[name]/rounds)
	}
	return text.String()
}
