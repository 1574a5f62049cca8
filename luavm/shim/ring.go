//go:build cgo && luajit

package shim

// #include "shim.h"
import "C"

import "runtime"

// A Ring keeps the last lines of the log, in C memory, for ngx.errlog. Its
// methods may be called from any goroutine.
type Ring struct{ c *C.pg_ring }

// NewRing makes a ring of size bytes; nil when there is no memory. It is freed
// when neither Go nor a state refers to it.
func NewRing(size uint32) *Ring {
	c := C.pg_ring_new(C.uint32_t(size))
	if c == nil {
		return nil
	}
	r := &Ring{c}
	runtime.AddCleanup(r, func(c *C.pg_ring) { C.pg_ring_drop(c) }, c)
	return r
}

// Put adds a line, pushing the oldest out. time is in seconds since the epoch.
func (r *Ring) Put(level int, time float64, line []byte) {
	C.pg_ring_put(r.c, C.int(level), C.double(time), bytes(line), C.size_t(len(line)))
	runtime.KeepAlive(r)
}

// Capture makes the state put what its scripts log into r.
func (s *State) Capture(r *Ring) {
	if r != nil {
		s.c.ring = C.pg_ring_hold(r.c)
	}
}
