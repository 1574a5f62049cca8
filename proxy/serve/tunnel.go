package serve

import "perigee/proxy/upstream"

// Tunnel copies bytes both ways: after a 101 both sides speak another
// protocol, and bytes are only copied. A tunnel knows no reload: it lives until
// one of its sides ends it, or the drain's deadline comes.
func (c *conn) Tunnel(up *upstream.Tunnel) (sent, received int64, err error) {
	c.close.Store(true)
	c.clearDeadline()
	ahead := c.buf[c.r:c.w]
	c.r = c.w
	return up.Copy(c.plain(), ahead)
}
