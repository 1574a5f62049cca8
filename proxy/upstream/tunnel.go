package upstream

import (
	"io"
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
	if c.link.resident != nil {
		nc, err := c.link.leave()
		if err != nil {
			return nil, t.fail(c, err)
		}
		t.Conn = nc
	}
	t.Buffered = append(t.Buffered, c.mem[c.r:c.w]...)
	c.dropBuffers()
	// No deadlines but the tunnel's owner's, under TLS too.
	c.link.deadlines.endless()
	if err := t.SetDeadline(time.Time{}); err != nil {
		return nil, t.fail(c, err)
	}
	return t, nil
}

// fail closes the connection: what t has of it, or its loop.
func (t *Tunnel) fail(c *Conn, err error) error {
	if c.link.resident != nil && t.Conn == c.link.Conn {
		t.closed.Store(true)
		t.endpoint.giveUp()
		_ = c.link.Close()
	} else {
		_ = t.Close()
	}
	return c.failure(StepBody, err)
}

// drain is how long the second direction of a tunnel may go on after the first
// has ended.
const drain = 10 * time.Second

// Copy copies bytes both ways between a client and the endpoint, what is
// buffered and ahead first, until one side ends. It returns how many bytes went
// to the client and came from it.
func (t *Tunnel) Copy(client net.Conn, ahead []byte) (sent, received int64, err error) {
	if len(t.Buffered) > 0 {
		n, err := client.Write(t.Buffered)
		sent += int64(n)
		if err != nil {
			return sent, received, err
		}
	}
	if len(ahead) > 0 {
		n, err := t.Write(ahead)
		received += int64(n)
		if err != nil {
			return sent, received, err
		}
	}
	type half struct {
		n   int64
		err error
	}
	upward := make(chan half, 1)
	go func() {
		n, err := io.Copy(t.Conn, client)
		endWrites(t.Conn)
		_ = client.SetReadDeadline(time.Now())
		_ = t.SetReadDeadline(time.Now().Add(drain))
		upward <- half{n, err}
	}()
	n, err := io.Copy(client, t.Conn)
	sent += n
	endWrites(client)
	_ = client.SetReadDeadline(time.Now().Add(drain))
	h := <-upward
	received += h.n
	if err == nil {
		err = h.err
	}
	return sent, received, err
}

// endWrites tells one side that the other has ended.
func endWrites(nc net.Conn) {
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// Close ends the tunnel; further calls do nothing.
func (t *Tunnel) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	t.endpoint.giveUp()
	return t.Conn.Close()
}
