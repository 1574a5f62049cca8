package upstream

import "sync"

// bufferSize is what one read takes at most, and the usual place of a response
// head with the beginning of its body.
const bufferSize = 16 << 10

// buffers are held by connections while an exchange uses them; an idle
// connection holds none.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}
