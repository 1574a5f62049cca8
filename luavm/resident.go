package luavm

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"perigee/luavm/shim"
	"perigee/luavm/socket"
)

// A host with an event loop performs what its scripts wait for without a
// goroutine:
//
//	op.Timed()    time, or somebody's word: the host's own timers, and
//	              OnInterrupt for the word
//	op.Socket()   a plain socket: its descriptor moves into the host's epoll
//	              once, and Attempt is tried at each event
//	other ops     Perform, on a goroutine
//
// A socket that was moved and is then used by Perform, or by another loop,
// moves back: connections outlive exchanges in their VM's pool, and the next
// user may be a timer's handler.

// A Resident is an event loop's record of a script's socket. Close may be called
// from any thread: the loop closes the descriptor. It must not block.
type Resident interface {
	Close()
	// Ear is where the loop notes events that no op was waiting for. It lasts until
	// the loop has closed the descriptor.
	Ear() *Ear
}

// An Ear is where a loop notes what it hears of a socket.
type Ear = shim.Ear

// NewEar makes an ear, which the loop frees.
func NewEar() *Ear { return shim.NewEar() }

// A Socket is a script's plain connection as an event loop sees it.
type Socket struct {
	k    *conn
	sock *shim.Sock
}

// Direct is where an OpSockConnect leads that needs no name and no address of its
// own.
type Direct struct {
	Kind   int // unix.SOCK_STREAM or unix.SOCK_DGRAM
	To     unix.Sockaddr
	Remote net.Addr
}

