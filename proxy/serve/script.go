package serve

import (
	"io"
	"time"

	"perigee/luavm"
	"perigee/proxy/exchange"
)

// longAgo is the deadline that ends every wait at once.
var longAgo = time.Unix(1, 0)

// forScript performs an op of ngx.req.socket. Scripts of subrequests make none.
func forScript(ex *exchange.Exchange, op *luavm.Op) {
	c := ex.Down.(*conn)
	if op.Kind == luavm.OpReqWrite {
		c.writeForScript(op)
		return
	}
	c.readForScript(ex, op)
}

// readForScript reads for ngx.req.socket: of the body, or with raw whatever
// comes.
func (c *conn) readForScript(ex *exchange.Exchange, op *luavm.Op) {
	op.OnCancel(func() { _ = c.tcp.SetReadDeadline(longAgo) })
	_ = c.tcp.SetReadDeadline(time.Now().Add(op.Timeout()))
	var n int
	var err error
	if op.Kind == luavm.OpReqReadRaw {
		n, err = c.readRaw(op.Room())
	} else {
		n, err = c.readBodyPiece(ex, op.Room())
	}
	op.OnCancel(nil)
	_ = c.tcp.SetReadDeadline(time.Time{})
	switch {
	case n > 0 || err == io.EOF || err == nil:
		op.Result = int32(n)
	case err == exchange.ErrCutBody:
		op.Result = luavm.SocketAborted
	default:
		op.Result = luavm.SocketOutcome(err)
	}
}

// readBodyPiece is ReadBody for one who may try again after a time-out.
func (c *conn) readBodyPiece(ex *exchange.Exchange, p []byte) (int, error) {
	b := &c.body
	switch {
	case b.err != nil:
		return 0, b.err
	case b.done.Load():
		return 0, io.EOF
	case ex.BodyLimit > 0 && c.BodySize() > ex.BodyLimit:
		c.Close()
		return 0, exchange.ErrBodyTooLarge
	}
	// As nginx, even if the client has not waited for it.
	if err := c.askForBody(); err != nil {
		return 0, err
	}
	n, err := c.readFramed(p)
	if err == exchange.ErrSlowBody {
		return n, errSlowRead
	}
	if err != nil && err != io.EOF {
		b.err = err
		c.close.Store(true)
	}
	return n, err
}

// slowRead is a time-out of the script's own.
type slowRead struct{}

func (slowRead) Error() string { return "nothing came within the script's time" }

// Timeout tells SocketOutcome what it is.
func (slowRead) Timeout() bool { return true }

var errSlowRead error = slowRead{}

func (c *conn) readRaw(p []byte) (n int, err error) {
	c.close.Store(true) // what follows on the connection is no request
	if c.r < c.w {
		n = copy(p, c.buf[c.r:c.w])
		c.r += n
		return n, nil
	}
	if c.sock != nil {
		n, err = c.sock.Read(p)
	} else {
		n, err = c.plain().Read(p)
	}
	c.received += int64(n)
	return n, err
}

// writeForScript sends what a script's raw socket is to send.
func (c *conn) writeForScript(op *luavm.Op) {
	c.close.Store(true)
	op.OnCancel(func() { _ = c.tcp.SetWriteDeadline(longAgo) })
	_ = c.tcp.SetWriteDeadline(time.Now().Add(op.Timeout()))
	op.Result = luavm.SocketOutcome(c.write(op.Unsent(), nil, nil))
	op.OnCancel(nil)
	_ = c.tcp.SetWriteDeadline(time.Time{})
}
