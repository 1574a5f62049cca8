package wire

// A Copy appends fields of one head to another as "Name: value CRLF". Most heads are
// written that way already, so fields that stand next to each other are copied
// together:
//
//	Head  "Host: a\r\nCookie: b\r\nTE: c\r\nX-A:d\r\nX-B: e\r\n\r\n"
//	       [----- one copy ----]   left     by     [one copy]
//	                                out    hand
//
// Append may hold back what it was given; Flush appends the rest.
type Copy struct {
	Head     []byte
	from, to uint32 // of Head: held back
}

// Append appends a field of Head.
func (c *Copy) Append(dst []byte, f *Field) []byte {
	if !f.isPlain(c.Head) {
		return c.AppendAs(dst, f, f.Value.Of(c.Head))
	}
	if f.Name.Start != c.to {
		dst = c.Flush(dst)
		c.from = f.Name.Start
	}
	c.to = f.Value.End + 2
	return dst
}

// AppendAs appends a field of Head with another value.
func (c *Copy) AppendAs(dst []byte, f *Field, value []byte) []byte {
	dst = append(c.Flush(dst), f.Name.Of(c.Head)...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// Flush appends what was held back.
func (c *Copy) Flush(dst []byte) []byte {
	dst = append(dst, c.Head[c.from:c.to]...)
	c.from, c.to = 0, 0
	return dst
}

// isPlain tells whether a field stands in its head as Copy would write it.
func (f *Field) isPlain(head []byte) bool {
	end := int(f.Value.End)
	return f.Value.Start == f.Name.End+2 && end+2 <= len(head) &&
		head[f.Name.End+1] == ' ' && head[end] == '\r' && head[end+1] == '\n'
}
