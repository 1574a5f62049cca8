package h2

import (
	"errors"
	"io"
	"sync"

	"perigee/proxy/wire"
)

// ErrWait says that a call has to be made again later: after touched.
var ErrWait = errors.New("has to wait")

// errEnough ends sending only: the answer is complete.
var errEnough = &Error{Code: NoError}

// Stream is one exchange. The zero value has not begun.
type Stream struct {
	// Owner is the caller's.
	Owner any

	conn   *Conn
	chunks *wire.Chunks // made by the first body that is chunked
	in     []byte       // in[r:] is HTTP/1.1 that has not been read
	present
}

// present is what a stream knows of its exchange and no later one of.
type present struct {
	id uint32 // 0: nothing was sent

	// What is sent.
	window  int64
	head    bool // the request's head has been taken
	chunked bool
	left    int64  // of a body with a length
	run     []byte // payload that the window had no room for; the caller's
	sent    bool   // END_STREAM has left
	waits   bool   // in Conn.waiting
	held    bool   // the answer's head waits for what follows it

	// What comes.
	r        int
	large    *[largeBody]byte // memory of in while much waits to be read
	small    []byte           // and of in before
	granted  int64            // what the peer may still send
	forHead  bool             // the request was a HEAD
	answered bool             // a final head has come
	framed   bool             // the body goes to in as chunks
	length   int64            // what the head promised; -1: nothing
	got      int64            // of the body
	bare     bool             // the answer has no body
	ended    bool             // END_STREAM has come
	closed   bool             // the peer has ended the stream altogether
	err      error
}

// Open gives a stream for an exchange; Close gives it back.
func (c *Conn) Open() *Stream {
	var s *Stream
	if n := len(c.free); n > 0 {
		s = c.free[n-1]
		c.free = c.free[:n-1]
	} else {
		s = &Stream{conn: c}
	}
	c.open++
	return s
}

// begin gives the stream its number.
func (s *Stream) begin() {
	c := s.conn
	s.id = c.next
	c.next += 2
	c.streams.add(s)
	s.window, s.granted, s.length = c.initial, Window, -1
}

// keepBody is the largest memory of a body that a stream holds on to. For more it
// borrows some, until all is read.
const keepBody = 16 << 10

// largeBody has room for a window of body, behind half a window that was read.
const largeBody = Window * 3 / 2

var largeBodies = sync.Pool{New: func() any { return new([largeBody]byte) }}

// enlarge makes room for n more bytes: of its own, or borrowed if they are too
// many to hold on to. What is even more, append finds room for.
func (s *Stream) enlarge(n int) {
	n += len(s.in)
	switch {
	case n <= cap(s.in) || s.large != nil || n > largeBody:
	case n > keepBody:
		s.large, s.small = largeBodies.Get().(*[largeBody]byte), s.in
		s.in = append(s.large[:0], s.in...)
	case n > keepBody/4:
		s.in = append(make([]byte, 0, keepBody), s.in...)
	}
}

// giveBack ends the use of borrowed memory, and forgets in.
func (s *Stream) giveBack() {
	s.in, s.r = s.in[:0], 0
	if s.large != nil {
		largeBodies.Put(s.large)
		s.in, s.large, s.small = s.small[:0], nil, nil
	}
	if cap(s.in) > keepBody {
		s.in = nil
	}
}

// Close ends the exchange; what is not complete is canceled.
func (s *Stream) Close() {
	c := s.conn
	c.open--
	s.unhold()
	if s.id != 0 {
		c.streams.remove(s)
		c.unwait(s)
		if !s.closed && !(s.sent && s.ended) {
			*c.out = appendNumber(*c.out, frameReset, s.id, uint32(Cancel))
		}
	}
	s.giveBack()
	s.Owner, s.present = nil, present{}
	if len(c.free) < c.limits.Streams {
		c.free = append(c.free, s)
	}
}

// Begun says that the peer has been, or will be, sent something.
func (s *Stream) Begun() bool { return s.id != 0 }

// Sending tells whether something that Send took has still to wait for room.
func (s *Stream) Sending() bool { return len(s.run) > 0 }

