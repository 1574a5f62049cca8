package proxytest

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// RawOrigin answers every request on a connection with the same bytes, without
// an allocation. size is how long a request is, head and body: it is found by
// the first one's head (Content-Length or none).
func RawOrigin(t testing.TB, answer string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			go answerAll(c, []byte(answer))
		}
	}()
	return ln.Addr().String()
}

// answerAll reads requests by their heads' ends and lengths.
func answerAll(c net.Conn, answer []byte) {
	buf := make([]byte, 256<<10)
	have := 0
	for {
		n, err := c.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		for {
			size := messageSize(buf[:have])
			if size == 0 || size > have {
				break
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
			have = copy(buf, buf[size:have])
		}
	}
}

// messageSize is the length of the message at the start of b, 0 while its head
// is not complete.
func messageSize(b []byte) int {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return 0
	}
	head := b[:end+2]
	if bytes.Contains(head, []byte("Transfer-Encoding: chunked\r\n")) {
		last := bytes.Index(b[end+4:], []byte("0\r\n\r\n"))
		if last < 0 {
			return 0
		}
		return end + 4 + last + 5
	}
	size := end + 4
	if at := bytes.Index(head, []byte("Content-Length: ")); at >= 0 {
		n := 0
		for _, c := range head[at+len("Content-Length: "):] {
			if c < '0' || c > '9' {
				break
			}
			n = n*10 + int(c-'0')
		}
		size += n
	}
	return size
}

// RawClient sends the same request again and again on one connection and reads
// the answers, without an allocation.
type RawClient struct {
	conn    net.Conn
	request []byte
	buf     []byte
}

// NewRawClient connects to addr; request is what Round sends.
func NewRawClient(t testing.TB, addr, request string) *RawClient {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &RawClient{conn: conn, request: []byte(request), buf: make([]byte, 256<<10)}
}

// Round sends the request and reads the whole answer, which it returns; it is
// overwritten by the next Round.
func (c *RawClient) Round() ([]byte, error) {
	if _, err := c.conn.Write(c.request); err != nil {
		return nil, err
	}
	have := 0
	for {
		n, err := c.conn.Read(c.buf[have:])
		have += n
		if size := messageSize(c.buf[:have]); size > 0 && size <= have {
			return c.buf[:size], nil
		}
		if err == nil && have == len(c.buf) {
			err = io.ErrShortBuffer
		}
		if err != nil {
			return nil, err
		}
	}
}
