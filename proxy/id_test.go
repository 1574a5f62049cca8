package proxy

import (
	"encoding/binary"
	"fmt"
	"testing"
)

func TestHexDigits(t *testing.T) {
	for _, x := range []uint32{0, 1, 9, 10, 15, 0x89abcdef, 0x01234567, 0x9a9a9a9a, 0xffffffff} {
		var got [8]byte
		binary.LittleEndian.PutUint64(got[:], hexDigits(x))
		want := []byte(fmt.Sprintf("%08x", x))
		for i, c := range want {
			if got[7-i] != c {
				t.Errorf("%#x: digits %q from the lowest on, want %q from the highest", x, got, want)
				break
			}
		}
	}
}

func TestNewID(t *testing.T) {
	seen := map[[32]byte]bool{}
	for range 1000 {
		var id [32]byte
		newID(&id)
		for _, c := range id {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				t.Fatalf("%q is not hexadecimal", id)
			}
		}
		if seen[id] {
			t.Fatalf("%q came twice", id)
		}
		seen[id] = true
	}
}
