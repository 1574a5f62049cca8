package h2

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// lines are the fields of a block as d reads them.
func lines(d *decoder, block []byte) (all []string, err error) {
	d.begin(1 << 20)
	for len(block) > 0 {
		var f *field
		if f, block, err = d.next(block); err != nil {
			return nil, err
		}
		if f != nil {
			all = append(all, string(f.line))
		}
	}
	return all, nil
}

// theirs is lines by x/net's decoder with a table of size 0.
func theirs(block []byte) (all []string, err error) {
	d := hpack.NewDecoder(0, func(h hpack.HeaderField) {
		line := h.Name + ": " + h.Value + "\r\n"
		if kind, number := judge([]byte(h.Name), []byte(h.Value)); kind == fieldStatus {
			line = fmt.Sprintf("HTTP/1.1 %03d \r\n", number)
		}
		all = append(all, line)
	})
	d.SetAllowedMaxDynamicTableSize(0)
	if _, err = d.Write(block); err == nil {
		err = d.Close()
	}
	return all, err
}

// FuzzHpack compares the decoder with x/net's, twice: the second time fields are
// known.
func FuzzHpack(f *testing.F) {
	f.Add([]byte("\x88\x00\x01a\x01b\x5f\x8btext/"))
	f.Add(append([]byte{0x20}, nginxHead()...))
	f.Add([]byte("\x88\xbe"))                             // the first place of a table that grows
	f.Add([]byte("\x3f\xe1\x1f\x88"))                     // a table of 4096 bytes
	f.Add([]byte("\x40\x01a\x01b\x40\x01a\x01b\x00\x00")) // again, and a cut one
	f.Fuzz(func(t *testing.T, block []byte) {
		want, err := theirs(block)
		var d decoder
		for range 2 {
			got, mine := lines(&d, block)
			if mine == nil && (err != nil || fmt.Sprint(got) != fmt.Sprint(want)) {
				t.Errorf("got %q, want %q, %v", got, want, err)
			}
		}
	})
}

// appendRandom appends a field in one of the forms that HPACK has for it.
func appendRandom(b []byte, name, value string) []byte {
	first := []byte{0x00, 0x10, 0x40}[rand.IntN(3)]
	bits := map[byte]uint{0x00: 4, 0x10: 4, 0x40: 6}[first]
	place := 0
	for i, e := range static {
		if e.name == name && rand.IntN(2) == 0 {
			place = i + 1
		}
	}
	b = appendInt(b, first, bits, place)
	texts := []string{value}
	if place == 0 {
		texts = []string{name, value}
	}
	for _, s := range texts {
		if rand.IntN(2) == 0 {
			b = appendText(b, []byte(s))
		} else {
			b = hpack.AppendHuffmanString(appendInt(b, 0x80, 7, int(hpack.HuffmanEncodeLength(s))), s)
		}
	}
	return b
}

// TestRemembered has one decoder read blocks whose fields come again, in all
// forms and also damaged, and compares each with a decoder that knows nothing.
func TestRemembered(t *testing.T) {
	var d decoder
	names := []string{":status", "content-length", "date", "server", "x-a", "x-b", "x-" + strings.Repeat("long", 20), "connection"}
	values := []string{"200", "66", "", "nginx", strings.Repeat("v", 70), "Sat, 28 Nov 2026 01:40:03 GMT", "a\r\nb"}
	good := 0
	for i := range 30_000 {
		var block []byte
		if rand.IntN(4) == 0 {
			block = append(block, 0x20) // a table of size 0
		}
		for range rand.IntN(6) {
			value := values[rand.IntN(len(values))]
			if rand.IntN(4) == 0 {
				value = fmt.Sprint(i % 1000)
			}
			block = appendRandom(block, names[rand.IntN(len(names))], value)
		}
		switch n := rand.IntN(20); {
		case n == 0 && len(block) > 0:
			block = block[:rand.IntN(len(block))]
		case n == 1 && len(block) > 0:
			block[rand.IntN(len(block))] ^= 1 << rand.IntN(8)
		case n == 2:
			block = append(block, 0x80|byte(62+rand.IntN(3))) // of a table that grows
		case n == 3:
			block = appendInt(block, 0x20, 5, rand.IntN(3)) // perhaps too late, or too large
		}
		want, theirErr := theirs(block)
		got, err := lines(&d, block)
		switch {
		case err == nil && (theirErr != nil || fmt.Sprint(got) != fmt.Sprint(want)):
			t.Fatalf("%x: got %q, want %q, %v", block, got, want, theirErr)
		case err == nil:
			good++
		}
	}
	if good < 20_000 {
		t.Errorf("only %d blocks were read", good)
	}
}

// TestKnownIsBounded has an endpoint say ever new fields.
func TestKnownIsBounded(t *testing.T) {
	var d decoder
	for i := range 50_000 {
		name, value := "date", fmt.Sprint(i)
		if i%2 == 0 {
			name, value = fmt.Sprint("x-", i), strings.Repeat("0", i%100)
		}
		if _, err := lines(&d, appendRandom(nil, name, value)); err != nil {
			t.Fatal(err)
		}
	}
	held := 0
	for i := range d.known {
		for _, w := range d.known[i].ways {
			held += cap(w.coded) + cap(w.line)
		}
	}
	if most := knownSets * 2 * 8 * mostKnown; held > most || held == 0 {
		t.Errorf("%d bytes are held, want at most %d", held, most)
	}
}

// What its sender marks as never to be indexed is not remembered.
func TestNeverIndexed(t *testing.T) {
	var d decoder
	if got, err := lines(&d, []byte("\x10\x01a\x06secret\x00\x01a\x06public")); err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	held := ""
	for i := range d.known {
		for _, w := range d.known[i].ways {
			held += string(w.line)
		}
	}
	if strings.Contains(held, "secret") || !strings.Contains(held, "public") {
		t.Errorf("held: %s", held)
	}
}
