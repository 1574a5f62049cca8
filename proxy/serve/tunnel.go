package serve

import (
	"io"
	"net"
	"time"
)

// tunnelDrain is how long the second direction of a tunnel may go on after the
// first has ended.
const tunnelDrain = 10 * time.Second

// Tunnel implements exchange.Downstream: after a 101 both sides speak another
// protocol, and bytes are only copied. A tunnel knows no reload: it lives until
// one of its sides ends it, or the drain's deadline comes.
func (c *conn) Tunnel(up net.Conn, early []byte) (sent, received int64, err error) {
	c.close.Store(true)
	c.clearDeadline()
	client := c.plain()
	if len(early) > 0 {
		n, err := client.Write(early)
		sent += int64(n)
		if err != nil {
			return sent, received, err
		}
	}
	if c.r < c.w {
		n, err := up.Write(c.buf[c.r:c.w])
		c.r = c.w
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
		n, err := io.Copy(up, client)
		endWrites(up)
		_ = client.SetReadDeadline(time.Now())
		_ = up.SetReadDeadline(time.Now().Add(tunnelDrain))
		upward <- half{n, err}
	}()
	n, err := io.Copy(client, up)
	sent += n
	endWrites(client)
	_ = client.SetReadDeadline(time.Now().Add(tunnelDrain))
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
