package loop

import (
	"io"
	"os"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// body is the framing of one request body.
type body struct {
	kind   wire.BodyKind
	left   int64        // of a body with a length
	chunks *wire.Chunks // made by the first body that is chunked
	expect bool         // the client waits for 100 (Continue)
	done   bool
	err    error
}

func (b *body) begin(h *wire.RequestHead) {
	b.kind, b.left, b.err = h.Body, 0, nil
	b.expect, b.done = h.ExpectContinue, false
	switch h.Body {
	case wire.BodyNone:
		b.done, b.expect = true, false
	case wire.BodyLength:
		b.left = h.ContentLength
	case wire.BodyChunked:
		if b.chunks == nil {
			b.chunks = new(wire.Chunks)
		}
		b.chunks.Reset()
	}
}

// receiving is the op that reads from the client, if there is one, and how far
// it has come.
type receiving struct {
	op    *luavm.Op
	task  *task
	more  func(c *client, op *luavm.Op) (done bool)
	file  *os.File // of a body that is too long for memory
	total int64    // of a body that is read or pumped
	line  [20]byte // a chunk's size line
	from  *os.File // the body that is pumped
	mem   *[]byte  // room for pieces of from
	busy  bool     // a goroutine writes what was read
}

// BodySize implements exchange.Downstream.
func (c *client) BodySize() int64 {
	switch c.body.kind {
	case wire.BodyChunked:
		return -1
	case wire.BodyLength:
		return c.task.ex.Head.ContentLength
	}
	return 0
}

// BodyDone implements exchange.Downstream.
func (c *client) BodyDone() bool { return c.body.done }

// nextBody gives the next piece of the body, which is valid until the next call.
// io.EOF: there is no more; errQuiet: not yet.
func (c *client) nextBody() ([]byte, error) { return c.nextPiece(len(c.buf)) }

// nextPiece is nextBody for at most so many bytes.
func (c *client) nextPiece(most int) ([]byte, error) {
	b := &c.body
	for {
		switch {
		case b.err != nil:
			return nil, b.err
		case b.done:
			return nil, io.EOF
		case c.r == c.w:
			if err := c.moreBody(); err != nil {
				return nil, err
			}
		}
		data, err := c.unframe(most)
		if err != nil {
			return nil, c.spoil(err)
		}
		if len(data) > 0 {
			return data, nil
		}
	}
}

// unframe takes one run of payload out of what was read.
func (c *client) unframe(most int) (data []byte, err error) {
	b, used := &c.body, 0
	window := c.buf[c.r:min(c.w, c.r+most)]
	if b.kind == wire.BodyChunked {
		data, used, err = b.chunks.Next(window)
		b.done = b.chunks.Done()
	} else {
		used = int(min(b.left, int64(len(window))))
		data = c.buf[c.r : c.r+used]
		b.left -= int64(used)
		b.done = b.left == 0
	}
	c.r += used
	c.received += int64(used)
	return data, err
}

// moreBody reads once to the room behind the head, all before it being consumed.
func (c *client) moreBody() error {
	if err := c.sayContinue(); err != nil {
		return c.spoil(err)
	}
	if c.broken {
		return c.spoil(exchange.ErrCutBody)
	}
	c.r, c.w = c.headEnd, c.headEnd
	if c.w == len(c.buf) {
		c.lend()
		c.task.ex.Raw = c.buf[:c.headEnd:c.headEnd]
	}
	n, err := c.read(c.buf[c.headEnd:])
	c.w += n
	switch {
	case err == errQuiet || n > 0:
		return err
	}
	return c.spoil(exchange.ErrCutBody)
}

// spoil makes the body unreadable: where the next request starts is not known.
func (c *client) spoil(err error) error {
	c.body.err = err
	c.closes = true
	return err
}

// sayContinue asks for a body that its client holds back (RFC 9110 §10.1.1).
func (c *client) sayContinue() error {
	if !c.body.expect {
		return nil
	}
	c.body.expect = false
	if c.began || c.broken {
		return exchange.ErrAnswered
	}
	if !c.say(exchange.ContinueLine) {
		c.broken = true
		return exchange.ErrAnswered
	}
	c.sent += int64(len(exchange.ContinueLine))
	return nil
}

// park leaves an op of reading until bytes come.
func (c *client) park(t *task, op *luavm.Op, more func(*client, *luavm.Op) bool) bool {
	if c.in.op != nil {
		panic("BUG: two ops read from one client")
	}
	c.in.op, c.in.task, c.in.more = op, t, more
	if more(c, op) {
		c.in.op, c.in.task, c.in.more = nil, nil, nil
		c.loop.set(&c.timer, 0)
		return true
	}
	if c.timer.at == 0 {
		c.awaitBody()
	}
	return false
}

// awaitBody bounds the wait for a body's next bytes.
func (c *client) awaitBody() {
	if t := c.tls; t != nil {
		if c.timer.at != 0 && t.bodyOf == c.received {
			return
		}
		t.bodyOf = c.received
	}
	wait := c.loop.server.limits.Load().BodyTime
	if c.hurried {
		wait = exchange.StopTime
	}
	c.loop.set(&c.timer, wait)
}

// readOn tries the parked op again: bytes have come.
func (c *client) readOn() {
	in := &c.in
	if in.op == nil || in.busy {
		return
	}
	op, t := in.op, in.task
	if !in.more(c, op) {
		if c.in.op == op && isBody(op) {
			c.awaitBody()
		}
		return
	}
	in.op, in.task, in.more = nil, nil, nil
	c.loop.set(&c.timer, 0)
	t.done(op)
}

// readLate ends a wait for the client that has taken too long.
func (c *client) readLate() {
	in := &c.in
	if in.op == nil || in.busy {
		return
	}
	if isBody(in.op) {
		c.body.err = exchange.ErrSlowBody
		c.closes = true
	} else {
		in.op.Result = luavm.SocketOutcome(os.ErrDeadlineExceeded)
		op, t := in.op, in.task
		op.OnCancel(nil)
		in.op, in.task, in.more = nil, nil, nil
		t.done(op)
		return
	}
	c.readOn()
}

// isBody tells ops that read the body for the gateway from those that scripts'
// sockets make, which have time-outs of their own.
func isBody(op *luavm.Op) bool { return op.Kind < luavm.OpReqRead || op.Kind >= luavm.OpHost }

// readBody performs an OpReadBody.
func (c *client) readBody(t *task, op *luavm.Op) bool {
	ex := t.ex
	size := c.BodySize()
	if ex.Parent == nil && ex.BodyLimit > 0 && size > ex.BodyLimit {
		c.closes = true
		op.Err = exchange.ErrBodyTooLarge
		return true
	}
	c.in.total = 0
	ex.Body = ex.Body[:0]
	if size > 0 && int64(cap(ex.Body)) < size && size <= 1<<20 {
		ex.Body = make([]byte, 0, size)
	}
	return c.park(t, op, (*client).wholeBody)
}

// wholeBody reads as much of the body as has come: to memory, or to a file.
func (c *client) wholeBody(op *luavm.Op) (done bool) {
	ex := c.in.task.ex
	for {
		data, err := c.nextBody()
		c.in.total += int64(len(data))
		switch {
		case err == errQuiet:
			return false
		case err == io.EOF:
			ex.BodyRead = true
			op.Err = c.closeFile()
			return true
		case err != nil:
			op.Err = err
		case ex.BodyLimit > 0 && c.in.total > ex.BodyLimit:
			c.closes = true
			op.Err = exchange.ErrBodyTooLarge
		case op.Int != exchange.BodyDiscarded:
			op.Err = c.keepBody(op, data)
		}
		if op.Err != nil {
			_ = c.closeFile()
			return true
		}
	}
}

// keepBody takes one piece of a body in.
func (c *client) keepBody(op *luavm.Op, data []byte) (err error) {
	in := &c.in
	ex := in.task.ex
	if in.file == nil {
		ex.Body = append(ex.Body, data...)
		if op.Int == exchange.BodyInMemory || int64(len(ex.Body)) <= ex.BodyBuffer {
			return nil
		}
		if in.file, err = os.CreateTemp(c.loop.server.limits.Load().BodyTemp, "perigee-body-"); err == nil {
			ex.OwnFile(in.file.Name())
			data, ex.Body = ex.Body, nil // what is pooled does not grow by what goes to a file
		}
	}
	if err == nil {
		_, err = in.file.Write(data)
	}
	if err != nil {
		c.closes = true
		return exchange.BodyFileError(err)
	}
	return nil
}

// closeFile ends the file of a body, if it has one.
func (c *client) closeFile() error {
	f := c.in.file
	if f == nil {
		return nil
	}
	c.in.file = nil
	ex := c.in.task.ex
	if err := f.Close(); err != nil {
		ex.BodyRead = false
		return exchange.BodyFileError(err)
	}
	ex.BodyFile = exchange.BodyFile{Path: f.Name(), Size: c.in.total}
	return nil
}
