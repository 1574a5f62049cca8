package unit

import (
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Size is a number of bytes, written in binary units: "16KiB", "10MiB", or as
// a bare number of bytes. "16k" and "16KB" are refused with the KiB spelling in
// the error: nginx reads k as 1024, SI as 1000, and a limit should not depend
// on which of the two the writer had in mind.
type Size int64

// Binary units.
const (
	Byte Size = 1
	KiB       = 1024 * Byte
	MiB       = 1024 * KiB
	GiB       = 1024 * MiB
	TiB       = 1024 * GiB
)

const sizeFix = "write bytes or a unit of 1024 (B, KiB, MiB, GiB, TiB), such as 16KiB"

var sizeUnits = [...]struct {
	name string
	size Size
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", Byte}}

// ParseSize reads "16KiB", "512B" or "512".
func ParseSize(text string) (Size, error) {
	fail := func(problem, fix string) (Size, error) {
		return 0, &ValueError{Kind: "size", Value: text, Problem: problem, Fix: fix}
	}
	if text == "" {
		return fail("is empty", sizeFix)
	}
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	if digits == 0 {
		return fail("does not start with a whole number", sizeFix)
	}
	n, err := strconv.ParseInt(text[:digits], 10, 64)
	if err != nil {
		return fail("is larger than a size can be", sizeFix)
	}
	suffix := text[digits:]
	if suffix == "" {
		return Size(n), nil
	}
	for _, unit := range sizeUnits {
		if unit.name != suffix {
			continue
		}
		if n > math.MaxInt64/int64(unit.size) {
			return fail("is larger than a size can be", sizeFix)
		}
		return Size(n) * unit.size, nil
	}
	// k, K, kb, KB and Ki all mean "about a thousand bytes": show the spelling
	// that says which thousand.
	if i := strings.IndexByte("kmgt", suffix[0]|0x20); i >= 0 && len(suffix) <= 3 {
		return fail("has an unclear unit", "write "+text[:digits]+string("KMGT"[i])+"iB")
	}
	return fail("has an unknown unit", sizeFix)
}

// Bytes is the size as a plain number.
func (s Size) Bytes() int64 { return int64(s) }

// String uses the largest unit that leaves a whole number.
func (s Size) String() string {
	for _, unit := range sizeUnits {
		if s != 0 && s%unit.size == 0 && unit.size != Byte {
			return strconv.FormatInt(int64(s/unit.size), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// UnmarshalYAML reads a scalar node; the error carries its line and column.
func (s *Size) UnmarshalYAML(node *yaml.Node) error { return unmarshal(s, node, ParseSize) }

// MarshalYAML writes String.
func (s Size) MarshalYAML() (any, error) { return s.String(), nil }

// Shape describes the text for the JSON Schema.
func (Size) Shape() Shape {
	return Shape{Types: []string{"string", "integer"}, Pattern: `^[0-9]+(B|KiB|MiB|GiB|TiB)?$`, Examples: []string{"16KiB", "10MiB"}}
}
