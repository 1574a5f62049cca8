package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestChunksGiveTrailers(t *testing.T) {
	raw := "3\r\nabc\r\n0\r\nX-Sum: 1 \r\nAuthorization: x\r\nETag: \"e\"\r\n\r\nbehind"
	var c Chunks
	for range 2 { // and once more after Reset
		c.Reset()
		payload, used := drain(t, &c, raw)
		if payload != "abc" || raw[used:] != "behind" {
			t.Errorf("payload %q, %q left", payload, raw[used:])
		}
		text, fields := c.Trailers()
		var got []string
		for _, f := range fields {
			got = append(got, string(f.Name.Of(text))+"="+string(f.Value.Of(text)))
		}
		if s := strings.Join(got, " "); s != `X-Sum=1 ETag="e"` {
			t.Errorf("trailers %s", s)
		}
		out := AppendFinalChunkTrailers(nil, text, fields)
		if string(out) != "0\r\nX-Sum: 1\r\nETag: \"e\"\r\n\r\n" {
			t.Errorf("written as %q", out)
		}
	}
	c.Reset()
	drain(t, &c, "0\r\n\r\n")
	if _, fields := c.Trailers(); len(fields) != 0 {
		t.Error("trailers of the body before")
	}
}

func drain(t *testing.T, c *Chunks, raw string) (payload string, used int) {
	t.Helper()
	for !c.Done() {
		data, n, err := c.Next([]byte(raw[used:]))
		if err != nil || n == 0 {
			t.Fatalf("%d bytes, %v at %d of %q", n, err, c.Offset, raw)
		}
		payload += string(data)
		used += n
	}
	return payload, used
}

func TestChunkBounds(t *testing.T) {
	cases := []struct {
		name, raw string
		err       error
	}{
		{"extensions that just fit", "1;" + strings.Repeat("a", maxExtBytes-1) + "\r\nx\r\n0\r\n\r\n", nil},
		{"extensions one byte over", "1;" + strings.Repeat("a", maxExtBytes-2) + "\r\nx\r\n0;a\r\n\r\n", ErrChunkExtBytes},
		{"trailers that just fit", "0\r\nX:" + strings.Repeat("a", maxTrailerBytes-4) + "\r\n\r\n", nil},
		{"trailers one byte over", "0\r\nX:" + strings.Repeat("a", maxTrailerBytes-3) + "\r\n\r\n", ErrTrailerBytes},
		{"as many trailers as fit", "0\r\n" + strings.Repeat("X:y\r\n", maxTrailerFields) + "\r\n", nil},
		{"one trailer over", "0\r\n" + strings.Repeat("X:y\r\n", maxTrailerFields+1) + "\r\n", ErrFieldCount},
		{"dropped trailers count too", "0\r\n" + strings.Repeat("Age:y\r\n", maxTrailerFields+1) + "\r\n", ErrFieldCount},
		{"largest size", "7fffffffffffffff\r\n", nil},
		{"over the largest size", "8000000000000000\r\n", ErrChunkSize},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, _, err := decode([]byte(c.raw), func() int { return 100 })
			if !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
		})
	}
}

func TestChunksAllocateNothing(t *testing.T) {
	raw := []byte("3;a=b\r\nabc\r\n0\r\n\r\n")
	if got := testing.AllocsPerRun(100, func() {
		var c Chunks
		for rest := raw; !c.Done(); {
			_, n, err := c.Next(rest)
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
	}); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}

func TestWrittenChunksAreRead(t *testing.T) {
	var raw []byte
	var want string
	for _, n := range []int{1, 9, 10, 15, 16, 255, 256, 4095, 4096, 70000} {
		data := bytes.Repeat([]byte{'d'}, n)
		raw = AppendChunkEnd(append(AppendChunkHeader(raw, n), data...))
		want += string(data)
	}
	raw = AppendChunkHeader(raw, 0) // would end the body, so nothing is written
	raw = AppendFinalChunk(raw)
	var c Chunks
	if payload, used := drain(t, &c, string(raw)); payload != want || used != len(raw) {
		t.Errorf("%d bytes of payload from %d, want %d from %d", len(payload), used, len(want), len(raw))
	}
	if got := string(AppendChunkHeader(nil, 0xdeadbeef)); got != "deadbeef\r\n" {
		t.Errorf("size line %q", got)
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	got := ErrFold.Error()
	if !strings.Contains(got, "400") || !strings.Contains(got, "obs_fold") || !strings.Contains(got, ErrFold.Text) {
		t.Errorf("%q", got)
	}
	var e *Error
	var h RequestHead
	_, err := ScanRequest(&h, []byte("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"), 0, Limits{})
	if !errors.As(err, &e) || e != ErrColonSpace || h.Offset != 26 {
		t.Errorf("%v at %d", err, h.Offset)
	}
}
