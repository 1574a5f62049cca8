package h2

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/net/http2/hpack"

	"perigee/proxy/wire"
)

// What an endpoint says in one head it says in most: its name, a type, the date
// of this second. So a field is not only decoded but made the line that HTTP/1.1
// has for it, judged, and remembered by the bytes it came as:
//
//	block:  88 | 76 84 aa 63 55 e7 | 61 96 df 69 7e ... | 0f 0d 02 36 36
//	        |     |
//	        |     '-- known? else decode, judge, remember
//	        '-------- the static table's line
//	lines:  HTTP/1.1 200 | server: nginx | ...
//
// Bytes mean the same in every block because we announce a table of size 0:
// none of them refers to what came before.

// field is one of a header block.
type field struct {
	line   []byte // name ": " value CRLF, or the status line
	number int64  // of a status or a length
	kind   fieldKind
}

type fieldKind uint8

const (
	fieldPlain  fieldKind = iota
	fieldStatus           // :status
	fieldLength           // content-length
	fieldBad              // cannot stand in a head of HTTP/1.1
)

var (
	errHpack = errors.New("bad header compression")
	errLong  = errors.New("header fields are longer than the limit")
)

// decoder reads header blocks.
type decoder struct {
	seen  bool  // a field has come: no change of the table's size any more
	most  int   // length of a line
	last  field // of those that are not known
	known known
	// opening is what heads have begun with, see takeFields.
	opening opening
}

// begin begins a block whose lines are no longer than most.
func (d *decoder) begin(most int) { d.seen, d.most = false, most }

// next reads the field at the start of b, which is not empty. It is the
// decoder's and stays until the next one; nil: a change of the table's size.
func (d *decoder) next(b []byte) (f *field, rest []byte, err error) {
	first := b[0]
	if first&0xe0 == 0x20 {
		size, rest, err := readInt(b, 5)
		if err != nil || d.seen || size != 0 {
			return nil, nil, errHpack // the table we allow has a size of 0
		}
		return nil, rest, nil
	}
	d.seen = true
	if first&0x80 != 0 {
		place, rest, err := readInt(b, 7)
		if err != nil || place == 0 || place > len(static) {
			return nil, nil, errHpack
		}
		return &staticFields[place-1], rest, nil
	}
	name, value, rest, err := readLiteral(b)
	if err != nil {
		return nil, nil, err
	}
	coded := b[:len(b)-len(rest)]
	if len(coded) > mostKnown || first&0xf0 == 0x10 {
		// Never indexed: its sender does not want it remembered (RFC 7541 §7.1.3).
		f, err = d.literal(name, value)
		return f, rest, err
	}
	set := d.known.of(coded)
	if f = set.find(coded); f == nil {
		if f, err = d.literal(name, value); err == nil {
			set.keep(coded, f)
		}
	}
	return f, rest, err
}

// packed is a string as HPACK has it.
type packed struct {
	b     []byte
	coded bool // by Huffman
}

// readLiteral finds the parts of a literal field.
func readLiteral(b []byte) (name, value packed, rest []byte, err error) {
	bits := uint(4)
	if b[0]&0x40 != 0 {
		bits = 6
	}
	place, b, err := readInt(b, bits)
	switch {
	case err != nil:
		return name, value, nil, err
	case place > len(static):
		return name, value, nil, errHpack
	case place > 0:
		name.b = staticNames[place-1]
	default:
		if name, b, err = readText(b); err != nil {
			return name, value, nil, err
		}
	}
	value, rest, err = readText(b)
	return name, value, rest, err
}

func readText(b []byte) (t packed, rest []byte, err error) {
	if len(b) == 0 {
		return t, nil, errHpack
	}
	t.coded = b[0]&0x80 != 0
	n, b, err := readInt(b, 7)
	if err != nil || n > len(b) {
		return t, nil, errHpack
	}
	t.b = b[:n:n]
	return t, b[n:], nil
}

func readInt(b []byte, bits uint) (n int, rest []byte, err error) {
	most := 1<<bits - 1
	n = int(b[0]) & most
	b = b[1:]
	if n < most {
		return n, b, nil
	}
	for shift := uint(0); shift < 28 && len(b) > 0; shift += 7 {
		c := b[0]
		b = b[1:]
		n += int(c&127) << shift
		if c < 128 {
			return n, b, nil
		}
	}
	return 0, nil, errHpack
}

