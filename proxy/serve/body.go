package serve

import (
	"io"
	"sync/atomic"

	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// bodyReader is the framing of one request body.
type bodyReader struct {
	kind   wire.BodyKind
	left   int64 // of a body with a length
	chunks wire.Chunks
	expect bool // the client waits for 100 (Continue)
	// done is read by the exchange's thread while a pump still reads.
	done atomic.Bool
	err  error
}

func (b *bodyReader) begin(h *wire.RequestHead) {
	b.kind, b.left, b.err = h.Body, 0, nil
	b.expect = h.ExpectContinue
	switch h.Body {
	case wire.BodyNone:
		b.done.Store(true)
		b.expect = false
		return
	case wire.BodyLength:
		b.left = h.ContentLength
	case wire.BodyChunked:
		b.chunks.Reset()
	}
	b.done.Store(false)
}

// BodySize implements exchange.Downstream.
func (c *conn) BodySize() int64 {
	switch c.body.kind {
	case wire.BodyChunked:
		return -1
	case wire.BodyLength:
		return c.ex.Head.ContentLength
	}
	return 0
}

// BodyDone implements exchange.Downstream.
func (c *conn) BodyDone() bool { return c.body.done.Load() }

// ReadBody reads request body bytes, framing removed. io.EOF: complete. Other
// errors are *wire.Error for a body that breaks the protocol, and net.Error for a
// time-out.
func (c *conn) ReadBody(p []byte) (int, error) {
	b := &c.body
	if b.err != nil {
		return 0, b.err
	}
	if b.done.Load() {
		return 0, io.EOF
	}
	if err := c.sayContinue(); err != nil {
		b.err = err
		c.close.Store(true) // whether the body will come is not known
		return 0, err
	}
	n, err := c.readFramed(p)
	if err != nil && err != io.EOF {
		b.err = err
		c.close.Store(true) // where the next request starts is not known
	}
	return n, err
}

func (c *conn) readFramed(p []byte) (int, error) {
	if c.body.kind == wire.BodyChunked {
		return c.readChunked(p)
	}
	b := &c.body
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	var n int
	if c.r < c.w {
		n = copy(p, c.buf[c.r:c.w])
		c.r += n
	} else {
		var err error
		if n, err = c.readInto(p); n == 0 {
			return 0, bodyError(err)
		}
	}
	b.left -= int64(n)
	c.received += int64(n)
	b.done.Store(b.left == 0)
	return n, nil
}

// readChunked decodes from the buffer, which it refills behind the head.
func (c *conn) readChunked(p []byte) (int, error) {
	b := &c.body
	total := 0
	for {
		for c.r < c.w && total < len(p) && !b.chunks.Done() {
			window := c.buf[c.r:c.w]
			if len(window) > len(p)-total {
				// Framing before the payload may use the surplus, so the
				// window is only as long as what p can take.
				window = window[:len(p)-total]
			}
			data, used, err := b.chunks.Next(window)
			c.r += used
			c.received += int64(used)
			total += copy(p[total:], data)
			if err != nil {
				return total, err
			}
		}
		if b.chunks.Done() {
			b.done.Store(true)
			if total == 0 {
				return 0, io.EOF
			}
			return total, nil
		}
		if total > 0 {
			return total, nil
		}
		if err := c.refill(); err != nil {
			return 0, bodyError(err)
		}
	}
}

// refill reads once to the room behind the head, all before it being consumed.
func (c *conn) refill() error {
	c.r, c.w = c.headEnd, c.headEnd
	n, err := c.readInto(c.buf[c.headEnd:])
	c.w += n
	return err
}

// readInto reads once into p, within limits.body_timeout.
func (c *conn) readInto(p []byte) (n int, err error) {
	c.setDeadline(c.server.limits.Load().BodyTime)
	if c.sock != nil {
		n, err = c.sock.Read(p)
	} else {
		n, err = c.plain().Read(p)
	}
	if n > 0 {
		c.clearDeadline()
		return n, nil
	}
	if isTimeout(err) {
		c.revive() // the client is still to be told
	}
	return 0, err
}

func bodyError(err error) error {
	switch {
	case err == nil:
		return nil
	case isTimeout(err):
		return exchange.ErrSlowBody
	}
	return exchange.ErrCutBody
}

// sayContinue asks for a body that its client holds back (RFC 9110 §10.1.1),
// unless the client has sent some of it already.
func (c *conn) sayContinue() error {
	if !c.body.expect {
		return nil
	}
	if c.r < c.w {
		c.body.expect = false
		return nil
	}
	return c.askForBody()
}

// askForBody sends the 100 (Continue) that the client waits for.
func (c *conn) askForBody() error {
	if !c.body.expect {
		return nil
	}
	c.body.expect = false
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.began {
		// The answer came first: an interim one behind it would be read as
		// the answer to the next request. The client need not send a body.
		return exchange.ErrAnswered
	}
	return c.writeLocked(exchange.ContinueLine, nil, nil)
}
