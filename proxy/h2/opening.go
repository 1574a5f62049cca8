package h2

import (
	"encoding/binary"
	"math/bits"
)

// opening is how the last heads of an endpoint have begun: its fields that have come
// before, as they came and as lines. A head that begins alike takes the lines
// together; only from where it differs are fields looked at one by one:
//
//	block:   88 | 76 84 aa 63 55 e7 | 61 96 df 69 7e ... | 0f 0d 02 36 36
//	opening: 88 | 76 84 aa 63 55 e7 | 61 96 df 69 7e ... | 0f 0d 02 37 31
//	         '------------ three lines at once ---------'  '-- by decoder.next
type opening struct {
	coded, lines []byte
	ends         []ending
}

// ending is what the fields up to one come to.
type ending struct {
	coded, lines int // where it ends
	status       int
	length       int64 // -1: none of them is a content-length
}

// The bounds of an opening.
const (
	mostOpening      = 16
	mostOpeningBytes = 512
)

// match is how many of the opening's fields a block begins with.
func (o *opening) match(block []byte) (n int) {
	coded := o.coded
	if len(block) > len(coded) {
		block = block[:len(coded)]
	}
	i := 0
	for i <= len(block)-8 && i <= len(coded)-8 {
		if x := binary.LittleEndian.Uint64(block[i:]) ^ binary.LittleEndian.Uint64(coded[i:]); x != 0 {
			i += bits.TrailingZeros64(x) / 8
			break
		}
		i += 8
	}
	if left := len(block) - i; left < 8 && len(block) >= 8 && // as a rule all of it is alike
		binary.LittleEndian.Uint64(block[len(block)-8:]) == binary.LittleEndian.Uint64(coded[len(block)-8:]) {
		i = len(block)
	}
	for i < len(block) && block[i] == coded[i] {
		i++
	}
	for n = len(o.ends); n > 0 && o.ends[n-1].coded > i; n-- {
	}
	return n
}

// extend makes f, which came as coded, the field behind the first n. false: it does
// not want it.
func (o *opening) extend(n int, coded []byte, f *field) bool {
	e := ending{length: -1}
	if n > 0 {
		e = o.ends[n-1]
	}
	if n == mostOpening || e.coded+len(coded) > mostOpeningBytes || f.kind == fieldStatus && f.number < 200 {
		return false
	}
	o.coded = append(o.coded[:e.coded], coded...)
	o.lines = append(o.lines[:e.lines], f.line...)
	e.coded, e.lines = len(o.coded), len(o.lines)
	switch f.kind {
	case fieldStatus:
		e.status = int(f.number)
	case fieldLength:
		e.length = f.number
	}
	o.ends = append(o.ends[:n], e)
	return true
}
