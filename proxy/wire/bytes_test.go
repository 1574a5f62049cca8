package wire

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestAppendLower: every byte at every place of a word, and behind it.
func TestAppendLower(t *testing.T) {
	for size := range 20 {
		for at := range size {
			for c := range 256 {
				text := bytes.Repeat([]byte("Z"), size)
				text[at] = byte(c)
				want := bytes.Repeat([]byte("z"), size)
				if want[at] = byte(c); 'A' <= c && c <= 'Z' {
					want[at] = byte(c) + 'a' - 'A'
				}
				if got := AppendLower([]byte("A:"), text); string(got) != "A:"+string(want) {
					t.Fatalf("%q became %q", text, got)
				}
			}
		}
	}
}

// TestLowerWord: every byte at every place, between others at the edges.
func TestLowerWord(t *testing.T) {
	for c := range 256 {
		for i := range 8 {
			for _, others := range []byte{0, '@', 'A', 'Z', '[', 0x80, 0xc1, 0xff} {
				in := bytes.Repeat([]byte{others}, 8)
				in[i] = byte(c)
				want := bytes.Clone(in)
				for k, b := range want {
					if 'A' <= b && b <= 'Z' {
						want[k] = b + 'a' - 'A'
					}
				}
				if got := LowerWord(binary.LittleEndian.Uint64(in)); got != binary.LittleEndian.Uint64(want) {
					t.Fatalf("%q becomes %x", in, got)
				}
			}
		}
	}
}
