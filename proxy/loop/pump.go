package loop

import (
	"errors"
	"io"
	"os"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/upstream"
	"perigee/proxy/wire"
)

// A pump carries a request body from the client, or from a file, to the
// endpoint, piece by piece; it reads no piece before the former has left:
//
//	client: nextBody --> piece --> link: Write, Flush --> nextBody ...
//	  parked here, quiet              parked here, no room
//
// To a connection that goroutines use (TLS) a goroutine writes each piece.

// pump performs an OpPump.
func (c *client) pump(t *task, op *luavm.Op) bool {
	if c.in.op != nil {
		panic("BUG: two ops read from one client")
	}
	c.in.op, c.in.task, c.in.more = op, t, (*client).pumpMore
	c.in.total = 0
	if t.ex.BodyFile.Set() {
		f, err := os.Open(t.ex.BodyFile.Path)
		if err != nil {
			op.Err = exchange.BodyFileError(err)
			c.endPump()
			return true
		}
		c.in.from, c.in.mem = f, c.loop.takeBuffer(c.loop.server.bufferSize())
	}
	if c.pumpMore(op) {
		c.endPump()
		return true
	}
	return false
}

// endPump forgets a pump that has come to its end.
func (c *client) endPump() {
	in := &c.in
	in.op, in.task, in.more, in.busy = nil, nil, nil, false
	c.loop.set(&c.timer, 0)
	if in.from != nil {
		_ = in.from.Close()
		c.loop.putBuffer(in.mem)
		in.from, in.mem = nil, nil
	}
}

// pumpOn goes on when the endpoint has room again; true: op is complete.
func (c *client) pumpOn(op *luavm.Op) (done bool) {
	ex := c.in.task.ex
	if op.Err = ex.Up.Flush(); op.Err == nil {
		done = c.pumpMore(op)
	} else {
		done = c.parkPump(op)
	}
	if done {
		c.fault(op)
		c.endPump()
	}
	return done
}

// parkPump leaves op at the endpoint until it has room.
func (c *client) parkPump(op *luavm.Op) (done bool) {
	if op.Err != upstream.ErrWait {
		return true
	}
	op.Err = nil
	t := c.in.task
	w := &linkOf(t.ex).writer
	w.op, w.task = op, t
	t.bound(w)
	c.in.busy = true
	c.loop.set(&c.timer, 0)
	return false
}

// pumpMore carries on until one side has to be waited for; true: op is complete.
func (c *client) pumpMore(op *luavm.Op) (done bool) {
	c.in.busy = false
	ex := c.in.task.ex
	for {
		data, err := c.pumpPiece()
		if err == errQuiet {
			c.awaitBody()
			return false
		}
		c.in.total += int64(len(data))
		if err == nil && c.in.from == nil && ex.BodyLimit > 0 && c.in.total > ex.BodyLimit {
			c.closes = true
			err = exchange.ErrBodyTooLarge
		}
		if err != nil && err != io.EOF {
			op.Err = err
			c.fault(op)
			return true
		}
		head, end := c.pumpFrame(data, err == io.EOF)
		if linkOf(ex) == nil && len(head)+len(data)+len(end) > 0 {
			c.writeBeside(op, data, err == io.EOF)
			return false
		}
		if op.Err = ex.Up.Write(head, data, end); op.Err != nil {
			return c.parkPump(op)
		}
		if err == io.EOF {
			return c.pumped()
		}
	}
}

// pumped says that the whole body has been sent: the time for the answer runs.
func (c *client) pumped() bool {
	t := c.in.task
	t.ex.Up.SentAll()
	if k := linkOf(t.ex); k != nil && k.reader.op != nil {
		t.bound(&k.reader)
	}
	return true
}

// fault ends the wait for the answer to a body that never becomes whole: whoever
// waits must be told.
func (c *client) fault(op *luavm.Op) {
	var why *wire.Error
	if errors.As(op.Err, &why) {
		c.in.task.ex.Up.Cancel()
	}
}

// pumpPiece is the next piece of the body; io.EOF: there is none.
func (c *client) pumpPiece() ([]byte, error) {
	if c.in.from == nil {
		return c.nextBody()
	}
	left := c.in.task.ex.BodyFile.Size - c.in.total
	if left <= 0 {
		return nil, io.EOF
	}
	mem := *c.in.mem
	n, err := io.ReadFull(c.in.from, mem[:min(int64(len(mem)), left)])
	if err != nil {
		return nil, exchange.BodyFileError(err)
	}
	return mem[:n], nil
}

// pumpFrame is what goes before and behind a piece.
func (c *client) pumpFrame(data []byte, last bool) (head, end []byte) {
	if c.in.from != nil || c.BodySize() >= 0 {
		return nil, nil
	}
	if len(data) > 0 {
		return wire.AppendChunkHeader(c.in.line[:0], len(data)), chunkEnd
	}
	if last {
		text, fields := c.body.chunks.Trailers()
		return nil, wire.AppendFinalChunkTrailers(nil, text, fields)
	}
	return nil, nil
}

var chunkEnd = []byte("\r\n")

// writeBeside has a goroutine write a piece; the client is not read meanwhile.
func (c *client) writeBeside(op *luavm.Op, data []byte, last bool) {
	c.in.busy = true
	c.loop.set(&c.timer, 0)
	up := c.in.task.ex.Up
	head, end := c.pumpFrame(data, last)
	p := &pumpedPiece{client: c, op: op, last: last}
	go func() {
		p.err = up.Write(head, data, end)
		c.loop.post(p)
	}()
}

// pumpedPiece is a piece that a goroutine has written.
type pumpedPiece struct {
	client *client
	op     *luavm.Op
	last   bool
	err    error
}

func (p *pumpedPiece) posted() {
	c, op := p.client, p.op
	t := c.in.task
	op.Err = p.err
	done := true
	switch {
	case p.err != nil:
	case p.last:
		done = c.pumped()
	default:
		done = c.pumpMore(op)
	}
	if done {
		c.endPump()
		t.done(op)
	}
}
