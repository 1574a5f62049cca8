// Package socket reads and writes the sockets of clients and endpoints with
// fewer steps than net.Conn. Waiting is still done by the runtime's poller.
//
//	          net.Conn                            Socket
//	Read:  lock, deadline check,        lock, read(2) as a raw call,
//	       entersyscall, read(2), ...   memory only once bytes are there
//	Write: one system call a piece      one writev(2) for up to three pieces
//
// The system calls are made without telling the scheduler: the descriptors are
// non-blocking, so a call never waits. Deadlines are looked at only when a call
// would have to wait, by the owner's wait function.
package socket

import (
	"io"
	"net"
	"os"
	"syscall"
)

// Socket is a TCP or unix socket. One goroutine may read while another writes.
type Socket struct {
	raw  syscall.RawConn
	wait func(write bool) error

	lend     func() []byte // memory for a read, asked for once bytes are there
	giveBack func()        // no bytes were there after all
	into     []byte
	got      int
	readErr  error

	pieces   Pieces
	writeErr error

	// The poller's callbacks, bound once so that a call allocates nothing.
	tryRead, tryWrite func(fd uintptr) bool
}

// New wraps a connection of the net package; nil: it has no descriptor. wait is
// called before a side waits: it arms deadlines, or refuses with an error.
func New(nc net.Conn, wait func(write bool) error) *Socket {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	s := &Socket{raw: raw, wait: wait}
	s.tryRead, s.tryWrite = s.readNow, s.writeNow
	return s
}

// LendReads makes Lent reads possible: lend gives memory, giveBack takes it
// again when no bytes were there to fill it.
func (s *Socket) LendReads(lend func() []byte, giveBack func()) {
	s.lend, s.giveBack = lend, giveBack
}

// Control calls f with the descriptor, which f must not keep.
func (s *Socket) Control(f func(fd uintptr)) error { return s.raw.Control(f) }

// Read waits for bytes and reads them once. At the end of the stream it is
// io.EOF.
func (s *Socket) Read(p []byte) (int, error) {
	s.into = p
	return s.read()
}

// ReadLent is Read into memory that is lent only once there is something to
// read: a waiting connection holds none.
func (s *Socket) ReadLent() (int, error) {
	s.into = nil
	return s.read()
}

func (s *Socket) read() (int, error) {
	s.got, s.readErr = 0, nil
	err := s.raw.Read(s.tryRead)
	s.into = nil
	if err == nil {
		err = s.readErr
	}
	if s.got == 0 && err == nil {
		return 0, io.EOF
	}
	return s.got, err
}

func (s *Socket) readNow(fd uintptr) bool {
	p := s.into
	lent := p == nil
	if lent {
		p = s.lend()
	}
	n, err := ReadOnce(fd, p)
	switch err {
	case nil:
		s.got = n
		return true
	case syscall.EAGAIN:
		if lent {
			s.giveBack()
		}
		s.readErr = s.wait(false)
		return s.readErr != nil
	}
	s.readErr = os.NewSyscallError("read", err)
	return true
}

// Write sends the pieces in order, in one system call when the socket takes
// them; it waits for room otherwise.
func (s *Socket) Write(a, b, c []byte) error {
	s.pieces.Set(a, b, c)
	s.writeErr = nil
	err := s.raw.Write(s.tryWrite)
	if err == nil {
		err = s.writeErr
	}
	s.pieces.Drop()
	return err
}

func (s *Socket) writeNow(fd uintptr) bool {
	if _, s.writeErr = s.pieces.Write(fd); s.writeErr != syscall.EAGAIN {
		return true
	}
	s.writeErr = s.wait(true)
	return s.writeErr != nil
}
