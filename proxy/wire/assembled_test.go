package wire

import (
	"math/rand/v2"
	"testing"
)

// Pieces that random bytes seldom form; assembled by chance they reach the rules
// about several fields at once.
var (
	requestLines = []string{
		"GET / HTTP/1.1", "POST /a?b HTTP/1.1", "POST / HTTP/1.0", "GET http://b.test HTTP/1.1",
		"GET HTTPS://[::1]:8/?q HTTP/1.1", "OPTIONS * HTTP/1.1", "GET * HTTP/1.1", "CONNECT a:1 HTTP/1.1",
		"GET / HTTP/1.2", "GET  / HTTP/1.1", "GET /# HTTP/1.1", "GET http://a@b/ HTTP/1.1", "",
	}
	requestFields = []string{
		"Host: a.test", "Host: a.test", "Host: a.test", "Host: b.test:8", "host:", "Host: a b", "Host: [::1]",
		"Content-Length: 0", "Content-Length: 3", "content-length: 3", "Content-Length: 3, 3", "Content-Length: +3",
		"Content-Length: 99999999999999999999", "Transfer-Encoding: chunked", "transfer-encoding: \tChunked ",
		"Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, gzip", "Transfer-Encoding:",
		"Transfer-Encoding: chunked,", "Connection: close", "Connection: keep-alive", "Connection: Upgrade, x",
		"Connection: a b", "Upgrade: websocket", "Expect: 100-continue", "Expect: x", "TE: trailers",
		"X: y", "X:", "X: \xff\ty", "X : y", " X: y", "X", ": y", "X: \x00", "X: y\rZ: z", "Accept-Encoding: gzip",
	}
	lineEnds = []string{"\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\r\n", "\r"}
)

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

func assembleRequest(r *rand.Rand) []byte {
	line := requestLines[0]
	if r.IntN(2) == 0 {
		line = pick(r, requestLines)
	}
	raw := line + pick(r, lineEnds)
	for range r.IntN(6) {
		raw += pick(r, requestFields) + pick(r, lineEnds)
	}
	raw += "\r\nbody"
	return []byte(raw)
}

func TestAssembledRequests(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	statuses := map[int]int{}
	for range 60000 {
		raw := assembleRequest(r)
		var h RequestHead
		n, err := ScanRequest(&h, raw, 0, small)
		want := modelScanRequest(string(raw), small)
		status := 0
		if e, ok := err.(*Error); ok {
			status = e.Status
		} else if n == 0 {
			status = -1
		}
		if status != want.status {
			t.Fatalf("%q: status %d (%v), the model says %d", raw, status, err, want.status)
		}
		sameInPieces(t, raw, r.Uint64(), outcome{n, err, h.Fields})
		if n > 0 {
			sameAsModel(t, raw[:n], &h, want)
			sameAsNetHTTP(t, raw[:n], &h)
		}
		statuses[status]++
	}
	for _, status := range []int{0, 400, 417, 501, 505} {
		if statuses[status] < 100 {
			t.Errorf("only %d requests with status %d: %v", statuses[status], status, statuses)
		}
	}
}

var chunkPieces = []string{
	"0", "3", "A", "0x3", "000", "8000000000000000", ";a", ";a=b", ";a=\"b;\\\"\"", " ; a = b", ";", ";a=", " ",
	"\r\n", "\r\n", "\r\n", "\n", "\r", "abc", "0123456789", "X: y\r\n", "Host: a\r\n", "X : y\r\n", "0\r\n\r\n", "3\r\nabc\r\n",
	"3\r\nabc\r\n",
}

func TestAssembledChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	whole := 0
	for range 60000 {
		var raw []byte
		for range 1 + r.IntN(9) {
			raw = append(raw, pick(r, chunkPieces)...)
		}
		payload, used, done, err := decode(raw, func() int { return len(raw) })
		payload2, used2, done2, err2 := decode(raw, func() int { return 1 + r.IntN(5) })
		if string(payload) != string(payload2) || used != used2 || done != done2 || err != err2 {
			t.Fatalf("%q at once %q %d %v %v, in pieces %q %d %v %v", raw, payload, used, done, err, payload2, used2, done2, err2)
		}
		want, wantUsed, ok := modelChunks(string(raw))
		if ok != done || ok && (string(payload) != want || used != wantUsed) {
			t.Fatalf("%q: %q %d %v %v, the model says %q %d %v", raw, payload, used, done, err, want, wantUsed, ok)
		}
		if done {
			whole++
		}
	}
	if whole < 1000 {
		t.Errorf("only %d bodies were whole", whole)
	}
}
