package loop

import (
	"errors"
	"time"

	"perigee/luavm/socket"
	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// readHead reads a request head and begins its exchange.
func (c *client) readHead() {
	for {
		if c.work != nil && c.w > int(c.scanned) {
			began, err := c.scan()
			if err != nil {
				c.refuse(err)
			}
			if began || err != nil {
				return
			}
		}
		if !c.readable {
			c.awaitHead()
			return
		}
		n, err := c.readMore()
		switch {
		case n > 0:
		case err == errQuiet:
			c.awaitHead()
			return
		default:
			c.close() // nobody is there to be answered
			return
		}
	}
}

// readMore reads bytes of a head.
func (c *client) readMore() (int, error) {
	if c.work == nil || c.w == 0 {
		room := c.loop.room()
		n, err := c.read(room)
		if n > 0 {
			c.place(room[:n])
		}
		return n, err
	}
	c.lend()
	n, err := c.read(c.buf[c.w:])
	c.w += n
	return n, err
}

// awaitHead waits for more of a head, or for its first byte.
func (c *client) awaitHead() {
	limits := c.loop.server.limits.Load()
	switch {
	case c.work != nil && c.w > 0:
		if c.scanned == 0 || c.timer.at == 0 {
			c.loop.set(&c.timer, limits.HeaderTime)
		}
		c.scanned = int32(c.w)
		return
	case c.work != nil:
		c.putWork()
	}
	switch {
	case c.info.Requests == 0: // since it was opened
	case c.loop.server.closing.Load() && !socket.Waits(uintptr(c.fd)):
		c.close()
	case c.loop.isGiving():
		c.loop.give(c)
	case c.tls != nil && c.tls.isIdle():
	default:
		c.loop.set(&c.timer, limits.IdleTime)
	}
}

// scan looks for a whole head in the buffer.
func (c *client) scan() (began bool, err error) {
	ex := c.pending
	if ex == nil {
		ex = c.loop.exchange(c)
		c.pending = ex
		c.scanned = 0
	}
	n, err := wire.ScanRequest(&ex.Head, c.buf[:c.w], int(c.scanned), c.loop.server.limits.Load().Head)
	if err != nil && c.standIn(ex, err) {
		n, err = c.w, nil
	}
	if err != nil || n == 0 {
		return false, err
	}
	c.pending = nil
	c.begin(ex, n)
	return true, nil
}

// clockEvery is for how many exchanges of one wake-up the clock stands still.
const clockEvery = 8

// begin begins the exchange whose head is the first n bytes of the buffer.
func (c *client) begin(ex *exchange.Exchange, n int) {
	l := c.loop
	l.set(&c.timer, 0)
	c.state = busy
	c.headEnd, c.r, c.scanned = n, n, 0
	c.info.Requests++
	if ex.Head.Body != wire.BodyNone && len(c.buf) < l.server.bufferSize() && c.bodyFollows(ex) {
		c.enlarge(l.server.bufferSize())
	}
	ex.Raw = c.buf[:n:n]
	ex.Record.Start = l.wall
	ex.StartNS = l.wallNS
	ex.Worker = l.index + 1
	ex.Clock, ex.Tally = &l.clock, &l.tally
	if l.begun++; l.begun%clockEvery == 0 {
		l.clock.Set(time.Now())
	}
	c.task.ex = ex
	ex.SetWaker(&c.task)
	ex.SetPerformer(&c.task)
	c.body.begin(&ex.Head)
	c.sent, c.received, c.began, c.hurried = 0, 0, false, false
	c.closes = ex.Head.Close || l.server.farewell.Load() || l.server.limits.Load().Last(c.info.Requests)
	if c.gone {
		ex.Abort()
	}
	l.underWay++
	l.server.opt.Begin(ex)
	c.task.schedule()
}

// refuse answers a request that could not be read and ends the connection. What
// the client sent is never in the answer.
func (c *client) refuse(err error) {
	if c.pending != nil {
		c.loop.release(c.pending)
		c.pending = nil
	}
	var why *wire.Error
	if !errors.As(err, &why) {
		c.close()
		return
	}
	c.loop.server.opt.Refused(&c.info, why)
	text := exchange.AppendRefusal(nil, why.Status)
	if !c.say(text) {
		c.close()
		return
	}
	c.body.done = false
	c.startLinger()
}

// standIn puts a head in the place of one that was refused, if that has an error
// page.
func (c *client) standIn(ex *exchange.Exchange, err error) bool {
	why, _ := err.(*wire.Error)
	has := c.loop.server.opt.HasPage
	if why == nil || has == nil || !has(why) {
		return false
	}
	c.w = copy(c.buf, exchange.StandIn)
	if n, err := wire.ScanRequest(&ex.Head, c.buf[:c.w], 0, wire.Limits{}); err != nil || n != c.w {
		panic("BUG: the stand-in is no request head")
	}
	ex.Refusal = why
	return true
}

// bodyFollows tells whether more of the request's body is to be read.
func (c *client) bodyFollows(ex *exchange.Exchange) bool {
	return ex.Head.Body == wire.BodyChunked || ex.Head.ContentLength > int64(c.w-c.headEnd)
}
