package serve

import (
	"errors"
	"strconv"

	"github.com/valyala/fasthttp"

	"perigee/proxy/wire"
)

// errSlowHead is the refusal of a client that does not finish its head in time.
var errSlowHead = &wire.Error{Status: 408, Reason: "slow_head", Text: "the request head was not complete within limits.header_timeout"}

// refuse answers a request that could not be read and ends the connection. What
// the client sent is never in the answer.
func (c *conn) refuse(err error) {
	var why *wire.Error
	if !errors.As(err, &why) {
		return
	}
	c.server.opt.Refused(&c.info, why)
	c.revive()
	c.out = AppendRefusal(c.out[:0], why.Status)
	if c.write(c.out, nil, nil) == nil {
		c.linger()
	}
}

// AppendRefusal appends the complete answer to a request that was refused before
// it became an exchange.
func AppendRefusal(dst []byte, status int) []byte {
	text := fasthttp.StatusMessage(status)
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, text...)
	dst = append(dst, "\r\nContent-Type: text/plain\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(text)+1), 10)
	dst = append(dst, "\r\nConnection: close\r\n\r\n"...)
	dst = append(dst, text...)
	return append(dst, '\n')
}
