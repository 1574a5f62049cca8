package unit

import (
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Duration is a span of time, written as numbers with units: "250ms", "1m30s",
// "7d". A bare number is refused (except 0), because seconds and milliseconds
// are both common habits. Negative spans are refused.
type Duration time.Duration

const durationFix = "write a number with a unit (ns, us, ms, s, m, h, d), such as 250ms or 1m30s"

// ParseDuration reads "1h30m", "250ms", "1.5s", "7d" or "0".
func ParseDuration(text string) (Duration, error) {
	fail := func(problem, fix string) (Duration, error) {
		return 0, &ValueError{Kind: "duration", Value: text, Problem: problem, Fix: fix}
	}
	switch {
	case text == "":
		return fail("is empty", durationFix)
	case text == "0":
		return 0, nil
	case strings.HasPrefix(text, "-"):
		return fail("is negative", durationFix)
	case strings.Trim(text, "0123456789.") == "":
		return fail("has no unit", "write "+text+"s or "+text+"ms")
	}
	days, rest := time.Duration(0), text
	if number, after, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil || n > math.MaxInt64/uint64(24*time.Hour) {
			return fail("is not a span of time", durationFix)
		}
		days, rest = time.Duration(n)*24*time.Hour, after
	}
	if rest == "" {
		return Duration(days), nil
	}
	span, err := time.ParseDuration(rest)
	if err != nil || span < 0 || days+span < 0 || strings.HasPrefix(rest, "+") {
		return fail("is not a span of time", durationFix)
	}
	return Duration(days + span), nil
}

// Std is the same span as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the shortest text that ParseDuration reads back: 1m0s is "1m".
func (d Duration) String() string {
	if d == 0 {
		return "0"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// UnmarshalYAML reads a scalar node; the error carries its line and column.
func (d *Duration) UnmarshalYAML(node *yaml.Node) error {
	return unmarshal(d, node, ParseDuration)
}

// MarshalYAML writes String.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }

// Shape describes the text for the JSON Schema.
func (Duration) Shape() Shape {
	return Shape{Types: []string{"string", "integer"}, Pattern: `^(0|([0-9]+d)?([0-9.]+(ns|us|µs|ms|s|m|h))*)$`, Examples: []string{"250ms", "10s", "1m30s"}}
}
