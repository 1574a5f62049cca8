package upstream

import "perigee/proxy/wire"

// Framing finds the end of one response's body in the bytes that arrive. It
// does no I/O and knows no connection, so that every driver can use it. The
// zero value is a response without a body.
type Framing struct {
	kind   wire.BodyKind
	left   int64        // BodyLength: payload bytes to come
	chunks *wire.Chunks // made by the first body that is chunked
	done   bool
}

// Start begins the body that follows res.
func (f *Framing) Start(res *wire.ResponseHead) {
	f.kind, f.left, f.done = res.Body, 0, false
	switch res.Body {
	case wire.BodyNone:
		f.done = true
	case wire.BodyLength:
		f.left = res.ContentLength
	case wire.BodyChunked:
		if f.chunks == nil {
			f.chunks = new(wire.Chunks)
		}
		f.chunks.Reset()
	}
}

// Next consumes framing and one run of payload at the start of in. data is the
// run, a piece of in, and used how many bytes of in are spent. When used is 0
// and Done is false, more bytes are needed. The error is a *wire.Error.
func (f *Framing) Next(in []byte) (data []byte, used int, err error) {
	switch {
	case f.done:
		return nil, 0, nil
	case f.kind == wire.BodyChunked:
		data, used, err = f.chunks.Next(in)
		f.done = f.chunks.Done()
		return data, used, err
	case f.kind == wire.BodyLength:
		n := int(min(int64(len(in)), f.left))
		f.left -= int64(n)
		f.done = f.left == 0
		return in[:n], n, nil
	}
	return in, len(in), nil
}

// End says what the end of the stream means: nil when it is the body's end,
// ErrTruncated when more was promised.
func (f *Framing) End() error {
	if f.kind == wire.BodyUntilClose {
		f.done = true
	}
	if !f.done {
		return ErrTruncated
	}
	return nil
}

// Done says that the body is complete.
func (f *Framing) Done() bool { return f.done }

// Left is how many payload bytes are still to come, -1 when that is unknown.
func (f *Framing) Left() int64 {
	switch {
	case f.done:
		return 0
	case f.kind == wire.BodyLength:
		return f.left
	}
	return -1
}

// Trailers gives the fields behind a chunked body, and the text their spans
// refer to. Both stay until the next Start.
func (f *Framing) Trailers() (text []byte, fields []wire.Field) {
	if f.kind != wire.BodyChunked || !f.done {
		return nil, nil
	}
	return f.chunks.Trailers()
}
