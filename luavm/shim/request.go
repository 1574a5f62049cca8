//go:build cgo && luajit

package shim

// #cgo CFLAGS: -I${SRCDIR}/../../.deps/luajit/include
// #include "request.h"
import "C"

import "unsafe"

// GrowArena makes the slot's arena hold need bytes in all; what Vars and Extra
// point to moves along. False: no memory, or more than a slot may have. It is
// a crossing: call it only when ArenaCap is too small.
func (slot *Slot) GrowArena(need uint64) bool {
	return C.pg_arena_grow((*C.pg_slot)(unsafe.Pointer(slot)), C.uint64_t(need)) == 0
}

// GrowExtra makes room for more name and value pairs in Extra.
func (slot *Slot) GrowExtra() bool {
	return C.pg_extra_grow((*C.pg_slot)(unsafe.Pointer(slot))) == 0
}
