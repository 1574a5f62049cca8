package loop

import (
	"bytes"
	"errors"
	"testing"

	"perigee/luavm/socket"
)

// wholeRecords counts the records of a stream; rest: more than their end is there.
func wholeRecords(stream []byte) (n int, rest bool) {
	for len(stream) >= recordHead {
		size := recordHead + int(stream[3])<<8 + int(stream[4])
		if size > len(stream) {
			break
		}
		n, stream = n+1, stream[size:]
	}
	return n, len(stream) > 0
}

func FuzzFrames(f *testing.F) {
	one := append([]byte{23, 3, 3, 0, 4}, "data"...)
	f.Add(one, []byte{})
	f.Add(one[:6], []byte{2, 3})
	f.Add(append(one, one...), []byte{1, 1, 1, 1, 1, 200})
	f.Add([]byte{23, 3, 3, 0, 0}, []byte{4})
	f.Add(append(one, 23), []byte{})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		var frames frames
		left := stream
		for _, cut := range cuts {
			n := min(int(cut), len(left))
			frames.follow(left[:n])
			left = left[n:]
		}
		frames.follow(left)
		whole, rest := wholeRecords(stream)
		if frames.whole != whole {
			t.Fatalf("%d records, want %d", frames.whole, whole)
		}
		if got, want := frames.spent(), whole == 1 && !rest; got != want {
			t.Fatalf("spent %v, want %v", got, want)
		} else if got && frames.spent() {
			t.Fatal("spent twice")
		}
	})
}

func TestPlaintextOfRecords(t *testing.T) {
	letters := func(c string, n int) []byte { return bytes.Repeat([]byte(c), n) }
	for _, c := range []struct {
		name    string
		a, b, c int
		want    []int
	}{
		{"one piece", 100, 0, 0, []int{100}},
		{"a short answer is one record", 100, 200, 2, []int{302}},
		{"only a body", 0, 5000, 0, []int{5000}},
		{"a long body", 100, 2*recordSize + 50, 0, []int{recordSize, recordSize, 150}},
		{"a long body and its end", 0, recordSize, 7, []int{recordSize, 7}},
		{"more than a record of short ones", recordSize - 1, recordSize - 1, 2, []int{recordSize, recordSize}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l Loop
			var p socket.Pieces
			a, b, tail := letters("a", c.a), letters("b", c.b), letters("c", c.c)
			p.Set(a, b, tail)
			var got []byte
			for _, want := range c.want {
				plain := l.cutPlain(p.List())
				if len(plain) != want {
					t.Errorf("%d bytes, want %d", len(plain), want)
				}
				got = append(got, plain...)
			}
			if p.Any() || !bytes.Equal(got, bytes.Join([][]byte{a, b, tail}, nil)) {
				t.Errorf("%d bytes of %d, in order %v", len(got), len(a)+len(b)+len(tail), p.Any())
			}
		})
	}
}

// A client that makes crypto/tls answer and reads nothing is given up.
func TestRecordsThatPileUp(t *testing.T) {
	tr := &transport{client: &client{loop: &Loop{}}, unsent: make([]byte, mostUnsent-10)}
	if n, err := tr.Write(make([]byte, 10)); n != 10 || err != nil {
		t.Errorf("within the bound: %d, %v", n, err)
	}
	if _, err := tr.Write([]byte{0}); !errors.Is(err, errStalled) {
		t.Errorf("beyond the bound: %v", err)
	}
}
