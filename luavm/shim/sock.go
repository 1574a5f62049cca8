package shim

import "unsafe"

// A Sock is pg_sock: a script's connection, in C memory. During an op on it
// the performer may use what that op is about, and nothing else.
type Sock struct {
	Flags                  uint32
	FD                     int32
	Handle                 uint32
	Ops                    uint32
	SlotID, Gen            uint32
	Reused                 uint32
	Least                  uint32
	Buf                    unsafe.Pointer
	Cap, Pos, Fill, Seen   uint32
	Reader                 uint32
	ReadAt                 float64
	Got                    Str
	Out                    unsafe.Pointer
	OutPos, OutLen, OutCap uint32
	Session                uint32
}

// Flags of a Sock. PG_SOCK_* in perigee_ffi.h.
const (
	SockOpen     = 1
	SockTLS      = 2
	SockDatagram = 4
)

// Room is where received bytes go.
func (s *Sock) Room() []byte {
	return unsafe.Slice((*byte)(s.Buf), int(s.Cap))[s.Fill:]
}

// Unsent is what is left to send.
func (s *Sock) Unsent() []byte {
	return unsafe.Slice((*byte)(s.Out), int(s.OutLen))[s.OutPos:]
}

// A SocketConf is pg_socket_conf: a route's settings of sockets as Lua reads
// them, in milliseconds and bytes.
type SocketConf struct {
	ConnectMS, SendMS, ReadMS, KeepaliveMS int32
	PoolSize, BufferSize, LogErrors        int32
}
