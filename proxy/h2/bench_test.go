package h2

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// usualRequest is what a gateway says to an endpoint.
const usualRequest = "GET /orders/17?page=2 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
	"Accept: */*\r\nX-Consumer: alice\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: shop.example.com\r\n\r\n"

// nginxHead is a head as nginx sends it: Huffman-coded literals.
func nginxHead() []byte {
	b := []byte{0x88}
	for _, f := range []struct {
		place byte
		value string
	}{
		{54, "nginx"}, {33, "Sat, 28 Nov 2026 01:40:03 GMT"}, {31, "text/plain"}, {28, "66"},
		{44, "Fri, 27 Nov 2026 13:09:00 GMT"}, {34, `"6748a1b0-42"`}, {18, "bytes"},
	} {
		b = appendInt(b, 0x40, 6, int(f.place))
		b = appendInt(b, 0x80, 7, int(hpack.HuffmanEncodeLength(f.value)))
		b = hpack.AppendHuffmanString(b, f.value)
	}
	return b
}

func BenchmarkRequest(b *testing.B) {
	var out []byte
	c := New(&out, Limits{HeaderBytes: 16 << 10, Streams: 100}, func(*Stream) {})
	head := []byte(usualRequest)
	b.ReportAllocs()
	for b.Loop() {
		out = out[:0]
		c.next = 1
		s := c.Open()
		if err := s.Send(&[3][]byte{head}); err != nil {
			b.Fatal(err)
		}
		s.sent, s.ended = true, true
		s.Close()
	}
	b.ReportMetric(float64(len(out)), "bytes")
}

// exchanges gives a connection with n streams under way and the frames of their
// answers.
func exchanges(b *testing.B, c *Conn, n int) (streams []*Stream, answers []byte) {
	var frames bytes.Buffer
	framer := http2.NewFramer(&frames, nil)
	head := nginxHead()
	for range n {
		s := c.Open()
		if err := s.Send(&[3][]byte{[]byte(usualRequest)}); err != nil {
			b.Fatal(err)
		}
		streams = append(streams, s)
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: head, EndHeaders: true})
		_ = framer.WriteData(s.id, true, make([]byte, 66))
	}
	return streams, frames.Bytes()
}

func BenchmarkAnswer(b *testing.B) {
	var out []byte
	c := New(&out, Limits{HeaderBytes: 16 << 10, Streams: 100}, func(*Stream) {})
	c.greeted = true
	streams, answer := exchanges(b, c, 1)
	s, buf := streams[0], make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		out, c.granted, s.granted = out[:0], connWindow, Window
		s.answered, s.framed, s.length, s.got, s.ended = false, false, -1, 0, false
		if _, err := c.Feed(answer); err != nil {
			b.Fatal(err)
		}
		if n, err := s.Read(buf); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkRoundTrip is 16 exchanges at a time, from request to the end.
func BenchmarkRoundTrip(b *testing.B) {
	var out []byte
	c := New(&out, Limits{HeaderBytes: 16 << 10, Streams: 100}, func(*Stream) {})
	c.greeted = true
	streams, answers := exchanges(b, c, 16)
	buf, head := make([]byte, 4096), []byte(usualRequest)
	for _, s := range streams {
		s.sent, s.ended = true, true
		s.Close()
	}
	b.ReportAllocs()
	for b.Loop() {
		out, c.granted, c.next = out[:0], connWindow, 1
		for i := range streams {
			streams[i] = c.Open()
			if err := streams[i].Send(&[3][]byte{head}); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := c.Feed(answers); err != nil {
			b.Fatal(err)
		}
		for _, s := range streams {
			for range 2 {
				_, _ = s.Read(buf)
			}
			if !s.ended {
				b.Fatal("answer is not complete")
			}
			s.Close()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*16), "ns/exchange")
}

// BenchmarkBody is an answer of 100 KiB, as reads of a socket give it.
func BenchmarkBody(b *testing.B) {
	var out []byte
	c := New(&out, Limits{HeaderBytes: 16 << 10, Streams: 100}, func(*Stream) {})
	c.greeted = true
	var frames bytes.Buffer
	framer := http2.NewFramer(&frames, nil)
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true})
	for i := range 13 {
		_ = framer.WriteData(1, i == 12, make([]byte, 8<<10))
	}
	buf := make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		out, c.granted, c.next = out[:0], connWindow, 1
		s := c.Open()
		if err := s.Send(&[3][]byte{[]byte(get)}); err != nil {
			b.Fatal(err)
		}
		for from, to := 0, 0; to < frames.Len(); {
			to = min(from+48<<10, frames.Len())
			used, err := c.Feed(frames.Bytes()[from:to])
			if err != nil {
				b.Fatal(err)
			}
			from += used
			for s.Has() {
				if _, err := s.Read(buf); err != nil {
					break
				}
			}
		}
		s.Close()
	}
}
