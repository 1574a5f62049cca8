package h2

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// takeBlock has a new stream of c take a header block.
func takeBlock(t *testing.T, c *Conn, block []byte) string {
	s := c.Open()
	defer s.Close()
	if err := s.Send(&[3][]byte{[]byte(get)}); err != nil {
		t.Fatal(err)
	}
	err := s.takeHeaders(block, false)
	return fmt.Sprintf("%q %d %t %v %v", s.in, s.length, s.answered, s.err, err)
}

// What a head becomes does not depend on those that came before.
func TestOpening(t *testing.T) {
	fields := []string{
		":status 200", ":status 204", ":status 103", "content-length 5", "content-length 66", "server nginx", "server other",
		"date Sat, 28 Nov 2026 01:40:03 GMT", "date Sat, 28 Nov 2026 01:40:04 GMT", "content-type text/plain",
		"content-type text/html", "x " + strings.Repeat("long", 40), "Upper case", "connection close", "etag \"1\"",
	}
	random := func() (block []byte) {
		block = appendRandom(block, ":status", "200")
		for i := range rand.IntN(20) {
			at := (i + 3) % len(fields)
			if rand.IntN(4) == 0 {
				at = rand.IntN(len(fields))
			}
			name, value, _ := strings.Cut(fields[at], " ")
			block = appendRandom(block, name, value)
		}
		return block[:len(block)-rand.IntN(20)/19]
	}
	var out, none []byte
	limits := Limits{HeaderBytes: 400, Streams: 100}
	warm := New(&out, limits, func(*Stream) {})
	blocks := [][]byte{random(), random(), random()}
	whole := 0
	for range 20000 {
		block := blocks[rand.IntN(len(blocks))]
		switch rand.IntN(8) {
		case 0:
			block = random()
			blocks[rand.IntN(len(blocks))] = block
		case 1:
			block = block[:rand.IntN(len(block)+1)]
		}
		if n := warm.dec.opening.match(block); n > 0 && warm.dec.opening.ends[n-1].coded == len(block) {
			whole++
		}
		got := takeBlock(t, warm, block)
		if want := takeBlock(t, New(&none, limits, func(*Stream) {}), block); got != want {
			t.Fatalf("%q\nafter others %s\nalone        %s", block, got, want)
		}
		if o := &warm.dec.opening; len(o.coded) > mostOpeningBytes || len(o.ends) > mostOpening {
			t.Fatalf("remembers %d bytes, %d fields", len(o.coded), len(o.ends))
		}
		out, none, warm.next = out[:0], none[:0], 1
	}
	if whole < 100 {
		t.Errorf("only %d of 20000 heads were known as a whole", whole)
	}
}

// A field that its sender does not want remembered ends an opening.
func TestOpeningForgets(t *testing.T) {
	var out []byte
	c := New(&out, Limits{HeaderBytes: 4096, Streams: 100}, func(*Stream) {})
	block := appendText([]byte("\x88\x10\x06secret"), []byte("value"))
	for range 3 {
		takeBlock(t, c, block)
	}
	if o := c.dec.opening; string(o.coded) != "\x88" {
		t.Errorf("remembers %q", o.coded)
	}
}
