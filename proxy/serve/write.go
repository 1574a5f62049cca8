package serve

import (
	"os"
	"time"

	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// Write sends s for ex: the head from ex.Resp in the framing of Place.BodyFrame,
// then data. It returns when the socket has taken everything.
func (c *conn) Write(ex *exchange.Exchange, s exchange.Send) error {
	if s.Head && (ex.Place.BodyFrame == wire.BodyUntilClose || c.server.farewell.Load()) {
		c.close.Store(true)
	}
	out, data, tail := ex.AppendAnswer(c.out[:0], s, c.close.Load())
	c.out = out
	if len(out)+len(data) == 0 {
		return nil
	}
	err := c.write(out, data, tail)
	if cap(c.out) > 64<<10 {
		c.out = nil
	}
	return err
}

// write sends the pieces within limits.send_timeout.
func (c *conn) write(a, b, tail []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.began = true
	return c.writeLocked(a, b, tail)
}

func (c *conn) writeLocked(a, b, tail []byte) error {
	if c.broken {
		return errGone
	}
	if c.isExpired() {
		return os.ErrDeadlineExceeded
	}
	c.sendBy.Store(c.until(c.server.limits.Load().SendTime))
	var err error
	if c.sock != nil {
		err = c.sock.Write(a, b, tail)
	} else {
		for _, p := range [3][]byte{a, b, tail} {
			if len(p) > 0 && err == nil {
				_, err = c.plain().Write(p)
			}
		}
	}
	c.sendBy.Store(0)
	if err != nil {
		c.broken = true
		c.close.Store(true)
		return err
	}
	c.sent += int64(len(a) + len(b) + len(tail))
	return nil
}

// Received implements exchange.Downstream.
func (c *conn) Received() int64 { return c.received + int64(c.headEnd) }

// Written implements exchange.Downstream.
func (c *conn) Written() int64 { return c.sent }

// Close implements exchange.Downstream.
func (c *conn) Close() { c.close.Store(true) }

// StopReading implements exchange.Downstream.
func (c *conn) StopReading() {
	c.hurried = true
	_ = c.tcp.SetReadDeadline(time.Now().Add(exchange.StopTime))
}
