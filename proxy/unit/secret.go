package unit

import (
	"fmt"
	"log/slog"

	"go.yaml.in/yaml/v3"
)

// Mask is what a Secret shows instead of itself.
const Mask = "********"

// Secret is a text that no log, dump or error may show. Every way of printing
// it (fmt with any verb, JSON, YAML, slog) gives Mask; only Reveal gives the
// text. An empty Secret prints as empty, so that a dump shows that it is unset.
type Secret struct {
	text string // unexported, so that reflection-based printers cannot reach it
}

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal returns the text. Each call is a place to look at in a review.
func (s Secret) Reveal() string { return s.text }

// IsZero says whether the secret is empty; yaml's omitempty asks it too.
func (s Secret) IsZero() bool { return s.text == "" }

// String is Mask, or empty for an empty secret.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return Mask
}

// Format masks every verb: %#v and %x would otherwise print the field.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// LogValue masks the secret for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks the secret in JSON and wherever text encoding is asked for.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML masks the secret.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// UnmarshalYAML reads a scalar node. Its error never shows the value.
func (s *Secret) UnmarshalYAML(node *yaml.Node) error {
	text, err := scalarText(node, "secret", "write ${NAME} or ${file:/run/secrets/name}")
	if err != nil {
		return err
	}
	s.text = text
	return nil
}

// Shape describes the text for the JSON Schema.
func (Secret) Shape() Shape {
	return Shape{Types: []string{"string"}, Examples: []string{"${file:/run/secrets/name}"}}
}
