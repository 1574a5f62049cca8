package serve

import (
	"errors"

	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// refuse answers a request that could not be read and ends the connection. What
// the client sent is never in the answer.
func (c *conn) refuse(err error) {
	var why *wire.Error
	if !errors.As(err, &why) {
		return
	}
	c.server.opt.Refused(&c.info, why)
	c.revive()
	c.out = exchange.AppendRefusal(c.out[:0], why.Status)
	if c.write(c.out, nil, nil) == nil {
		c.linger()
	}
}
