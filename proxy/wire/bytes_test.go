package wire

import (
	"bytes"
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
