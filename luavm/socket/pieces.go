package socket

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxPieces is how many pieces one write can take.
const maxPieces = 3

// Pieces are bytes on their way out: they leave in order, in one system call
// when the descriptor takes them. The memory is the caller's and has to stay as
// it is until they have left, or were dropped.
type Pieces struct {
	list [maxPieces][]byte
}

// Set makes a, b and c what is to be sent.
func (p *Pieces) Set(a, b, c []byte) { p.list[0], p.list[1], p.list[2] = a, b, c }

// Drop forgets what has not left.
func (p *Pieces) Drop() { *p = Pieces{} }

// Any tells whether something has not left.
func (p *Pieces) Any() bool { return len(p.list[0])+len(p.list[1])+len(p.list[2]) > 0 }

// List is what has not left, for who sends it another way and cuts it.
func (p *Pieces) List() *[maxPieces][]byte { return &p.list }

// Write sends to a non-blocking descriptor as much as it takes. sent is how many
// bytes that were. The error is syscall.EAGAIN if some have to wait for room, or
// the system's; after that they are dropped.
func (p *Pieces) Write(fd uintptr) (sent int, err error) {
	if first := p.list[0]; len(first) > 0 && len(p.list[1])+len(p.list[2]) == 0 {
		// Short answers and requests are one piece, and leave whole.
		sent, err = WriteOnce(fd, first)
		switch {
		case err == syscall.EAGAIN:
			return 0, err
		case err == nil && sent == len(first):
			p.list[0] = nil
			return sent, nil
		case err == nil:
			p.list[0] = first[sent:]
		}
	}
	for {
		n, left, errno := p.once(fd)
		switch {
		case left == 0:
			p.Drop()
			return sent, nil
		case errno == 0:
			sent += n
			p.took(n)
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return sent, syscall.EAGAIN
		default:
			p.Drop()
			return sent, os.NewSyscallError("write", errno)
		}
	}
}

// once makes one system call; left is how many pieces there were to send.
func (p *Pieces) once(fd uintptr) (n, left int, errno syscall.Errno) {
	var iov [maxPieces]syscall.Iovec
	for _, piece := range p.list {
		if len(piece) > 0 {
			iov[left].Base = unsafe.SliceData(piece)
			iov[left].SetLen(len(piece))
			left++
		}
	}
	var done uintptr
	switch left {
	case 0:
		return 0, 0, 0
	case 1:
		done, _, errno = syscall.RawSyscall6(syscall.SYS_SENDTO, fd,
			uintptr(unsafe.Pointer(iov[0].Base)), uintptr(iov[0].Len), unix.MSG_NOSIGNAL, 0, 0)
	default:
		done, _, errno = syscall.RawSyscall(syscall.SYS_WRITEV, fd,
			uintptr(unsafe.Pointer(&iov)), uintptr(left))
	}
	return int(done), left, errno
}

// took drops the n bytes that the kernel took.
func (p *Pieces) took(n int) {
	for i := range p.list {
		first := min(n, len(p.list[i]))
		p.list[i] = p.list[i][first:]
		n -= first
	}
}

// ReadOnce is recv(2) on a non-blocking socket; read(2) would come to the same by
// way of the file system's layer. The end of the stream is 0 bytes and no error;
// the error is syscall.EAGAIN or another bare number.
func ReadOnce(fd uintptr, p []byte) (int, error) { return transfer(syscall.SYS_RECVFROM, fd, p, 0) }

// WriteOnce is send(2) on a non-blocking socket. The error is syscall.EAGAIN or
// another bare number.
func WriteOnce(fd uintptr, p []byte) (int, error) {
	return transfer(syscall.SYS_SENDTO, fd, p, unix.MSG_NOSIGNAL)
}

// Waits tells whether bytes have come that nobody has read.
func Waits(fd uintptr) bool {
	var one [1]byte
	n, err := transfer(syscall.SYS_RECVFROM, fd, one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n > 0 && err == nil
}

// transfer is recv(2) or send(2), again where a signal came first.
func transfer(trap, fd uintptr, p []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(trap, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
			continue
		}
		return 0, errno
	}
}
