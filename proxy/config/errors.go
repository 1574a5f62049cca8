package config

import (
	"sort"
	"strings"

	"perigee/proxy/unit"
)

// Error is one thing that is wrong in a configuration.
type Error struct {
	Position unit.Position
	Path     string // "routes[2].lua.access"; empty for the whole file
	Message  string // what is wrong
	Hint     string // what would fix it; may be empty
}

// Error is one line: file:line:column: path: message (hint).
func (e Error) Error() string {
	var b strings.Builder
	if at := e.Position.String(); at != "" {
		b.WriteString(at + ": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Errors is all that is wrong in a configuration, in the order of the file.
type Errors []Error

// Error is one line per error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted orders by position, then path, then message: maps are walked in any
// order and must not show.
func (e Errors) sorted() Errors {
	sort.SliceStable(e, func(i, j int) bool {
		a, b := e[i], e[j]
		switch {
		case a.Position.Before(b.Position):
			return true
		case b.Position.Before(a.Position):
			return false
		case a.Path != b.Path:
			return a.Path < b.Path
		}
		return a.Message < b.Message
	})
	return e
}
