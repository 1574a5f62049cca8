package upstream

import "sync"

// bufferSize is what one read takes at most, and the usual place of a response
// head with the beginning of its body.
const bufferSize = 16 << 10

// buffers are held by connections while an exchange uses them; an idle
// connection holds none.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// A bufferStack holds buffers that nothing in a loop uses: the few that it needs over
// and over, without the locks of a pool. Only the loop's thread takes and puts.
type bufferStack struct{ spare []*[bufferSize]byte }

// keepBuffers is how many a loop holds on to.
const keepBuffers = 64

func (s *bufferStack) take() *[bufferSize]byte {
	n := len(s.spare)
	if n == 0 {
		return buffers.Get().(*[bufferSize]byte)
	}
	b := s.spare[n-1]
	s.spare = s.spare[:n-1]
	return b
}

func (s *bufferStack) put(b *[bufferSize]byte) {
	if len(s.spare) == keepBuffers {
		buffers.Put(b)
		return
	}
	s.spare = append(s.spare, b)
}

// bodySize is what one read of a long body takes at most: each read is a read, a
// write and the steps between them.
const bodySize = 64 << 10

var bodyBuffers = sync.Pool{New: func() any { return new([bodySize]byte) }}
