package exchange

import "perigee/proxy/upstream"

// Downstream is where an exchange's answer goes and its request body comes
// from: a client connection, a parent subrequest, a tunnel, a test. Its methods
// may block; only the driver that performs ops calls them, never a step.
type Downstream interface {
	// ReadBody reads request body bytes, framing removed. io.EOF: complete.
	// Other errors are *wire.Error for a body that breaks the protocol, and
	// net.Error for a time-out.
	ReadBody(p []byte) (n int, err error)
	// BodySize is the length the request announces; -1: unknown (chunked).
	BodySize() int64
	// BodyDone tells whether the whole body was read.
	BodyDone() bool
	// Write sends s for ex: the head from ex.Resp in the framing of
	// ex.Place.BodyFrame, then data. It returns when everything was taken by
	// the other side's buffer (back-pressure), or with an error when the
	// other side is gone.
	Write(ex *Exchange, s Send) error
	// Tunnel copies bytes both ways between the client and up until one side
	// ends. It returns how many bytes went each way.
	Tunnel(up *upstream.Tunnel) (sent, received int64, err error)
	// Received and Written are the exchange's bytes on the connection so far,
	// heads and framing included.
	Received() int64
	Written() int64
	// StopReading bounds a ReadBody that waits on another thread: the answer is
	// complete. The connection outlives the exchange only if what is left of the
	// body comes at once.
	StopReading()
	// Close makes the connection end after this exchange.
	Close()
}
