package exchange

// Downstream is where an exchange's answer goes and its request body comes
// from, as the gateway's steps see it: a client connection, a parent's subrequest,
// a test. None of it waits. Reading, writing and tunnels are ops, which the driver
// performs on what it knows the downstream to be.
type Downstream interface {
	// BodySize is the length the request announces; -1: unknown (chunked).
	BodySize() int64
	// BodyDone tells whether the whole body was read.
	BodyDone() bool
	// Received and Written are the exchange's bytes on the connection so far,
	// heads and framing included.
	Received() int64
	Written() int64
	// StopReading bounds a read of the body that still waits: the answer is
	// complete. The connection outlives the exchange only if what is left of the
	// body comes at once.
	StopReading()
	// Close makes the connection end after this exchange.
	Close()
}
