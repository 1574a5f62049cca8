package unit

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Percent is a share between 0% and 100%, written with the sign: "20%". The
// number is held as written, 20 for "20%"; Fraction gives 0.2.
type Percent float64

const percentFix = "write a share between 0% and 100%, such as 20%"

// ParsePercent reads "20%" or "0.5%". A bare 0.2 is refused: it could mean 0.2%
// or 20%.
func ParsePercent(text string) (Percent, error) {
	fail := func(problem, fix string) (Percent, error) {
		return 0, &ValueError{Kind: "percentage", Value: text, Problem: problem, Fix: fix}
	}
	number, found := strings.CutSuffix(text, "%")
	if strings.Trim(number, "0123456789.") != "" || number == "" {
		return fail("is not a number with a percent sign", percentFix)
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return fail("is not a number with a percent sign", percentFix)
	}
	if !found {
		if value > 0 && value <= 1 {
			return fail("has no percent sign", "write "+Percent(value*100).String())
		}
		return fail("has no percent sign", "write "+number+"%")
	}
	if value > 100 {
		return fail("is more than the whole", percentFix)
	}
	return Percent(value), nil
}

// Fraction is the share as a number between 0 and 1.
func (p Percent) Fraction() float64 { return float64(p) / 100 }

// String is what ParsePercent reads back.
func (p Percent) String() string {
	return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%"
}

// UnmarshalYAML reads a scalar node; the error carries its line and column.
func (p *Percent) UnmarshalYAML(node *yaml.Node) error { return unmarshal(p, node, ParsePercent) }

// MarshalYAML writes String.
func (p Percent) MarshalYAML() (any, error) { return p.String(), nil }

// Shape describes the text for the JSON Schema.
func (Percent) Shape() Shape {
	return Shape{Types: []string{"string"}, Pattern: `^[0-9.]+%$`, Examples: []string{"20%"}}
}
