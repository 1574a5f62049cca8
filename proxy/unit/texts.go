package unit

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// Texts are one Template or a list of them: "a", or [a, b].
type Texts struct{ list []Template }

// MakeTexts makes Texts of templates.
func MakeTexts(list ...Template) Texts { return Texts{list} }

// Templates are the texts in order; who evaluates them calls them one by one.
func (t Texts) Templates() []Template { return t.list }

// IsZero says whether there is no text; yaml's omitempty asks it too.
func (t Texts) IsZero() bool { return len(t.list) == 0 }

// String joins the texts with commas.
func (t Texts) String() string {
	texts := make([]string, len(t.list))
	for i := range t.list {
		texts[i] = t.list[i].String()
	}
	return strings.Join(texts, ", ")
}

// UnmarshalYAML reads a scalar or a list of scalars; the error carries the line
// and column of the one that is wrong.
func (t *Texts) UnmarshalYAML(node *yaml.Node) error {
	items := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		items = node.Content
	}
	fresh := make([]Template, len(items))
	for i, item := range items {
		if err := fresh[i].UnmarshalYAML(item); err != nil {
			return err
		}
	}
	t.list = fresh
	return nil
}

// MarshalYAML writes a single text alone.
func (t Texts) MarshalYAML() (any, error) {
	if len(t.list) == 1 {
		return t.list[0].String(), nil
	}
	texts := make([]string, len(t.list))
	for i := range t.list {
		texts[i] = t.list[i].String()
	}
	return texts, nil
}

// Shape describes the texts for the JSON Schema.
func (Texts) Shape() Shape {
	return Shape{Types: []string{"string", "number", "boolean", "array"}, Items: true, Examples: []string{"max-age=60"}}
}
