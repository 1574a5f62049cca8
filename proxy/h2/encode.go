package h2

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"perigee/proxy/wire"
)

// A request's head is made a header block in one pass over its text, where it is to
// lie: eight bytes are taken at a time, looked through for what ends the name or
// the line, and put down in lower case or as they are. A line that is not as
// gateways write it goes by line, byte by byte.
//
//	"X-Name: value\r\n"  -->  00 | 06 "x-name" | 05 "value"
//	"Accept: */*\r\n"    -->  0f 04 | 03 "*/*"          the static table's name

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
	// shortText is the longest string whose length is one byte.
	shortText = 126
	// shortValue is up to where a line's end is looked for while copying.
	shortValue = 64
)

// equals marks the bytes of x that are c, and perhaps some behind the first.
func equals(x uint64, c byte) uint64 {
	x ^= ones * uint64(c)
	return (x - ones) &^ x & highs
}

// controls marks the bytes of x that are spaces or less, and perhaps some behind
// the first.
func controls(x uint64) uint64 { return (x - ones*'!') & (highs &^ x) }

// headCoder is at work on a head: p[:i] has been read, d[:o] was written.
type headCoder struct {
	d, p []byte
	o, i int

	// The field that field has written, but not taken into d[:o].
	value, end int // where its value begins and ends in d
	at         int // where its line ends in p

	lines *knownLines
	slot  *codedLine // where recall has looked in vain; nil: it has not looked
	tag   uint32     // of the line that it looked for
}

// field writes the field of the line at p[i:] behind d[:o]. nameOdd: it needs
// line.
func (c *headCoder) field() (kind nameKind) {
	d, p, i, to := c.d, c.p, c.i, c.o+2
	var low, whole, marks uint64
	for i <= len(p)-8 && to <= len(d)-8 {
		x := binary.LittleEndian.Uint64(p[i:])
		low = wire.LowerWord(x)
		binary.LittleEndian.PutUint64(d[to:], low)
		if marks = equals(x, ':') | controls(x); marks != 0 {
			break
		}
		whole = low
		i, to = i+8, to+8
	}
	if marks == 0 {
		return nameOdd
	}
	more := bits.TrailingZeros64(marks) / 8
	i, to = i+more, to+more
	n, o := i-c.i, c.o
	if uint(n-1) >= shortText || p[i] != ':' {
		return nameOdd
	}
	low &= marks&-marks>>7 - 1
	name := &codedNames[nameHash(whole, low, n)]
	if name.is(whole, low, n) && (n < 16 || string(d[o+2:to]) == name.text) {
		to, kind = name.put(d, o), name.kind
	} else {
		d[o], d[o+1] = 0, byte(n)
		kind = namePlain
	}
	if !c.text(to, i+1) {
		return nameOdd
	}
	return kind
}

// text writes the value at p[i:], its length to d[o]. false: there is no line's end
// in sight.
func (c *headCoder) text(o, i int) bool {
	d, p := c.d, c.p
	for i < len(p) && (p[i] == ' ' || p[i] == '\t') {
		i++
	}
	from, to, marks := o+1, o+1, uint64(0)
	for i <= len(p)-8 && to <= len(d)-8 && to-o <= shortValue {
		x := binary.LittleEndian.Uint64(p[i:])
		binary.LittleEndian.PutUint64(d[to:], x)
		if marks = equals(x, '\n'); marks != 0 {
			break
		}
		i, to = i+8, to+8
	}
	n := bits.TrailingZeros64(marks) / 8
	if marks == 0 {
		if n = bytes.IndexByte(p[i:], '\n'); n < 0 || n > len(d)-to {
			return false
		}
		copy(d[to:], p[i:i+n])
	}
	c.at = i + n + 1
	if to += n - 1; to < from || to >= len(d) || d[to] != '\r' {
		return false
	}
	for to > from && (d[to-1] == ' ' || d[to-1] == '\t') {
		to--
	}
	c.value, c.end = from, to
	if n = to - from; n > shortText {
		return c.lengthen(n)
	}
	d[o] = byte(n)
	return true
}

// lengthen writes the length n of the value, which is no short one. false: there is
// no room.
func (c *headCoder) lengthen(n int) bool {
	var room [5]byte
	length := appendInt(room[:0], 0, 7, n)
	from := c.value
	c.value += len(length) - 1
	if c.end = c.value + n; c.end > len(c.d) {
		return false
	}
	copy(c.d[c.value:], c.d[from:from+n])
	copy(c.d[from-1:], length)
	return true
}

// putStart writes what the first line of p says to d, as field does. used is 0 if
// it is not as usual.
func putStart(d, p []byte) (size, used int) {
	if len(p) < 8 || len(d) < 4 {
		return 0, 0
	}
	switch {
	case string(p[:4]) == "GET ":
		d[0], p, used = 0x80|2, p[4:], 4
	case string(p[:5]) == "POST ":
		d[0], p, used = 0x80|3, p[5:], 5
	default:
		return 0, 0
	}
	d[1], d[2] = 0x80|6, 4 // :scheme http, :path
	value := d[4:]
	value = value[:min(len(value), shortText-8)]
	n, marks := 0, uint64(0)
	for n <= len(p)-8 && n <= len(value)-8 {
		x := binary.LittleEndian.Uint64(p[n:])
		binary.LittleEndian.PutUint64(value[n:], x)
		if marks = controls(x); marks != 0 {
			break
		}
		n += 8
	}
	if marks == 0 {
		return 0, 0
	}
	n += bits.TrailingZeros64(marks) / 8
	d[3] = byte(n)
	if p = p[n:]; len(p) < len(startEnd) || string(p[:len(startEnd)]) != startEnd {
		return 0, 0
	}
	return 4 + n, used + n + len(startEnd)
}

// startEnd is behind the target in a request's first line.
const startEnd = " HTTP/1.1\r\n"

// appendStart is putStart for every line that has an end; used is 0 if it has none.
func appendStart(b, p []byte) (all, method []byte, used int) {
	line, rest, _ := cutLine(p)
	method, target := headOf(line)
	switch string(method) {
	case "GET":
		b = append(b, 0x80|2)
	case "POST":
		b = append(b, 0x80|3)
	default:
		b = appendLiteral(b, 2, method)
	}
	b = append(b, 0x80|6)
	return appendLiteral(b, 4, target), method, len(p) - len(rest)
}

// headOf splits a request's first line.
func headOf(line []byte) (method, target []byte) {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(rest, []byte(" "))
	return method, target
}
