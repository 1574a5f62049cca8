package upstream

import (
	"net"
	"sync/atomic"
	"time"
)

// Tunnel is a connection after a 101: no longer HTTP. It counts as a connection
// in use until Close.
type Tunnel struct {
	// Conn is the connection without deadlines; over TLS a *tls.Conn. Bytes that
	// came behind the 101 are in Buffered and come first.
	net.Conn
	// Buffered belongs to the tunnel.
	Buffered []byte

	endpoint *Endpoint
	closed   atomic.Bool
}

// Hijack takes the connection out of the exchange after a 101 response. It ends
// the exchange's use of c: no Release follows.
func (c *Conn) Hijack() (*Tunnel, error) {
	if !c.upgraded {
		return nil, errNotHeld
	}
	t := &Tunnel{Conn: c.link.Conn, endpoint: c.endpoint}
	if !c.link.endExchange() {
		return nil, t.fail(c, ErrCanceled)
	}
	if c.tls != nil {
		t.Conn = c.tls
	}
	t.Buffered = append(t.Buffered, c.mem[c.r:c.w]...)
	c.dropBuffers()
	// No deadlines but the tunnel's owner's, under TLS too.
	c.link.deadlines.endless()
	if err := c.link.SetDeadline(time.Time{}); err != nil {
		return nil, t.fail(c, err)
	}
	return t, nil
}

func (t *Tunnel) fail(c *Conn, err error) error {
	_ = t.Close()
	return c.failure(StepBody, err)
}

// Close ends the tunnel; further calls do nothing.
func (t *Tunnel) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	t.endpoint.giveUp()
	return t.Conn.Close()
}
