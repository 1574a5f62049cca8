package config

import (
	"strconv"
	"strings"

	"perigee/proxy/unit"

	"go.yaml.in/yaml/v3"
)

// places remembers where each value of a file stands, and what was written
// where something was expanded: errors and dumps show the writing, never what
// came out of the environment or a secret's file.
type places struct {
	file      string
	positions map[string]unit.Position
	written   map[string]writing
}

// writing is a scalar before and after its expansion.
type writing struct{ text, value string }

func newPlaces(file string) places {
	return places{file: file, positions: make(map[string]unit.Position), written: make(map[string]writing)}
}

func (p *places) positionOf(node *yaml.Node) unit.Position {
	return unit.Position{File: p.file, Line: node.Line, Column: node.Column}
}

func (p *places) note(path string, node *yaml.Node) { p.positions[path] = p.positionOf(node) }

func (p *places) wrote(path, text, value string) { p.written[path] = writing{text, value} }

// at is the position of the value at path or, when nothing is written there,
// of the nearest value around it.
func (p *places) at(path string) unit.Position {
	for {
		if position, ok := p.positions[path]; ok {
			return position
		}
		if path == "" {
			return unit.Position{File: p.file, Line: 1, Column: 1}
		}
		path = parent(path)
	}
}

// parent cuts the last key or index off a path.
func parent(path string) string {
	if strings.HasSuffix(path, `"]`) {
		// A quoted key: the bracket that opens it is the last one before a quote
		// that is not escaped; keys are quoted by strconv.
		for i := strings.LastIndex(path, `["`); i >= 0; i = strings.LastIndex(path[:i], `["`) {
			if _, err := strconv.Unquote(path[i+1 : len(path)-1]); err == nil {
				return path[:i]
			}
		}
	}
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// hide replaces an expanded value by what was written in a message about the
// value at path. A hint that shows the value is dropped.
func (p *places) hide(path, message, hint string) (string, string) {
	w, ok := p.written[path]
	if !ok || w.value == "" {
		return message, hint
	}
	message = strings.ReplaceAll(message, strconv.Quote(w.value), strconv.Quote(w.text))
	if strings.Contains(hint, w.value) {
		hint = ""
	}
	return message, hint
}