// Direct tells where the op connects to, if a loop can do it.
func (op *Op) Direct() (d Direct, ok bool) {
	c := shim.SockAt(op.Number2)
	if op.w == nil || op.VM().pool.options.Dial != nil || len(op.Data2) > 0 {
		return d, false
	}
	d.Kind = unix.SOCK_STREAM
	if c.Flags&shim.SockDatagram != 0 {
		d.Kind = unix.SOCK_DGRAM
	}
	host := string(op.Data)
	if path, isUnix := cutPrefixFold(host, "unix:"); isUnix {
		d.To, d.Remote = &unix.SockaddrUnix{Name: path}, &net.UnixAddr{Name: path, Net: "unix"}
		op.Reply = append(op.Reply[:0], host...)
		return d, d.Kind == unix.SOCK_STREAM && len(path) < len(unix.RawSockaddrUnix{}.Path)
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if err != nil || ip.Zone() != "" || op.Int < 0 || op.Int > 65535 {
		return d, false
	}
	ip = ip.Unmap()
	at := netip.AddrPortFrom(ip, uint16(op.Int))
	if d.To = unix.Sockaddr(&unix.SockaddrInet6{Port: int(op.Int), Addr: ip.As16()}); ip.Is4() {
		d.To = &unix.SockaddrInet4{Port: int(op.Int), Addr: ip.As4()}
	}
	if d.Remote = net.Addr(net.TCPAddrFromAddrPort(at)); d.Kind == unix.SOCK_DGRAM {
		d.Remote = net.UDPAddrFromAddrPort(at)
	}
	op.Reply = append(op.Reply[:0], at.String()...)
	return d, true
}

// Connected gives the op the socket that it asked for: fd lives in the loop of
// who.
func (op *Op) Connected(fd int, who Resident) {
	k := &conn{resident: who, fd: fd}
	k.reading.end, k.writing.end = k.reading.cancel, k.writing.cancel
	k.reading.set, k.writing.set = noDeadline, noDeadline
	c := shim.SockAt(op.Number2)
	c.FD = int32(fd)
	op.Result = ResultOK
	if c.Handle = op.VM().conns.add(k); c.Handle == 0 {
		k.close()
		op.Result = sockBroken
		return
	}
	c.Listen(who.Ear())
}

// noDeadline is the deadline of a side that no poller waits for.
func noDeadline(time.Time) error { return nil }

// NotConnected says why the op got no socket.
func (op *Op) NotConnected(err error) { op.Result = outcome(err) }

// Timed tells whether the op waits for nothing but time or somebody's word, and
// how long at most; negative: no bound. Its end is reported by Over.
func (op *Op) Timed() (d time.Duration, ok bool) {
	if op.w == nil || op.w.slot.vm.pool.options.Clock != nil {
		return 0, false
	}
	switch op.Kind {
	case OpSleep, OpSemaphore, OpSockQueue:
		return op.bound(op.Seconds), true
	}
	return 0, false
}

// Over says how a Timed op has ended: whole, when its time is over, or by an
// interruption.
func (op *Op) Over(whole bool) {
	switch {
	case whole && op.Kind == OpSleep:
		op.Result = ResultOK
	case whole:
		op.Result = ResultTimeout
	case op.Kind == OpSleep:
		op.Result = ResultAborted
	default:
		op.Result = op.said()
	}
}

// Interrupted tells whether the op was cancelled or woken.
func (op *Op) Interrupted() bool {
	op.w.mu.Lock()
	defer op.w.mu.Unlock()
	return op.w.canceled || op.w.woken
}

// OnInterrupt is OnCancel for a performer that must hear of a wake, too.
func (op *Op) OnInterrupt(told func()) {
	w := op.w
	w.mu.Lock()
	now := w.canceled || w.woken
	w.told = told
	if now {
		w.told = nil
	}
	w.mu.Unlock()
	if now && told != nil {
		told()
	}
}

// Socket is the connection of an OpSockRead or OpSockWrite that an event loop
// can perform; ok false: it is for Perform.
func (op *Op) Socket() (s Socket, ok bool) {
	if op.Kind != OpSockRead && op.Kind != OpSockWrite {
		return s, false
	}
	c := shim.SockAt(op.Number2)
	k := op.VM().conns.get(c.Handle)
	if k == nil || k.tls != nil {
		return s, false
	}
	return Socket{k, c}, true
}

// Resident is what Settle was given; nil: the socket has not moved in.
func (s Socket) Resident() Resident { return s.k.resident }

// Settle moves the socket in: the runtime's poller forgets it. The loop has to
// watch fd for both directions, edge-triggered.
func (s Socket) Settle(who func(fd int) (Resident, error)) error {
	fd, err := s.k.detach()
	if err != nil {
		return err
	}
	resident, err := who(fd)
	if err != nil { // the poller's descriptor is closed: so is the socket
		_ = unix.Close(fd)
		return err
	}
	s.k.resident, s.k.fd = resident, fd
	s.sock.FD = int32(fd)
	s.sock.Listen(s.k.resident.Ear())
	return nil
}

// An Attempt is how far a try has come.
type Attempt uint8

// The attempts.
const (
	AttemptWaits   Attempt = iota // nothing is there: the next event tells more
	AttemptEmptied                // the op is done, and all that was there was read
	AttemptDone                   // the op is done; there may be more
)

// Attempt tries op, which is of this socket.
func (s Socket) Attempt(op *Op) Attempt {
	if op.Kind == OpSockWrite {
		return s.write(op)
	}
	room := s.sock.Room()
	n, err := socket.ReadOnce(uintptr(s.k.fd), room)
	switch {
	case err == syscall.EAGAIN:
		return AttemptWaits
	case err != nil:
		op.Result = outcome(os.NewSyscallError("read", err))
		return AttemptDone
	}
	op.Result = int32(n)
	if n < len(room) && s.sock.Flags&shim.SockDatagram == 0 {
		return AttemptEmptied
	}
	return AttemptDone
}

func (s Socket) write(op *Op) Attempt {
	for {
		p := s.sock.Unsent()[s.k.sent:]
		if len(p) == 0 {
			s.k.sent = 0
			op.Result = 0
			return AttemptDone
		}
		n, err := socket.WriteOnce(uintptr(s.k.fd), p)
		switch err {
		case nil:
			s.k.sent += n
		case syscall.EAGAIN:
			return AttemptWaits
		default:
			s.k.sent = 0
			op.Result = outcome(os.NewSyscallError("write", err))
			return AttemptDone
		}
	}
}

// Wait is how long op may take.
func (s Socket) Wait(op *Op) time.Duration { return op.bounded() }

// Fail ends op early: its time is over, or with aborted nobody wants it; then
// the side of the socket is of no more use.
func (s Socket) Fail(op *Op, aborted bool) {
	side := &s.k.reading
	if op.Kind == OpSockWrite {
		side = &s.k.writing
		s.k.sent = 0
	}
	op.Result = sockTimeout
	if aborted {
		side.mu.Lock()
		side.canceled = true
		side.mu.Unlock()
		op.Result = sockBroken
	}
}

// Useless tells whether an op that was cancelled has ended the side of op.
func (s Socket) Useless(op *Op) bool {
	side := &s.k.reading
	if op.Kind == OpSockWrite {
		side = &s.k.writing
	}
	side.mu.Lock()
	defer side.mu.Unlock()
	return side.canceled
}

// detach takes the socket from the runtime's poller: its descriptor is a new
// one.
func (k *conn) detach() (fd int, err error) {
	fd = -1
	err = k.io.Control(func(v uintptr) { fd, _ = unix.FcntlInt(v, unix.F_DUPFD_CLOEXEC, 3) })
	if err == nil && fd < 0 {
		err = os.NewSyscallError("dup", syscall.EMFILE)
	}
	if err != nil {
		return 0, err
	}
	_ = k.nc.Close()
	return fd, nil
}

// attach gives a socket that lives in a loop back to the runtime's poller.
func (k *conn) attach(c *shim.Sock) error {
	if k.resident == nil {
		return nil
	}
	fd, err := unix.FcntlInt(uintptr(k.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return os.NewSyscallError("dup", err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	nc, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		return err
	}
	c.Listen(nil)
	k.resident.Close()
	k.resident, k.fd = nil, -1
	k.use(nc)
	c.FD = k.descriptor()
	return nil
}