// literal makes a field of its parts.
func (d *decoder) literal(name, value packed) (*field, error) {
	f := &d.last
	f.line = f.line[:0]
	if err := d.spell(name); err != nil {
		return nil, err
	}
	colon := len(f.line)
	f.line = append(f.line, ": "...)
	if err := d.spell(value); err != nil {
		return nil, err
	}
	f.finish(colon)
	return f, nil
}

// spell appends a string to the line.
func (d *decoder) spell(t packed) error {
	if !t.coded {
		_, err := d.Write(t.b)
		return err
	}
	_, err := hpack.HuffmanDecode(d, t.b)
	if err != nil && err != errLong {
		err = errHpack
	}
	return err
}

// Write takes what Huffman's decoder gives.
func (d *decoder) Write(p []byte) (int, error) {
	if len(d.last.line)+len(p) > d.most {
		return 0, errLong
	}
	d.last.line = append(d.last.line, p...)
	return len(p), nil
}

// finish judges a field whose line is complete but for its end.
func (f *field) finish(colon int) {
	name, value := f.line[:colon], f.line[colon+2:]
	f.kind, f.number = judge(name, value)
	if f.kind == fieldStatus {
		digits := [3]byte(value)
		f.line = append(append(f.line[:0], "HTTP/1.1 "...), digits[:]...)
		f.line = append(f.line, ' ')
	}
	f.line = append(f.line, '\r', '\n')
}

// judge tells what a field is to HTTP/1.1 (RFC 9113 §8.2.1, §8.2.2).
func judge(name, value []byte) (kind fieldKind, number int64) {
	if string(name) == ":status" {
		if number, ok := wire.Decimal(value); ok && len(value) == 3 {
			return fieldStatus, number
		}
		return fieldBad, 0
	}
	if len(name) == 0 {
		return fieldBad, 0
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f || c == ':' || c >= 'A' && c <= 'Z' {
			return fieldBad, 0
		}
	}
	for _, c := range value {
		if c == '\r' || c == '\n' || c == 0 {
			return fieldBad, 0
		}
	}
	switch string(name) {
	case "connection", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade":
		return fieldBad, 0
	case "content-length":
		if number, ok := wire.Decimal(value); ok {
			return fieldLength, number
		}
		return fieldBad, 0
	}
	return fieldPlain, 0
}

// staticNames and staticFields are the static table for decoder.
var staticNames, staticFields = func() (names [len(static)][]byte, fields [len(static)]field) {
	for i, e := range static {
		names[i] = []byte(e.name)
		fields[i].line = []byte(e.name + ": " + e.value)
		fields[i].finish(len(e.name))
	}
	return names, fields
}()

// known are the fields of an endpoint that came last, 2 for each hash: an
// endpoint that ever says something new gets others forgotten.
type known [knownSets]knownSet

const (
	knownSets = 32
	// mostKnown is the longest field that is remembered, as it came. As a line it
	// is twice as long at most: Huffman's shortest code has 5 bits, names of the
	// static table at most 27 bytes.
	mostKnown = 64
)

type knownSet struct {
	ways   [2]knownField
	recent uint8 // the way that was used last
}

type knownField struct {
	coded []byte
	field
}

// of gives the set that a field belongs to.
func (k *known) of(coded []byte) *knownSet {
	var h uint64
	if n := len(coded); n >= 8 {
		h = binary.LittleEndian.Uint64(coded)*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(coded[n-8:])
	} else {
		for _, c := range coded {
			h = h<<8 | uint64(c)
		}
	}
	return &k[h*0x9e3779b97f4a7c15>>32%knownSets]
}

// find gives a field that has come before, or nil.
func (s *knownSet) find(coded []byte) *field {
	for range s.ways {
		if w := &s.ways[s.recent]; bytes.Equal(w.coded, coded) {
			return &w.field
		}
		s.recent ^= 1
	}
	return nil
}

// keep remembers a field in place of the one that was not used last.
func (s *knownSet) keep(coded []byte, f *field) {
	if f.kind == fieldBad {
		return // its stream ends, and so may the endpoint's whim
	}
	s.recent ^= 1
	w := &s.ways[s.recent]
	w.coded = append(w.coded[:0], coded...)
	w.line = append(w.line[:0], f.line...)
	w.number, w.kind = f.number, f.kind
}
