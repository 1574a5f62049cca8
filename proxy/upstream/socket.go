package upstream

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// socket reads and writes a TCP or unix socket with fewer steps than net.Conn:
// the system calls are made without telling the scheduler (they never block,
// the descriptor is non-blocking), head and body leave in one writev without an
// allocated net.Buffers, and the deadline is looked at only when a call would
// have to wait. Waiting is still the runtime's poller's.
//
// One goroutine may read while another writes; each side's fields are its own.
type socket struct {
	raw syscall.RawConn

	// wait is called before a side waits for the poller: it arms deadlines and
	// refuses when the exchange was canceled.
	wait func(write bool) error

	read  ioSide
	write ioSide
	// iov and rest are what write still has to send.
	iov [2]syscall.Iovec

	// The poller's callbacks, bound once so that a call allocates nothing.
	tryRead, tryWrite func(fd uintptr) bool
}

// ioSide is one call's operands and outcome.
type ioSide struct {
	p    []byte
	more []byte // write: the second piece
	n    int
	err  error
	// tried says that the poller let the call through.
	tried bool
}

func newSocket(nc net.Conn, wait func(write bool) error) *socket {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socket{raw: raw, wait: wait}
	s.tryRead, s.tryWrite = s.readNow, s.writeNow
	return s
}

// Read waits for bytes and reads them once. At the end of the stream it is io.EOF.
func (s *socket) Read(p []byte) (int, error) {
	s.read = ioSide{p: p}
	err := s.raw.Read(s.tryRead)
	if err != nil && !s.read.tried {
		// The poller refused at once: an earlier deadline has passed while
		// nobody waited. Arm this wait's own and try.
		if err = s.wait(false); err == nil {
			err = s.raw.Read(s.tryRead)
		}
	}
	n := s.read.n
	if err == nil {
		err = s.read.err
	}
	s.read = ioSide{}
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

func (s *socket) readNow(fd uintptr) bool {
	s.read.tried = true
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(s.read.p))), uintptr(len(s.read.p)))
		switch errno {
		case 0:
			s.read.n = int(n)
			return true
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			s.read.err = s.wait(false)
			return s.read.err != nil
		}
		s.read.err = os.NewSyscallError("read", errno)
		return true
	}
}

// Write sends a and then b, in one system call when the socket takes them.
func (s *socket) Write(a, b []byte) error {
	s.write = ioSide{p: a, more: b}
	err := s.raw.Write(s.tryWrite)
	if err != nil && !s.write.tried { // as in Read
		if err = s.wait(true); err == nil {
			err = s.raw.Write(s.tryWrite)
		}
	}
	if err == nil {
		err = s.write.err
	}
	s.write = ioSide{}
	s.iov = [2]syscall.Iovec{}
	return err
}

func (s *socket) writeNow(fd uintptr) bool {
	w := &s.write
	w.tried = true
	for len(w.p)+len(w.more) > 0 {
		n, errno := s.writeOnce(fd)
		switch errno {
		case 0:
			w.sent(n)
		case syscall.EINTR:
		case syscall.EAGAIN:
			w.err = s.wait(true)
			return w.err != nil
		default:
			w.err = os.NewSyscallError("write", errno)
			return true
		}
	}
	return true
}

func (s *socket) writeOnce(fd uintptr) (int, syscall.Errno) {
	w := &s.write
	if len(w.p) == 0 || len(w.more) == 0 {
		p := w.p
		if len(p) == 0 {
			p = w.more
		}
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		return int(n), errno
	}
	for i, p := range [2][]byte{w.p, w.more} {
		s.iov[i].Base = unsafe.SliceData(p)
		s.iov[i].SetLen(len(p))
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&s.iov)), 2)
	return int(n), errno
}

// sent drops the n bytes that the kernel took.
func (w *ioSide) sent(n int) {
	first := min(n, len(w.p))
	w.p = w.p[first:]
	w.more = w.more[n-first:]
}

// quiet says whether an idle connection has nothing to tell: neither its end
// nor bytes that nobody asked for. It is one system call and does not wait.
func quiet(raw syscall.RawConn) (ok bool) {
	var b [1]byte
	err := raw.Control(func(fd uintptr) {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1,
			syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		ok = errno == syscall.EAGAIN
	})
	return ok && err == nil
}
