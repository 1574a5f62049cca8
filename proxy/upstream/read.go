package upstream

import (
	"io"

	"perigee/proxy/wire"
)

// maxInterim is how many 1xx responses one request may get.
const maxInterim = 32

// ReadHead reads the next response head into res and gives its bytes, which
// stay until the next ReadHead or Release; res's spans point into them.
// 1xx heads come one by one; the caller calls again until Status is 101 or at
// least 200. It waits for at most one response timeout between two reads.
func (c *Conn) ReadHead(res *wire.ResponseHead, asked wire.Asked) (raw []byte, err error) {
	if c.final {
		panic("BUG: ReadHead after the final response head")
	}
	c.toFront()
	var opening *wire.Opening
	if c.inLoop {
		opening = &c.endpoint.openings[c.link.resident.home].Opening
	}
	from := 0
	for {
		if c.w > from {
			n, err := opening.ScanResponse(res, c.mem[:c.w], from, c.limits.Head, asked)
			if err != nil {
				return nil, c.failure(StepHead, err)
			}
			if n > 0 {
				c.r = n
				return c.mem[:n:n], c.gotHead(res)
			}
			from = c.w
		}
		c.makeRoom()
		n, err := c.receiveHead(c.mem[c.w:])
		if err != nil {
			return nil, err
		}
		c.mark(markAnswered)
		c.w += n
	}
}

// receiveHead waits for bytes of a head, after sending what is still to be sent.
func (c *Conn) receiveHead(p []byte) (int, error) {
	if c.hasLast {
		return c.turn(p)
	}
	n, err := c.receive(p)
	if n > 0 {
		return n, nil
	}
	if err == errQuiet {
		return 0, err
	}
	return 0, c.failure(StepHead, err)
}

// gotHead takes note of a head that was read.
func (c *Conn) gotHead(res *wire.ResponseHead) error {
	if res.Status < 200 && res.Status != 101 {
		if res.Close {
			// What follows is read, but what comes after that is not trusted.
			c.interim += maxInterim
		}
		if c.interim++; c.interim > maxInterim {
			return c.failure(StepHead, ErrInterim)
		}
		return nil
	}
	c.final = true
	if !c.inLoop {
		c.link.deadlines.startBody()
	}
	c.upgraded = res.Status == 101
	c.reusable = !res.Close && !c.upgraded
	c.base = c.r
	c.body.Start(res)
	c.lookAhead()
	return nil
}

// toFront moves bytes behind an interim head to the front of the buffer.
func (c *Conn) toFront() {
	if c.r > 0 {
		c.w = copy(c.mem, c.mem[c.r:c.w])
		c.r = 0
	}
}

// makeRoom sees to it that there is room for what may have come, and grows the
// buffer when a head has filled it. The scanner's limit ends this: it refuses a
// head that has reached HeaderBytes.
func (c *Conn) makeRoom() {
	switch {
	case c.w < len(c.mem):
		return
	case c.mem == nil:
		if c.link.resident.has() {
			c.takeBuffer()
		}
		return
	}
	larger := make([]byte, 2*len(c.mem))
	copy(larger, c.mem[:c.w])
	c.mem = larger
}

// NextBody gives the next piece of the body without copying it: a slice of the
// connection's buffer that stays until the next NextBody, ReadBody or Release.
// It waits only when Buffered is false. At the end of the body it is io.EOF,
// with no bytes.
func (c *Conn) NextBody() ([]byte, error) {
	if len(c.rest) > 0 {
		data := c.rest
		c.rest = nil
		return data, nil
	}
	for {
		switch {
		case len(c.ahead) > 0:
			data := c.ahead
			if c.ahead = nil; !c.body.Done() {
				c.lookAhead()
			}
			return data, nil
		case c.aheadErr != nil:
			return nil, c.failure(StepBody, c.aheadErr)
		case c.body.Done():
			return nil, io.EOF
		}
		if err := c.moreBody(); err != nil {
			if err == errQuiet {
				return nil, err
			}
			return nil, c.failure(StepBody, err)
		}
		c.lookAhead()
	}
}

// ReadBody copies the next bytes of the body to p. It waits only when Buffered
// is false. At the end of the body it is io.EOF, with no bytes.
func (c *Conn) ReadBody(p []byte) (int, error) {
	data, err := c.NextBody()
	n := copy(p, data)
	if n < len(data) {
		// What is ahead already lies behind these bytes in the buffer, perhaps
		// with framing between, so the rest of them goes to rest.
		c.rest = data[n:]
	}
	return n, err
}

// lookAhead takes framing out of what is buffered until payload or the end of
// the body comes to light, so that the last piece is known to be the last.
func (c *Conn) lookAhead() {
	for c.r < c.w && len(c.ahead) == 0 && !c.body.Done() {
		data, used, err := c.body.Next(c.mem[c.r:c.w])
		c.r += used
		c.ahead = data
		if err != nil {
			c.aheadErr = err
			return
		}
	}
	if !c.body.Done() {
		return
	}
	if l := c.lane(); l != nil && !l.answered {
		l.answered = true
		left := c.w - c.r
		c.w = c.r
		l.trunk.proto.answered(c, left)
	}
}

// moreBody reads once, to the place behind the head.
func (c *Conn) moreBody() error {
	// A body is long if its head says so, or if the last read was not all.
	long := c.body.Left() > bufferSize || c.w == len(c.mem)
	if c.bodyBuf == nil && (long || c.base > len(c.mem)/2) {
		c.bodyBuf = bodyBuffers.Get().(*[bodySize]byte)
		c.mem, c.base = c.bodyBuf[:], 0
	}
	c.r, c.w = c.base, c.base
	n, err := c.receive(c.mem[c.base:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == io.EOF {
		return c.body.End()
	}
	return err
}

// BodyDone says that the body's end has been seen. Pieces before it may still be
// buffered; when Buffered is false too, or NextBody has given the last piece,
// there are none.
func (c *Conn) BodyDone() bool { return c.body.Done() && len(c.ahead)+len(c.rest) == 0 }

// Buffered says that the next NextBody will not wait.
func (c *Conn) Buffered() bool {
	return len(c.ahead)+len(c.rest) > 0 || c.aheadErr != nil || c.body.Done()
}

// BodyLeft is how many payload bytes have not been given out yet, -1 when the
// framing does not tell.
func (c *Conn) BodyLeft() int64 {
	left := c.body.Left()
	if left < 0 {
		return left
	}
	return left + int64(len(c.ahead)+len(c.rest))
}

// Trailers gives the fields behind a chunked body and the text that their spans
// refer to. They are complete when BodyDone and stay until Release.
func (c *Conn) Trailers() (text []byte, fields []wire.Field) {
	return c.body.Trailers()
}