// Send takes HTTP/1.1 bytes of a request, the whole head in the first call's
// first piece, and leaves what it has no room for in the pieces. ErrWait: the
// same again later, the memory unchanged.
func (s *Stream) Send(pieces *[3][]byte) error {
	for i := range pieces {
		for len(pieces[i]) > 0 || len(s.run) > 0 {
			if s.err != nil {
				return s.err
			}
			if len(s.run) > 0 {
				if err := s.sendRun(); err != nil {
					return err
				}
				continue
			}
			used, err := s.unframe(pieces[i])
			pieces[i] = pieces[i][used:]
			if err != nil {
				return err
			}
		}
	}
	return s.err
}

var errFraming = errors.New("request is not framed as its head says")

// unframe takes the framing of HTTP/1.1, and the run of payload behind it, off p.
func (s *Stream) unframe(p []byte) (used int, err error) {
	switch {
	case !s.head:
		return s.sendHead(p)
	case s.sent:
		return len(p), errFraming
	case s.chunked:
		s.run, used, err = s.chunks.Next(p)
		if err == nil && s.chunks.Done() {
			s.sendEnd()
		}
		return used, err
	}
	used = int(min(int64(len(p)), s.left))
	if used == 0 {
		return len(p), errFraming
	}
	s.run = p[:used]
	return used, nil
}

// sendRun sends payload as far as there is room.
func (s *Stream) sendRun() error {
	c := s.conn
	for len(s.run) > 0 {
		n := int(min(int64(len(s.run)), s.window, c.window, int64(c.frameSize)))
		if len(*c.out) > mostOut || n <= 0 && c.window <= 0 {
			c.wait(s)
			return ErrWait
		}
		if n <= 0 {
			return ErrWait
		}
		var flags byte
		if !s.chunked && s.left == int64(n) {
			flags, s.sent = flagEnd, true
		}
		*c.out = append(appendFrameHead(*c.out, n, frameData, flags, s.id), s.run[:n]...)
		s.run = s.run[n:]
		s.window -= int64(n)
		c.window -= int64(n)
		s.left -= int64(n)
	}
	return nil
}

// sendEnd ends a body that came in chunks, with its trailers if there are any.
func (s *Stream) sendEnd() {
	c := s.conn
	s.sent = true
	text, fields := s.chunks.Trailers()
	if len(fields) == 0 {
		*c.out = appendFrameHead(*c.out, 0, frameData, flagEnd, s.id)
		return
	}
	b := c.scratch[:0]
	for _, f := range fields {
		b = appendField(b, f.Name.Of(text), f.Value.Of(text))
	}
	c.scratch = b
	c.sendBlock(s.id, b, true)
}

// room has the stream tried again: its window has grown.
func (s *Stream) room() {
	if len(s.run) > 0 && s.window > 0 {
		s.conn.touch(s)
	}
}

// sendBlock sends a header block.
func (c *Conn) sendBlock(id uint32, block []byte, end bool) {
	kind, flags := byte(frameHeaders), byte(0)
	if end {
		flags = flagEnd
	}
	for {
		n := min(len(block), c.frameSize)
		if n == len(block) {
			flags |= flagEndHeaders
		}
		*c.out = append(appendFrameHead(*c.out, n, kind, flags, id), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return
		}
		kind, flags = frameContinuation, 0
	}
}

// Has tells whether Read has something to give, if only an end.
func (s *Stream) Has() bool { return s.r < len(s.in) || s.ended || s.err != nil }

// Read gives bytes of the answer: io.EOF behind the last, ErrWait when there are
// none yet.
func (s *Stream) Read(p []byte) (int, error) {
	if s.r < len(s.in) {
		n := copy(p, s.in[s.r:])
		if s.r += n; s.r == len(s.in) {
			s.giveBack()
		}
		s.grant()
		return n, nil
	}
	switch {
	case s.ended:
		return 0, io.EOF
	case s.err != nil:
		return 0, s.err
	}
	return 0, ErrWait
}

// grant lets the peer send more, if not much waits to be read.
func (s *Stream) grant() {
	if s.ended || s.err != nil || len(s.in)-s.r > Window/2 || s.granted > Window/2 {
		return
	}
	*s.conn.out = appendNumber(*s.conn.out, frameWindow, s.id, uint32(Window-s.granted))
	s.granted = Window
}

// fail ends the stream; what has come can still be read.
func (s *Stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// abort ends the stream because of what the peer has sent on it.
func (s *Stream) abort(code Code, why string) {
	if s.closed || s.err != nil {
		return
	}
	*s.conn.out = appendNumber(*s.conn.out, frameReset, s.id, uint32(code))
	s.closed = true
	s.ended = false
	s.fail(broken(code, why))
	s.conn.touch(s)
}
