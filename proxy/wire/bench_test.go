package wire

import "testing"

// benchHead is a head as a browser's API call sends it.
const benchHead = "GET /orders/42?expand=items HTTP/1.1\r\n" +
	"Host: api.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
	"Accept: application/json\r\n" +
	"Accept-Encoding: gzip, br\r\n" +
	"X-Api-Key: 0123456789abcdef\r\n" +
	"Connection: keep-alive\r\n\r\n"

func BenchmarkScanRequest(b *testing.B) {
	buf := []byte(benchHead)
	h := new(RequestHead)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := ScanRequest(h, buf, 0, Limits{}); n != len(buf) || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkScanRequestSmall(b *testing.B) {
	buf := []byte("GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n")
	h := new(RequestHead)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := ScanRequest(h, buf, 0, Limits{}); n != len(buf) || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkScanResponse(b *testing.B) {
	buf := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\n" +
		"Content-Type: application/json\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n" +
		"ETag: \"5f3c-1a2b\"\r\nAccept-Ranges: bytes\r\n\r\n")
	h := new(ResponseHead)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := ScanResponse(h, buf, 0, Limits{}, AskedOther); n != len(buf) || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkChunks(b *testing.B) {
	var body []byte
	for range 4 {
		body = AppendChunkHeader(body, 4096)
		body = append(body, make([]byte, 4096)...)
		body = AppendChunkEnd(body)
	}
	body = AppendFinalChunk(body)
	var c Chunks
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		c.Reset()
		for rest := body; !c.Done(); {
			_, n, err := c.Next(rest)
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
		}
	}
}
