package wire

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"perigee/proxy/wire/testdata"
)

// sameAfter holds a scan of raw by an Opening that knows others against one without.
func sameAfter(t *testing.T, o *Opening, raw []byte, lim Limits, asked Asked) {
	t.Helper()
	var plain, opened ResponseHead
	n, err := ScanResponse(&plain, raw, 0, lim, asked)
	gotN, gotErr := o.ScanResponse(&opened, raw, 0, lim, asked)
	plain.Fields, opened.Fields = slices.Clip(plain.Fields), slices.Clip(opened.Fields)
	if n != gotN || err != gotErr || !slices.Equal(plain.Fields, opened.Fields) {
		t.Fatalf("%q behind %q: %d, %v, %v; without: %d, %v, %v", raw, o.text, gotN, gotErr, opened.Fields, n, err, plain.Fields)
	}
	plain.Fields, opened.Fields = nil, nil
	if !reflect.DeepEqual(plain, opened) {
		t.Fatalf("%q behind %q: %+v; without: %+v", raw, o.text, opened, plain)
	}
}

const openingHead = "HTTP/1.1 200 OK\r\nServer: o\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\n" +
	"Content-Type: application/json\r\nContent-Length: 12\r\nX-A:\r\nETag: \"5f3c\" \r\n\r\n"

// TestOpening: whatever byte of a head differs from the last one's, and wherever it
// ends, it is read as by itself.
func TestOpening(t *testing.T) {
	last := []byte(openingHead)
	for _, lim := range []Limits{{}, {Fields: 5}, {HeaderBytes: 100}, {Fields: 1}} {
		for at := range last {
			for _, c := range []byte("\r\n: \t1a\x00") {
				var o Opening
				sameAfter(t, &o, last, Limits{}, AskedOther)
				next := bytes.Clone(last)
				next[at] = c
				sameAfter(t, &o, next, lim, AskedOther)
				sameAfter(t, &o, next[:at], lim, AskedHEAD)
				sameAfter(t, &o, append(next[:at:at], last...), lim, AskedOther)
				sameAfter(t, &o, last, lim, AskedOther)
				sameAfter(t, &o, append(bytes.Clone(last), "body"...), lim, AskedOther)
			}
		}
	}
}

// TestOpeningTakesOver: what is alike is not scanned again.
func TestOpeningTakesOver(t *testing.T) {
	for _, c := range []struct {
		name, next string
		fields     int
	}{
		{"the same", openingHead, 6},
		{"another length", "HTTP/1.1 200 OK\r\nServer: o\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n", 3},
		{"the next second", "HTTP/1.1 200 OK\r\nServer: o\r\nDate: Mon, 23 Nov 2026 10:00:01 GMT\r\n\r\n", 1},
		{"another server", "HTTP/1.1 200 OK\r\nServer: p\r\n\r\n", 0},
		{"another status", "HTTP/1.1 201 OK\r\nServer: o\r\n\r\n", 0},
		{"a part", "HTTP/1.1 200 OK\r\nServer: o\r\nDa", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var o Opening
			var h ResponseHead
			if n, err := o.ScanResponse(&h, []byte(openingHead), 0, Limits{}, AskedOther); n != len(openingHead) {
				t.Fatal(n, err)
			}
			h.reset()
			o.takeOver(&h, []byte(c.next), Limits{}.orDefault())
			if len(h.Fields) != c.fields {
				t.Errorf("%d fields were taken over, want %d", len(h.Fields), c.fields)
			}
		})
	}
}

func FuzzOpening(f *testing.F) {
	cases, err := testdata.Read("responses.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		if sent := c.Sent(); len(sent) < 1000 {
			f.Add([]byte(openingHead), sent, uint64(len(sent)))
			f.Add(sent, []byte(openingHead), uint64(len(sent)))
		}
	}
	f.Fuzz(func(t *testing.T, last, next []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 3))
		var o Opening
		sameAfter(t, &o, last, small, AskedOther)
		sameAfter(t, &o, before(r, next), small, AskedOther)
		// A head that begins as the last one and goes on as another.
		cut := r.IntN(len(last) + 1)
		sameAfter(t, &o, before(r, append(last[:cut:cut], next...)), small, Asked(r.IntN(3)))
	})
}

func BenchmarkOpening(b *testing.B) {
	for _, c := range []struct{ name, other string }{{"same", openingHead}, {"other", "HTTP/1.1 404 Not Found\r\nServer: o\r\nContent-Length: 1\r\n\r\n"}} {
		b.Run(c.name, func(b *testing.B) {
			var o Opening
			h := new(ResponseHead)
			heads := [2][]byte{[]byte(openingHead), []byte(c.other)}
			for i := 0; b.Loop(); i++ {
				if n, err := o.ScanResponse(h, heads[i&1], 0, Limits{}, AskedOther); n == 0 {
					b.Fatal(err)
				}
			}
		})
	}
}
