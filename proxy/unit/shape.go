package unit

// Shape is what a JSON Schema says about a scalar type: editors check the text
// against it while it is being typed. It may be laxer than the parser, never
// stricter.
type Shape struct {
	Types    []string // JSON types: "string", "integer", "array", ...
	Pattern  string   // ECMA 262 regular expression on strings; empty for none
	Examples []string
	Items    bool // a list of strings of this pattern; with other types: or one alone
}
