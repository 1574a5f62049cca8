package upstream

import "sync"

// bufferSize is what one read takes at most, and the usual place of a response
// head with the beginning of its body.
const bufferSize = 16 << 10

// buffers are held by connections while an exchange uses them; an idle
// connection holds none.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// bodySize is what one read of a long body takes at most: each read is a read, a
// write and the steps between them.
const bodySize = 64 << 10

var bodyBuffers = sync.Pool{New: func() any { return new([bodySize]byte) }}
