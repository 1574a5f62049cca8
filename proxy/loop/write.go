package loop

import (
	"errors"
	"os"
	"syscall"

	"perigee/luavm"
	"perigee/luavm/socket"
	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// errGone says that the client has left.
var errGone = errors.New("client has closed the connection")

// sending is what goes to the client and has not been taken by the kernel.
type sending struct {
	client *client
	timer  timer
	op     *luavm.Op // parked until all is sent; nil: nothing is being sent
	task   *task
	head   []byte // memory of heads and framing, while it waits; else Loop.answer
	pieces socket.Pieces
}

// keepHead is the largest memory of heads that is held on to.
const keepHead = 64 << 10

// answer performs an OpWrite.
func (c *client) answer(op *luavm.Op) bool {
	ex := c.task.ex
	s := ex.Send
	if s.Head && (ex.Place.BodyFrame == wire.BodyUntilClose || c.loop.server.farewell.Load()) {
		c.closes = true
	}
	o, l := &c.out, c.loop
	mem := o.head
	if mem == nil {
		mem, l.answer = l.answer, nil
	}
	all, data, tail := ex.AppendAnswer(mem[:0], s, c.closes)
	c.began = true
	done := c.send(&c.task, op, all, data, tail)
	switch {
	case cap(all) > keepHead:
		o.head = nil
	case done && l.answer == nil:
		o.head, l.answer = nil, all
	default:
		o.head = all
	}
	return done
}

// send sends pieces; false: op is parked until they have been sent.
func (c *client) send(t *task, op *luavm.Op, a, b, tail []byte) (done bool) {
	o := &c.out
	if c.broken {
		op.Err = errGone
		return true
	}
	o.pieces.Set(a, b, tail)
	done, op.Err = o.flush(c)
	if !done {
		o.op, o.task = op, t
		c.loop.set(&o.timer, c.loop.server.limits.Load().SendTime)
	}
	return done
}

// flush goes on sending: there may be room.
func (c *client) flush() {
	o := &c.out
	if done, err := o.flush(c); done {
		o.end(c, err)
		return
	}
	if isBody(o.op) {
		c.loop.set(&o.timer, c.loop.server.limits.Load().SendTime)
	}
}

// end reports the parked op as performed.
func (o *sending) end(c *client, err error) {
	op, t := o.op, o.task
	o.op, o.task = nil, nil
	o.pieces.Drop()
	c.loop.set(&o.timer, 0)
	if err != nil {
		c.broken, c.closes = true, true
	}
	op.Err = err
	if !isBody(op) {
		op.OnCancel(nil)
		op.Result = luavm.SocketOutcome(err)
	}
	t.done(op)
}

// expire implements timed.
func (o *sending) expire(*timer) {
	if o.op != nil {
		o.end(o.client, os.ErrDeadlineExceeded)
	}
}

// flush sends as much as there is room for.
func (o *sending) flush(c *client) (done bool, err error) {
	if c.tls != nil {
		return c.tls.flush(&o.pieces)
	}
	n, err := o.pieces.Write(uintptr(c.fd))
	c.sent += int64(n)
	if err == syscall.EAGAIN {
		return false, nil
	}
	if err != nil {
		c.broken, c.closes = true, true
	}
	return true, err
}

// Received implements exchange.Downstream.
func (c *client) Received() int64 { return c.received + int64(c.headEnd) }

// Written implements exchange.Downstream.
func (c *client) Written() int64 { return c.sent }

// Close implements exchange.Downstream.
func (c *client) Close() { c.closes = true }

// StopReading implements exchange.Downstream.
func (c *client) StopReading() {
	c.hurried = true
	if c.in.op != nil {
		c.loop.set(&c.timer, exchange.StopTime)
	}
}
