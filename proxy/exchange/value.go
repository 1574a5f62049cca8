package exchange

import "encoding/binary"

// Value is what a filter asks a script that answers with a value: a part of a
// limit's key, or whose a key is.
type Value struct {
	// Args are what the script is told, each behind its length: AddArg.
	Args []byte
	// Text is what it returned, a text; empty: it returned nothing.
	Text []byte
	// Fields says that it was a table: Text is names and values, with a NUL behind
	// each.
	Fields bool
}

// AddArg adds what the script is told next.
func (v *Value) AddArg(arg []byte) {
	v.Args = binary.NativeEndian.AppendUint32(v.Args, uint32(len(arg)))
	v.Args = append(v.Args, arg...)
}

// Set notes what the script returned.
func (v *Value) Set(text []byte, fields bool) {
	v.Text, v.Fields = append(v.Text[:0], text...), fields
}

// Clear forgets what was returned.
func (v *Value) Clear() { v.Text, v.Fields = v.Text[:0], false }

func (v *Value) reset() {
	trim(&v.Args)
	trim(&v.Text)
	v.Fields = false
}
