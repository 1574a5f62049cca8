package h2

import "encoding/binary"

// Requests on one connection say the same again and again: the gateway's own name,
// what most clients accept, an address behind which many sit. A line that was coded
// before is not coded again but copied, as it was coded then: what becomes of a line
// depends on nothing but its bytes.
//
//	"X-Forwarded-Proto: http\r\n"  -- hash of 16 bytes -->  knownLines[i]
//	                                                         text   the same? then
//	                                                         coded  -> block
//
// A line is remembered when its slot was missed by it twice in a row, so that lines
// that are ever new push nothing out and cost little. Credentials are not remembered.

// mostLine is the longest line that is remembered, and the longest coding of one.
const mostLine = 64

// codedLine is a line that was coded before.
type codedLine struct {
	text  [mostLine]byte // with its end
	coded [mostLine]byte
	tag   uint32 // of the line that missed last
	n     uint8  // length of text; 0: there is none
	size  uint8  // length of coded
	value uint8  // where the value begins in coded
	kind  nameKind
}

type knownLines [64]codedLine

// recall is field for a line that is known; false: it is not, and keep may be told
// what field has made of it.
func (c *headCoder) recall() (kind nameKind, known bool) {
	d, p, o, i := c.d, c.p, c.o, c.i
	if i > len(p)-16 || o > len(d)-mostLine {
		c.slot = nil
		return nameOdd, false
	}
	mix := (binary.LittleEndian.Uint64(p[i:]) ^ binary.LittleEndian.Uint64(p[i+8:])<<1) * 0xaead0f8064514f43
	l := &c.lines[mix>>58]
	n := int(l.n)
	if n == 0 || n > len(p)-i || string(p[i:i+n]) != string(l.text[:n]) {
		c.slot, c.tag = l, uint32(mix>>26)
		return nameOdd, false
	}
	*(*[mostLine]byte)(d[o:]) = l.coded
	c.value, c.end, c.at = o+int(l.value), o+int(l.size), i+n
	return l.kind, true
}

// keep remembers the field that field has written, of a line that recall did not
// know.
func (c *headCoder) keep(kind nameKind) {
	l := c.slot
	if l == nil || kind == nameSecret {
		return
	}
	if l.tag != c.tag {
		l.tag = c.tag
		return
	}
	line, coded := c.p[c.i:c.at], c.d[c.o:c.end]
	if len(line) > mostLine || len(coded) > mostLine {
		return
	}
	l.n, l.size = uint8(copy(l.text[:], line)), uint8(copy(l.coded[:], coded))
	l.value, l.kind = uint8(c.value-c.o), kind
}
