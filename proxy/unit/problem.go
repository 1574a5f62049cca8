package unit

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Position is a place in a configuration file. Line and Column count from 1;
// zero means unknown.
type Position struct {
	File   string
	Line   int
	Column int
}

// String is file:line:column, without the parts that are unknown.
func (p Position) String() string {
	s := p.File
	for _, n := range [...]int{p.Line, p.Column} {
		if n <= 0 {
			break
		}
		if s != "" {
			s += ":"
		}
		s += strconv.Itoa(n)
	}
	return s
}

// Before orders positions of one file by line, then column.
func (p Position) Before(q Position) bool {
	if p.Line != q.Line {
		return p.Line < q.Line
	}
	return p.Column < q.Column
}

// Problem is what a feature's Config.Check reports. Path is relative to that
// Config ("endpoints[0].address", "" for the Config itself); the loader of the
// file adds where the Config stands and the position.
type Problem struct {
	Path    string
	Message string // what is wrong, with the value quoted
	Hint    string // what would fix it; may be empty
}

// ValueError says why a scalar cannot be read.
type ValueError struct {
	Position Position // zero when the text did not come from YAML
	Kind     string   // "duration", "size", ...
	Value    string   // as written; empty for a Secret
	Problem  string   // does not repeat the value
	Fix      string   // what to write instead
}

// Message is the error without position and fix.
func (e *ValueError) Message() string {
	return fmt.Sprintf("%s %q %s", e.Kind, e.Value, e.Problem)
}

// Error is position, message and fix in one line.
func (e *ValueError) Error() string {
	s := e.Message()
	if at := e.Position.String(); at != "" {
		s = at + ": " + s
	}
	if e.Fix != "" {
		s += " (" + e.Fix + ")"
	}
	return s
}

// scalarText returns the text of a scalar node. A list, a mapping or nothing at
// all in the place of a kind is an error at the node's position.
func scalarText(node *yaml.Node, kind, fix string) (string, error) {
	problem := ""
	switch {
	case node.Kind != yaml.ScalarNode:
		problem = "is wanted here, not a list or mapping"
	case node.Tag == "!!null":
		problem = "is wanted here, but nothing is written"
	default:
		return node.Value, nil
	}
	return "", &ValueError{
		Position: Position{Line: node.Line, Column: node.Column},
		Kind:     kind, Problem: problem, Fix: fix,
	}
}

// unmarshal is the body of every UnmarshalYAML here: text from node, parse,
// and the node's position on the error.
func unmarshal[T any](dst *T, node *yaml.Node, parse func(string) (T, error)) error {
	// The zero parse names the kind and the fix for a node that is no scalar.
	var kind, fix string
	if _, err := parse(""); err != nil {
		if v, ok := err.(*ValueError); ok {
			kind, fix = v.Kind, v.Fix
		}
	}
	text, err := scalarText(node, kind, fix)
	if err != nil {
		return err
	}
	value, err := parse(text)
	if err != nil {
		if v, ok := err.(*ValueError); ok {
			v.Position = Position{Line: node.Line, Column: node.Column}
		}
		return err
	}
	*dst = value
	return nil
}
