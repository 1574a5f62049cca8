package exchange

import (
	"errors"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"perigee/proxy/wire"
)

// What drivers refuse clients for.
var (
	// ErrTooMany is the refusal of a connection over limits.connections.
	ErrTooMany = &wire.Error{Status: 503, Reason: "connections", Text: "limits.connections are in use"}
	// ErrSlowHead is the refusal of a client that does not finish its head in
	// time.
	ErrSlowHead = &wire.Error{Status: 408, Reason: "slow_head", Text: "the request head was not complete within limits.header_timeout"}
	ErrSlowBody = &wire.Error{Status: 408, Reason: "slow_body", Text: "no byte of the request body came within limits.body_timeout"}
	ErrCutBody  = &wire.Error{Status: 400, Reason: "cut_body", Text: "the client ended the connection inside the request body"}
	// ErrBodyTooLarge refuses a body over the route's limit.
	ErrBodyTooLarge = &wire.Error{Status: 413, Reason: "body_bytes", Text: "request body is larger than limits.body_bytes"}
)

// ErrAnswered ends the reading of a body that was not asked for in time.
var ErrAnswered = errors.New("the answer was sent before the body was asked for")

// BodyFileError says that a body's file cannot be written or read.
func BodyFileError(err error) error {
	return &wire.Error{Status: 500, Reason: "body_file", Text: "the file of a request body: " + err.Error()}
}

// AppendRefusal appends the complete answer to a request that was refused before
// it became an exchange.
func AppendRefusal(dst []byte, status int) []byte {
	text := fasthttp.StatusMessage(status)
	dst = appendStatusLine(dst, status, nil)
	dst = append(dst, "Content-Type: text/plain\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(text)+1), 10)
	dst = append(dst, "\r\nConnection: close\r\n\r\n"...)
	dst = append(dst, text...)
	return append(dst, '\n')
}

// StandIn is the head that takes the place of one that was refused, so that the
// refusal's error page can be made as any other answer; Refusal is set then.
// Nothing of what the client sent is left, and the connection ends behind it.
const StandIn = "GET / HTTP/1.0\r\n\r\n"

// How drivers end connections and bodies.
const (
	// LingerTime bounds how long a closing connection waits for its client
	// (nginx: lingering_timeout).
	LingerTime = 2 * time.Second
	// MaxDrain is how much of an unread body is read away to keep a connection.
	MaxDrain = 64 << 10
	// StopTime is what a client is given to finish a body that is on its way
	// when the answer is complete: mostly it has arrived and only waits to be
	// read.
	StopTime = 100 * time.Millisecond
)

// ContinueLine asks for a body that its client holds back.
var ContinueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")
