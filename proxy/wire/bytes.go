package wire

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// Classes of bytes; one table lookup answers for all of them.
const (
	classToken  = 1 << iota // tchar, RFC 9110 §5.6.2
	classHost               // unreserved and sub-delims of RFC 3986, what a reg-name holds besides %XX
	classDigit              // 0-9
	classHex                // 0-9 a-f A-F
	classValue              // HTAB, SP, VCHAR and obs-text: a field value's bytes, RFC 9110 §5.5
	classTarget             // VCHAR without '#', and bytes from 0x80 up
	classQuoted             // qdtext, RFC 9110 §5.6.4
)

// class maps a byte to its classes.
var class = buildClass()

func buildClass() (t [256]uint8) {
	mark := func(set string, c uint8) {
		for i := range len(set) {
			t[set[i]] |= c
		}
	}
	const digits = "0123456789"
	const alpha = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	mark(digits+alpha+"!#$%&'*+-.^_`|~", classToken)
	mark(digits+alpha+"-._~!$&'()*+,;=", classHost)
	mark(digits, classDigit)
	mark(digits+"abcdefABCDEF", classHex)
	for b := range 256 {
		if b == '\t' || b >= ' ' && b != 0x7f {
			t[b] |= classValue
			if b != '"' && b != '\\' {
				t[b] |= classQuoted
			}
		}
		if b > ' ' && b != 0x7f && b != '#' {
			t[b] |= classTarget
		}
	}
	return t
}

// leading returns how many bytes at the start of b are of the class want.
func leading(b []byte, want uint8) int {
	for i, c := range b {
		if class[c]&want == 0 {
			return i
		}
	}
	return len(b)
}

// allOf reports whether all of b is of the class want. It looks at all of it, which
// for what is right is less than to stop at the first that is wrong.
func allOf(b []byte, want uint8) bool {
	all := want
	for _, c := range b {
		all &= class[c]
	}
	return all != 0
}

// IsToken reports whether b is a token of RFC 9110 §5.6.2: at least one byte,
// all of them tchar. Methods, field names and list members are tokens.
func IsToken(b []byte) bool {
	return len(b) > 0 && allOf(b, classToken)
}

// IsValue reports whether b may be a field's value (RFC 9110 §5.5).
func IsValue(b []byte) bool {
	return allOf(b, classValue)
}

// TrimOWS returns b without leading and trailing SP and HTAB (OWS of RFC 9110
// §5.6.3), and nothing else: other white space is no white space to HTTP.
func TrimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// LowerWord is eight bytes with their ASCII letters in lower case.
func LowerWord(x uint64) uint64 {
	low := x &^ highs
	// The top bit of a byte: one of "it is 'A' or above" and "it is above 'Z'" alone.
	letters := ((low + ones*(0x80-'A')) ^ (low + ones*(0x7f-'Z'))) & (highs &^ x)
	return x | letters>>2
}

// AppendLower appends b with its ASCII letters in lower case.
func AppendLower(dst, b []byte) []byte {
	start := len(dst)
	dst = append(dst, b...)
	text, i := dst[start:], 0
	for ; i+8 <= len(text); i += 8 {
		binary.LittleEndian.PutUint64(text[i:], LowerWord(binary.LittleEndian.Uint64(text[i:])))
	}
	for ; i < len(text); i++ {
		if c := text[i]; 'A' <= c && c <= 'Z' {
			text[i] = c | 0x20
		}
	}
	return dst
}

// EqualFold reports whether b is lower, ASCII letters compared without case.
// lower must hold no upper-case letter. Unlike bytes.EqualFold it knows no
// Unicode: the Kelvin sign is not a k.
func EqualFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// word is the eight bytes of b from i on, which must be there: the caller's loop has
// seen to it, and a second look costs as much as what is done with them.
func word(b []byte, i int) uint64 {
	w := (*[8]byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))
	return binary.LittleEndian.Uint64(w[:])
}

// equal has the top bit set of bytes of x that are c. The lowest mark is exact, and
// whether there is any: a borrow starts at a byte that is marked and only moves up.
func equal(x uint64, c byte) uint64 {
	x ^= ones * uint64(c)
	return (x - ones) &^ x & highs
}

// dirt has the top bit set of bytes of x that are below low (at most 0x80) or
// equal to DEL; bytes from 0x80 up are clean. It misses none of them below the
// lowest mark, but a mark may be of a clean byte: by a borrow from a marked one
// below, or by a carry from a byte of 0xff. So whoever finds one looks again.
func dirt(x uint64, low uint64) uint64 {
	return ((x - ones*low) | (x + ones)) &^ x & highs
}

// firstBad returns the index of the first byte of b outside the class want, or
// len(b). Eight bytes are looked at together while they are plainly clean:
// low is the smallest byte value that is clean without a look at the table, and
// every class used here holds all bytes from low up except DEL, and '#' for
// targets, which the caller looks for itself.
func firstBad(b []byte, want uint8, low uint64) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if dirt(binary.LittleEndian.Uint64(b[i:]), low) == 0 {
			continue
		}
		for j := i; j < i+8; j++ {
			if class[b[j]]&want == 0 {
				return j
			}
		}
	}
	if i < len(b) && len(b) >= 8 && dirt(binary.LittleEndian.Uint64(b[len(b)-8:]), low) == 0 {
		return len(b) // the last word overlaps the one before
	}
	for ; i < len(b); i++ {
		if class[b[i]]&want == 0 {
			return i
		}
	}
	return len(b)
}

// valueEnd returns where the bytes that may be a field value's end, from i on: its
// CR comes then, if all is well. It stops, too, where no whole word of buf's memory
// begins any more; last is where the last one does.
//
//go:noinline
func valueEnd(buf []byte, i, last int) int {
	for i <= last {
		x := word(buf, i)
		marks := dirt(x, ' ')
		if marks == 0 {
			i += 8
			continue
		}
		at := bits.TrailingZeros64(marks) &^ 7
		i += at / 8
		if class[byte(x>>at)]&classValue == 0 {
			break
		}
		i++
	}
	return i
}

// targetEnd is valueEnd for the bytes of a request target, which a space ends.
//
//go:noinline
func targetEnd(buf []byte, i, last int) int {
	for i <= last {
		x := word(buf, i)
		marks := dirt(x, '!') | equal(x, '#')
		if marks == 0 {
			i += 8
			continue
		}
		at := bits.TrailingZeros64(marks) &^ 7
		i += at / 8
		if class[byte(x>>at)]&classTarget == 0 {
			break
		}
		i++
	}
	return i
}

// badByte names the refusal for a byte that no field value may hold.
func badByte(c byte) *Error {
	switch c {
	case 0:
		return ErrNUL
	case '\r':
		return ErrBareCR
	}
	return ErrControl
}
