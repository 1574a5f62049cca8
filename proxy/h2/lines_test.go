package h2

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestKnownLines: heads of a connection that knows lines of others are coded as by
// themselves, whichever came before.
func TestKnownLines(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	conn := &Conn{}
	lines := []string{
		"Host: a", "Host: b", "host:a", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2", "X-Forwarded-Proto: http",
		"X-Forwarded-Host: a", "Accept: */*", "Accept: */* ", "Accept:*/*", "TE: trailers", "TE: gzip", "Content-Length: 7",
		"Content-Length: 8", "Connection: x", "Transfer-Encoding: chunked", "Authorization: Bearer abcdefgh", "Cookie: a=b",
		"X-Long: " + strings.Repeat("v", mostLine-10), "X-Long: " + strings.Repeat("v", mostLine-9), "no colon at all here",
	}
	for range 3000 {
		head := "GET /" + strings.Repeat("p", r.IntN(9)) + " HTTP/1.1\r\n"
		for range r.IntN(8) {
			head += lines[r.IntN(len(lines))] + "\r\n"
		}
		checkHeadOn(t, conn, head+"\r\n")
	}
	for name, want := range map[string]bool{"X-Forwarded-Proto": true, "Authorization": false, "Cookie": false} {
		known := false
		for i := range conn.lines {
			l := &conn.lines[i]
			known = known || strings.HasPrefix(string(l.text[:l.n]), name+":")
		}
		if known != want {
			t.Errorf("%s is remembered: %t", name, known)
		}
	}
}

// TestKnownLinesAreUsed: a line is known once it has missed twice in a row.
func TestKnownLinesAreUsed(t *testing.T) {
	conn := &Conn{}
	known := func(line string) bool {
		p := []byte(line + "\r\n0123456789abcdef")
		h := headCoder{d: make([]byte, 200), p: p, lines: &conn.lines}
		_, known := h.recall()
		if !known {
			if kind := h.field(); kind != nameOdd {
				h.keep(kind)
			}
		}
		return known
	}
	const line = "X-Forwarded-Proto: http"
	for i, want := range []bool{false, false, true, true} {
		if known(line) != want {
			t.Errorf("time %d: known %t", i, !want)
		}
	}
	for i := range 50 {
		if known("X-Request-Id: " + strings.Repeat(string(rune('a'+i%26)), 30)) {
			t.Fatalf("a new line is known at %d", i)
		}
	}
}
