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

// standIn puts a head in the place of one that was refused, if that has an error
// page.
func (c *conn) standIn(ex *exchange.Exchange, err error) bool {
	why, _ := err.(*wire.Error)
	has := c.server.opt.HasPage
	if why == nil || why == exchange.ErrSlowHead || has == nil || !has(why) {
		return false
	}
	c.w = copy(c.buf, exchange.StandIn)
	n, err := wire.ScanRequest(&ex.Head, c.buf[:c.w], 0, wire.Limits{})
	if err != nil || n != c.w {
		panic("BUG: the stand-in is no request head")
	}
	ex.Refusal = why
	c.headEnd, c.r = n, n
	c.clearDeadline()
	return true
}
