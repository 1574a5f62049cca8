package unit

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Rate is a number of events in a span of time: "100/s", "10/m", "5/10s".
type Rate struct {
	Events int64
	Per    time.Duration // at least one millisecond once parsed
}

const rateFix = "write events per span, such as 100/s, 10/m or 5/10s"

// ParseRate reads "N/span", where span is s, m, h, d or a Duration.
func ParseRate(text string) (Rate, error) {
	fail := func(problem string) (Rate, error) {
		return Rate{}, &ValueError{Kind: "rate", Value: text, Problem: problem, Fix: rateFix}
	}
	count, span, found := strings.Cut(text, "/")
	if !found {
		return fail("has no span of time")
	}
	if strings.Trim(count, "0123456789") != "" || count == "" {
		return fail("does not start with a whole number")
	}
	events, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		return fail("counts more events than a rate can")
	}
	if span != "" && strings.IndexByte("0123456789", span[0]) < 0 {
		span = "1" + span
	}
	per, err := ParseDuration(span)
	if err != nil || per.Std() < time.Millisecond {
		return fail("has no span of at least 1ms")
	}
	return Rate{Events: events, Per: per.Std()}, nil
}

// PerSecond is the mean number of events in one second.
func (r Rate) PerSecond() float64 {
	if r.Per <= 0 {
		return 0
	}
	return float64(r.Events) * float64(time.Second) / float64(r.Per)
}

// String is what ParseRate reads back: "100/s", "5/10s".
func (r Rate) String() string {
	span := Duration(r.Per).String()
	switch r.Per {
	case time.Millisecond, time.Second, time.Minute, time.Hour:
		span = span[1:]
	case 24 * time.Hour:
		span = "d"
	}
	return strconv.FormatInt(r.Events, 10) + "/" + span
}

// UnmarshalYAML reads a scalar node; the error carries its line and column.
func (r *Rate) UnmarshalYAML(node *yaml.Node) error { return unmarshal(r, node, ParseRate) }

// MarshalYAML writes String.
func (r Rate) MarshalYAML() (any, error) { return r.String(), nil }

// Shape describes the text for the JSON Schema.
func (Rate) Shape() Shape {
	return Shape{Types: []string{"string"}, Pattern: `^[0-9]+/[0-9a-zµ.]+$`, Examples: []string{"100/s", "5/10s"}}
}
