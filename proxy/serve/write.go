package serve

import (
	"os"
	"time"

	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// small is the largest piece of body that is copied beside its head rather than
// gathered by writev: below it the copy is cheaper.
const small = 2 << 10

// Write implements exchange.Downstream.
func (c *conn) Write(ex *exchange.Exchange, s exchange.Send) error {
	out := c.out[:0]
	if s.Head {
		out = c.appendHead(out, ex)
	}
	var data, tail []byte
	switch ex.Place.BodyFrame {
	case wire.BodyChunked:
		if len(s.Data) > 0 {
			out = wire.AppendChunkHeader(out, len(s.Data))
			data, tail = s.Data, chunkEnd
		}
		if s.Last {
			tail = finalChunk
			if len(s.Data) > 0 {
				tail = chunkEndFinal
			}
			if len(s.Trailers) > 0 {
				tail = appendTrailers(tail[:len(tail):len(tail)], s)
			}
		}
	case wire.BodyLength, wire.BodyUntilClose:
		data = s.Data
	}
	if len(data) <= small {
		out = append(append(out, data...), tail...)
		data, tail = nil, nil
	}
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

var (
	chunkEnd      = []byte("\r\n")
	finalChunk    = []byte("0\r\n\r\n")
	chunkEndFinal = []byte("\r\n0\r\n\r\n")
)

// appendTrailers puts trailer fields where a final chunk has none.
func appendTrailers(final []byte, s exchange.Send) []byte {
	const empty = len("0\r\n\r\n")
	return wire.AppendFinalChunkTrailers(final[:len(final)-empty:len(final)-empty], s.TrailerText, s.Trailers)
}

// appendHead appends the response head. What speaks of this connection is
// written here and nowhere else, so a filter cannot break the framing.
func (c *conn) appendHead(out []byte, ex *exchange.Exchange) []byte {
	// fasthttp appends from the start of its argument.
	head := ex.Resp.AppendBytes(out)
	head = head[:len(head)-len(chunkEnd)]
	frame := ex.Place.BodyFrame
	if frame == wire.BodyChunked {
		head = append(head, "Transfer-Encoding: chunked\r\n"...)
	}
	if frame == wire.BodyUntilClose {
		c.close.Store(true)
	}
	if c.server.closing.Load() {
		c.close.Store(true)
	}
	switch {
	case ex.Resp.StatusCode() == 101:
	case c.close.Load():
		head = append(head, "Connection: close\r\n"...)
	case ex.Head.Minor == 0:
		head = append(head, "Connection: keep-alive\r\n"...)
	}
	return append(head, '\r', '\n')
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

// stopTime is what a client is given to finish a body that is on its way when
// the answer is complete: mostly it has arrived and only waits to be read.
const stopTime = 100 * time.Millisecond

// StopReading implements exchange.Downstream.
func (c *conn) StopReading() {
	c.hurried = true
	_ = c.tcp.SetReadDeadline(time.Now().Add(stopTime))
}
