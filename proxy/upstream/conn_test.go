package upstream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"perigee/proxy/wire"
)

func TestExchangeKeepsConnection(t *testing.T) {
	e := endpoint(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	for i := range 3 {
		a, err := exchange(e, testTimeouts, wire.AskedOther)
		if err != nil || a.body != "hello" || a.reused != (i > 0) {
			t.Fatalf("exchange %d: %+v, error %v", i, a, err)
		}
	}
	if i := e.Info(); i.Dialed != 1 || i.Reused != 2 || i.Idle != 1 || i.InFlight != 0 {
		t.Errorf("after 3 exchanges: %+v", i)
	}
}

func TestResponses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	large := strings.Repeat("x", 100_000)
	tests := []struct {
		name     string
		response string
		asked    wire.Asked
		closes   bool // the origin closes behind the response
		heads    int  // 0 means 1
		body     string
		trailers string
		kept     bool
		err      error
	}{
		{name: "length", response: ok + "Content-Length: 5\r\n\r\nhello", body: "hello", kept: true},
		{name: "length 0", response: ok + "Content-Length: 0\r\n\r\n", kept: true},
		{name: "large", response: ok + "Content-Length: 100000\r\n\r\n" + large, body: large, kept: true},
		{name: "chunked", response: ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", body: "hello", kept: true},
		{name: "chunked, trailers", response: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
			body: "hello", trailers: "X-Sum=1;", kept: true},
		{name: "until close", response: ok + "\r\nhello", closes: true, body: "hello"},
		{name: "until close, empty", response: ok + "\r\n", closes: true},
		{name: "HTTP/1.0", response: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", body: "hello"},
		{name: "HTTP/1.0 keep-alive", response: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
			body: "hello", kept: true},
		{name: "Connection: close", response: ok + "Connection: close\r\nContent-Length: 5\r\n\r\nhello", body: "hello"},
		{name: "100, 103, 200", response: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nx",
			heads: 3, body: "x", kept: true},
		{name: "HEAD", response: ok + "Content-Length: 5\r\n\r\n", asked: wire.AskedHEAD, kept: true},
		{name: "HEAD chunked", response: ok + "Transfer-Encoding: chunked\r\n\r\n", asked: wire.AskedHEAD, kept: true},
		{name: "204", response: "HTTP/1.1 204 No Content\r\n\r\n", kept: true},
		{name: "304", response: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", kept: true},
		{name: "head of 40 KiB", response: ok + strings.Repeat("X-Fill: "+strings.Repeat("y", 400)+"\r\n", 100) + "Content-Length: 5\r\n\r\nhello", body: "hello", kept: true},
		{name: "head of 10 KiB, large body", response: ok + "X-Fill: " + large[:10_000] + "\r\nContent-Length: 100000\r\n\r\n" + large, body: large, kept: true},
		{name: "head over the limit", response: ok + "X-Fill: " + large + "\r\n\r\n", err: wire.ErrResponseBytes},
		{name: "bytes behind the response", response: ok + "Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n", body: "hello"},
		{name: "bytes behind a 204", response: "HTTP/1.1 204 No Content\r\n\r\nhello"},
		{name: "bytes behind chunks", response: ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nX", body: "x"},
		{name: "truncated length", response: ok + "Content-Length: 9\r\n\r\nhello", closes: true, body: "hello", err: ErrTruncated},
		{name: "truncated chunk", response: ok + "Transfer-Encoding: chunked\r\n\r\n9\r\nhello", closes: true, body: "hello", err: ErrTruncated},
		{name: "truncated trailers", response: ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-S", closes: true, body: "x", err: ErrTruncated},
		{name: "bad chunk size", response: ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello", err: wire.ErrChunkSize},
		{name: "bad chunk behind a good one", response: ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n", body: "hi", err: wire.ErrChunkSize},
		{name: "no HTTP", response: "SSH-2.0-OpenSSH_9.2\r\n", heads: -1, err: wire.ErrStatusLine},
		{name: "length and chunked", response: ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", heads: -1, err: wire.ErrResponseBoth},
		{name: "half a head", response: "HTTP/1.1 200 OK\r\nConte", closes: true, heads: -1, err: ErrTruncated},
		{name: "nothing", closes: true, heads: -1, err: ErrTruncated},
		{name: "33 interim responses", response: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 33), heads: 32, err: ErrInterim},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			serve := answering(tt.response)
			if tt.closes {
				serve = answeringOnce(tt.response)
			}
			e := endpoint(t, serve)
			a, err := exchange(e, testTimeouts, tt.asked)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if heads := max(tt.heads, 0); heads > 0 && len(a.heads) != heads || tt.heads == 0 && err == nil && len(a.heads) != 1 {
				t.Errorf("%d heads: %q", len(a.heads), a.heads)
			}
			if a.body != tt.body || a.trailers != tt.trailers || a.kept != tt.kept {
				t.Errorf("body %.40q, trailers %q, kept %v", a.body, a.trailers, a.kept)
			}
			if e.Info().InFlight != 0 {
				t.Errorf("in flight: %d", e.Info().InFlight)
			}
			if errors.Is(err, ErrStale) || errors.Is(err, ErrUnsent) {
				t.Errorf("a new connection's failure says stale or unsent: %v", err)
			}
		})
	}
}

// TestResponseInPieces sends a response byte by byte.
func TestResponseInPieces(t *testing.T) {
	const response = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"5\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n"
	e := endpoint(t, func(c *net.TCPConn) {
		for readRequest(c) {
			for i := range len(response) {
				if _, err := c.Write([]byte{response[i]}); err != nil {
					return
				}
				if i%16 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}
	})
	for range 3 {
		a, err := exchange(e, testTimeouts, wire.AskedOther)
		if err != nil || a.body != "hello world" || a.trailers != "A=b;" || len(a.heads) != 2 || !a.kept {
			t.Fatalf("%+v, error %v", a, err)
		}
	}
}

func TestReadBodyAndLookAhead(t *testing.T) {
	e := endpoint(t, answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"))
	c, _, err := e.Acquire(testTimeouts)
	if err != nil {
		t.Fatal(err)
	}
	c.WriteLast([]byte(request), nil, nil)
	var res wire.ResponseHead
	if _, err := c.ReadHead(&res, wire.AskedOther); err != nil {
		t.Fatal(err)
	}
	var all []byte
	p := make([]byte, 3)
	for {
		n, err := c.ReadBody(p)
		all = append(all, p[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil || n == 0 {
			t.Fatalf("%d bytes, error %v", n, err)
		}
		if left := len("hello world") - len(all); left == 0 && (!c.BodyDone() || !c.Buffered()) {
			t.Error("the end is not known with the last bytes")
		}
	}
	if string(all) != "hello world" {
		t.Errorf("body %q", all)
	}
	if !c.Release(Finished) {
		t.Error("connection was not kept")
	}
}

func TestBodyLeft(t *testing.T) {
	e := endpoint(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"))
	c, _, err := e.Acquire(testTimeouts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release(Abandoned)
	c.WriteLast([]byte(request), nil, nil)
	var res wire.ResponseHead
	if _, err := c.ReadHead(&res, wire.AskedOther); err != nil {
		t.Fatal(err)
	}
	if left := c.BodyLeft(); left != 11 {
		t.Errorf("%d bytes left, want 11", left)
	}
	p := make([]byte, 5)
	if n, err := io.ReadFull(bodyReader{c}, p); err != nil || c.BodyLeft() != 6 {
		t.Errorf("read %d, error %v, %d left, want 6", n, err, c.BodyLeft())
	}
}

type bodyReader struct{ c *Conn }

func (r bodyReader) Read(p []byte) (int, error) { return r.c.ReadBody(p) }

// TestEarlyResponse: the origin answers 413 and closes while the body is still
// being sent.
func TestEarlyResponse(t *testing.T) {
	e := endpoint(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 100))
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno\n")
		time.Sleep(200 * time.Millisecond)
	})
	c, _, err := e.Acquire(testTimeouts)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		piece := bytes.Repeat([]byte("x"), 64<<10)
		err := c.Write([]byte("POST / HTTP/1.1\r\nHost: o\r\nContent-Length: 999999999\r\n\r\n"), nil, nil)
		for err == nil {
			err = c.Write(piece, nil, nil)
		}
		sent <- err
	}()
	a, err := receive(c, wire.AskedOther)
	if err != nil || a.body != "no\n" || !strings.HasPrefix(a.heads[0], "HTTP/1.1 413") {
		t.Errorf("%+v, error %v", a, err)
	}
	c.Cancel()
	select {
	case err := <-sent:
		if err == nil {
			t.Error("sending ended without an error")
		}
	case <-time.After(2 * time.Second):
		t.Fatal("the sender was not unblocked")
	}
	if c.Release(Finished) {
		t.Error("connection was kept though the request was not sent completely")
	}
}

// TestEarlyResponseToWriteLast: the answer is read although sending failed.
func TestEarlyResponseToWriteLast(t *testing.T) {
	e := endpoint(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
		_ = c.CloseWrite()
		_, _ = io.CopyN(io.Discard, c, 1<<20)
	})
	c, _, err := e.Acquire(testTimeouts)
	if err != nil {
		t.Fatal(err)
	}
	c.WriteLast([]byte(request), flood, nil)
	a, err := receive(c, wire.AskedOther)
	if err == nil && !strings.HasPrefix(a.heads[0], "HTTP/1.1 503") {
		t.Errorf("%+v", a)
	}
	// A reset may overtake the answer (RFC 9112 §9.6); then it is an error, but
	// never a wait.
	if err != nil && !isReset(err) && !errors.Is(err, ErrTruncated) {
		t.Errorf("error %v", err)
	}
	if c.Release(Finished) {
		t.Error("connection was kept")
	}
}

// TestExpectContinue: the body waits for the endpoint's 100.
func TestExpectContinue(t *testing.T) {
	e := endpoint(t, func(c *net.TCPConn) {
		for readRequest(c) {
			_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			body := make([]byte, 5)
			if _, err := io.ReadFull(c, body); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"+string(body))
		}
	})
	for range 2 {
		c, _, err := e.Acquire(testTimeouts)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Write([]byte(request), nil, nil); err != nil {
			t.Fatal(err)
		}
		c.AwaitHead()
		var res wire.ResponseHead
		if _, err := c.ReadHead(&res, wire.AskedOther); err != nil || res.Status != 100 {
			t.Fatalf("status %d, error %v", res.Status, err)
		}
		c.WriteLast(nil, []byte("hello"), nil)
		a, err := receive(c, wire.AskedOther)
		if err != nil || a.body != "hello" || !c.Release(Finished) {
			t.Fatalf("%+v, error %v", a, err)
		}
	}
}

func TestTunnel(t *testing.T) {
	e := endpoint(t, func(c *net.TCPConn) {
		if readRequest(c) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nfirst ")
			_, _ = io.Copy(c, c)
		}
	})
	short := testTimeouts
	short.Read = 20 * time.Millisecond
	c, _, err := e.Acquire(short)
	if err != nil {
		t.Fatal(err)
	}
	c.WriteLast([]byte(request), nil, nil)
	var res wire.ResponseHead
	if _, err := c.ReadHead(&res, wire.AskedOther); err != nil || res.Status != 101 {
		t.Fatalf("status %d, error %v", res.Status, err)
	}
	late := c.Canceler()
	tunnel, err := c.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	late.Cancel()
	time.Sleep(60 * time.Millisecond) // longer than any timeout of the exchange
	if _, err := io.WriteString(tunnel, "second"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(tunnel, got); err != nil || string(tunnel.Buffered)+string(got) != "first second" {
		t.Fatalf("%q %q, error %v", tunnel.Buffered, got, err)
	}
	if n := e.Info().InFlight; n != 1 {
		t.Errorf("an open tunnel counts %d connections in use", n)
	}
	tunnel.Close()
	tunnel.Close()
	if n := e.Info().InFlight; n != 0 {
		t.Errorf("a closed tunnel counts %d connections in use", n)
	}
}

func TestHijackWithoutUpgrade(t *testing.T) {
	e := endpoint(t, answering("HTTP/1.1 204 No Content\r\n\r\n"))
	c, _, err := e.Acquire(testTimeouts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release(Abandoned)
	if _, err := c.Hijack(); err == nil {
		t.Error("Hijack before a 101 gave a tunnel")
	}
}

// TestStream moves 1 GiB and checks that it costs no memory of its size.
func TestStream(t *testing.T) {
	size := 1 << 30
	if testing.Short() || raceEnabled {
		size = 1 << 27
	}
	for _, chunked := range []bool{false, true} {
		e := endpoint(t, streaming(size, chunked))
		before := totalAlloc()
		c, _, err := e.Acquire(testTimeouts)
		if err != nil {
			t.Fatal(err)
		}
		c.WriteLast([]byte(request), nil, nil)
		var res wire.ResponseHead
		if _, err := c.ReadHead(&res, wire.AskedOther); err != nil {
			t.Fatal(err)
		}
		n := 0
		for err == nil {
			var piece []byte
			piece, err = c.NextBody()
			n += len(piece)
		}
		if err != io.EOF || n != size || !c.Release(Finished) {
			t.Errorf("chunked %v: %d bytes, error %v", chunked, n, err)
		}
		if spent := totalAlloc() - before; spent > 8<<20 {
			t.Errorf("chunked %v: %d bytes allocated", chunked, spent)
		}
	}
}
