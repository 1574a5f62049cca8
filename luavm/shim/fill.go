//go:build cgo && luajit

package shim

/*
#cgo CFLAGS: -I${SRCDIR}/../../.deps/luajit/include
#include "shim.h"
extern int pg_go_fill(uintptr_t of, uint32_t slot, uint32_t parts);
*/
import "C"

import "runtime/cgo"

// FillBy makes f fill what is unfilled of the state's slots.
func (s *State) FillBy(f Filler) {
	s.filler = cgo.NewHandle(f)
	C.pg_fill_by(s.c, C.pg_filler(C.pg_go_fill), C.uintptr_t(s.filler))
}

// dropFiller ends FillBy: the state runs no more.
func (s *State) dropFiller() {
	if s.filler != 0 {
		s.filler.Delete()
		s.filler = 0
	}
}

//export pg_go_fill
func pg_go_fill(of C.uintptr_t, slot, parts C.uint32_t) C.int {
	if cgo.Handle(of).Value().(Filler)(uint32(slot), uint32(parts)) {
		return 0
	}
	return -1
}
