//go:build cgo && luajit

package shim

// #cgo CFLAGS: -I${SRCDIR}/../../.deps/luajit/include
// #include <stdlib.h>
// #include "socket.h"
import "C"

import "unsafe"

// Sock and SocketConf against pg_sock and pg_socket_conf, as in layout.go.
var (
	_ [unsafe.Sizeof(Sock{})]byte       = [C.sizeof_pg_sock]byte{}
	_ [unsafe.Sizeof(SocketConf{})]byte = [C.sizeof_pg_socket_conf]byte{}

	_ [unsafe.Offsetof(Sock{}.Flags)]byte  = [unsafe.Offsetof(C.pg_sock{}.flags)]byte{}
	_ [unsafe.Offsetof(Sock{}.FD)]byte     = [unsafe.Offsetof(C.pg_sock{}.fd)]byte{}
	_ [unsafe.Offsetof(Sock{}.Handle)]byte = [unsafe.Offsetof(C.pg_sock{}.handle)]byte{}
	_ [unsafe.Offsetof(Sock{}.Buf)]byte    = [unsafe.Offsetof(C.pg_sock{}.buf)]byte{}
	_ [unsafe.Offsetof(Sock{}.Cap)]byte    = [unsafe.Offsetof(C.pg_sock{}.cap)]byte{}
	_ [unsafe.Offsetof(Sock{}.Fill)]byte   = [unsafe.Offsetof(C.pg_sock{}.fill)]byte{}
	_ [unsafe.Offsetof(Sock{}.Out)]byte    = [unsafe.Offsetof(C.pg_sock{}.out)]byte{}
	_ [unsafe.Offsetof(Sock{}.OutPos)]byte = [unsafe.Offsetof(C.pg_sock{}.out_pos)]byte{}
	_ [unsafe.Offsetof(Sock{}.OutLen)]byte = [unsafe.Offsetof(C.pg_sock{}.out_len)]byte{}

	_ [unsafe.Offsetof(Sock{}.Session)]byte = [unsafe.Offsetof(C.pg_sock{}.session)]byte{}

	_ [unsafe.Offsetof(SocketConf{}.KeepaliveMS)]byte = [unsafe.Offsetof(C.pg_socket_conf{}.keepalive_ms)]byte{}
	_ [unsafe.Offsetof(SocketConf{}.LogErrors)]byte   = [unsafe.Offsetof(C.pg_socket_conf{}.log_errors)]byte{}
)

// SockAt is the socket whose address a script gave as a number.
func SockAt(address float64) *Sock {
	p := uintptr(address)
	return *(**Sock)(unsafe.Pointer(&p))
}

// An Ear is where an event loop notes what it hears of a script's socket that
// nobody waits for, so that C need not ask the system (pg_sock_stir). It belongs
// to the loop's thread.
type Ear struct{ heard C.uint8_t }

// NewEar makes an ear that has heard something, for all it knows.
func NewEar() *Ear {
	e := (*Ear)(C.calloc(1, C.sizeof_uint8_t))
	if e == nil {
		panic("luavm: out of memory")
	}
	e.heard = 1
	return e
}

// Hear notes that something has come.
func (e *Ear) Hear() { e.heard = 1 }

// Free ends the ear; the socket's end, or Listen(nil), came before.
func (e *Ear) Free() { C.free(unsafe.Pointer(e)) }

// Listen has C ask e about the socket from now on; nil: the system.
func (s *Sock) Listen(e *Ear) {
	k := (*C.pg_socket)(unsafe.Pointer(s))
	k.heard = nil
	if e != nil {
		k.heard = &e.heard
	}
}

// HasSockets says if the exchange in slot has sockets that are not kept. It
// needs no lock while the slot does not run.
func (s *State) HasSockets(slot *Slot) bool {
	head := &(*C.pg_seat)(unsafe.Pointer(slot)).sockets
	return head.next != nil && head.next != head
}

// ShutSockets puts the sockets of slot's exchange out of use; notes say which
// connections to close. No op of the slot may be with a performer.
func (s *State) ShutSockets(slot *Slot) {
	C.pg_seat_shut_sockets((*C.pg_slot)(unsafe.Pointer(slot)))
}

// SweepSockets puts kept sockets out of use that have been idle for too long or
// that the peer has left, or all, and says how many are left.
func (s *State) SweepSockets(all bool) int {
	every := C.int(0)
	if all {
		every = 1
	}
	return int(C.pg_sweep_sockets(s.c, every))
}

// KeptSockets counts how often a socket was kept.
func (s *State) KeptSockets() uint32 { return uint32(s.c.kept_n) }

// NewSocketConf copies c to C memory, which the caller frees.
func NewSocketConf(c SocketConf) *SocketConf {
	p := (*SocketConf)(C.calloc(1, C.sizeof_pg_socket_conf))
	if p == nil {
		panic("luavm: out of memory")
	}
	*p = c
	return p
}

// FreeSocketConf frees what NewSocketConf made.
func FreeSocketConf(c *SocketConf) { C.free(unsafe.Pointer(c)) }
