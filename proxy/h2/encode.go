package h2

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// A request's head is made a header block in one pass over its text, where it is to
// lie: eight bytes are taken at a time, looked through for what ends the name or
// the line, and put down in lower case or as they are. A line that is not as
// gateways write it goes by appendLine, byte by byte.
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
func controls(x uint64) uint64 { return (x - ones*'!') &^ x & highs }

// lowerWord is toLower of eight bytes.
func lowerWord(x uint64) uint64 {
	low := x &^ highs
	letters := (low + ones*(0x80-'A')) &^ (low + ones*(0x7f-'Z')) &^ x & highs
	return x | letters>>2
}

// putField writes the field of the line at p[i:] to d[o:]. value is where its value
// begins there, end where it ends, and at where its line does. nameOdd: it needs
// appendLine.
func putField(d, p []byte, o, i int) (value, end, at int, kind nameKind) {
	v, i, kind := putName(d, p, o, i)
	if kind == nameOdd {
		return 0, 0, 0, nameOdd
	}
	from, to, at := putValue(d, p, v, i)
	if at == 0 {
		return 0, 0, 0, nameOdd
	}
	if to-from <= shortText {
		d[v] = byte(to - from)
		return from, to, at, kind
	}
	if end = lengthen(d, from, to); end == 0 {
		kind = nameOdd
	}
	return end - (to - from), end, at, kind
}

// putName writes the name of the field at p[i:] to d[o:] as a field begins. end is
// where its value's length is to stand, at where its value begins in p.
func putName(d, p []byte, o, i int) (end, at int, kind nameKind) {
	var low, whole, marks uint64
	to := o + 2
	for i <= len(p)-8 && to <= len(d)-8 {
		x := binary.LittleEndian.Uint64(p[i:])
		low = lowerWord(x)
		binary.LittleEndian.PutUint64(d[to:], low)
		if marks = equals(x, ':') | controls(x); marks != 0 {
			break
		}
		whole = low
		i, to = i+8, to+8
	}
	if marks == 0 {
		return 0, 0, nameOdd
	}
	more := bits.TrailingZeros64(marks) / 8
	i, to = i+more, to+more
	n := to - o - 2
	if uint(n-1) >= shortText || i >= len(p) || p[i] != ':' {
		return 0, 0, nameOdd
	}
	low &= marks&-marks>>7 - 1
	if name := &codedNames[nameHash(whole, low, n)]; name.is(whole, low, d[o+2:to]) {
		return name.put(d, o), i + 1, name.kind
	}
	d[o], d[o+1] = 0, byte(n)
	return to, i + 1, namePlain
}

// putValue writes the value at p[i:] to d, behind its length's byte at d[o]. at is
// behind its line; 0: there is no line's end in sight.
func putValue(d, p []byte, o, i int) (from, to, at int) {
	for i < len(p) && (p[i] == ' ' || p[i] == '\t') {
		i++
	}
	from, to = o+1, o+1
	var marks uint64
	for i <= len(p)-8 && to <= len(d)-8 && to-from < shortValue {
		x := binary.LittleEndian.Uint64(p[i:])
		binary.LittleEndian.PutUint64(d[to:], x)
		if marks = equals(x, '\n'); marks != 0 {
			n := bits.TrailingZeros64(marks) / 8
			i, to = i+n, to+n
			break
		}
		i, to = i+8, to+8
	}
	if marks == 0 {
		n := bytes.IndexByte(p[i:], '\n')
		if n < 0 || n > len(d)-to {
			return 0, 0, 0
		}
		copy(d[to:], p[i:i+n])
		i, to = i+n, to+n
	}
	if to--; to < from || to >= len(d) || d[to] != '\r' {
		return 0, 0, 0
	}
	for to > from && (d[to-1] == ' ' || d[to-1] == '\t') {
		to--
	}
	return from, to, i + 1
}

// lengthen writes the length of d[from:to], which is no short one, to its front. It
// answers the new end, 0 if there is no room.
func lengthen(d []byte, from, to int) (end int) {
	var room [5]byte
	length := appendInt(room[:0], 0, 7, to-from)
	if end = to + len(length) - 1; end > len(d) {
		return 0
	}
	copy(d[from-1+len(length):], d[from:to])
	copy(d[from-1:], length)
	return end
}

// putStart writes what the first line of p says to d, as putField does. used is 0 if
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

// appendStart is putStart for every line that has an end.
func appendStart(b, p []byte) (all []byte, used int, ok bool) {
	line, rest, ok := cutLine(p)
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
	return appendLiteral(b, 4, target), len(p) - len(rest), ok
}

// headOf splits a request's first line.
func headOf(line []byte) (method, target []byte) {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(rest, []byte(" "))
	return method, target
}
