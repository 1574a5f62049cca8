package upstream

import (
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"perigee/luavm/socket"
)

// A connection can live in an event loop instead of the runtime's poller. It is
// the same Conn with the same rules; where it would wait, it answers ErrWait:
//
//	loop                              Conn
//	AcquireIn(home) ----------------> idle connection of that home, or none
//	DialFor, on a goroutine --------> a connection; Settle moves it in
//	ReadHead, NextBody, Write, Flush: bytes, an error, or ErrWait
//	event: Ready(...), the same call again
//	time is over: Expire, the same call again: a time-out
//	Canceler.Cancel, from anywhere -> Resident.Canceled -> the same call again
//
// A home is the number of a loop. Idle connections are kept per home, so that a
// connection never leaves the loop whose epoll knows it.

// ErrWait says that a connection which lives in an event loop has to wait:
// for room if Sending, else for bytes.
var ErrWait = errQuiet

// A Resident is what an event loop knows of a connection that lives in it. Its
// methods may be called from any thread and must not block.
type Resident interface {
	// Canceled says that the exchange on the connection was canceled: whatever
	// waits for it is to be tried again.
	Canceled()
	// Now is the time as the loop has last taken it; only its thread asks.
	Now() time.Time
	// Close closes the descriptor. Nothing uses the connection any more.
	Close()
}

// resident is a link in an event loop. But for who, all belongs to the loop's
// thread.
type resident struct {
	fd   int
	home int
	who  Resident

	readable bool // bytes, or the end, may be there
	ended    bool // the endpoint sends no more: a short read is not the last
	late     bool // the wait that is going on has taken too long
	pieces   socket.Pieces

	lane *lane // of a trunk; nil: fd is the connection's own
}

// settle takes the descriptor away from the runtime's poller.
func (l *link) settle(home int) error {
	fd := -1
	err := l.raw.Control(func(v uintptr) { fd, _ = unix.FcntlInt(v, unix.F_DUPFD_CLOEXEC, 3) })
	if err == nil && fd < 0 {
		err = os.NewSyscallError("dup", syscall.EMFILE)
	}
	_ = l.Conn.Close() // its addresses are still asked for
	if err != nil {
		return err
	}
	l.resident = &resident{fd: fd, home: home}
	return nil
}

// leave gives the descriptor back to the runtime's poller.
func (l *link) leave() (net.Conn, error) {
	fd, err := unix.FcntlInt(uintptr(l.resident.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	nc, err := net.FileConn(f)
	_ = f.Close()
	if err == nil {
		l.resident.who.Close()
	}
	return nc, err
}

// has tells whether there may be something to read.
func (r *resident) has() bool {
	if r.lane != nil {
		return r.lane.trunk.proto.has(r.lane.conn)
	}
	return r.readable
}

// receive reads once, if there may be something.
func (r *resident) receive(l *link, p []byte) (int, error) {
	switch {
	case l.canceled():
		return 0, ErrCanceled
	case r.late:
		r.late = false
		return 0, os.ErrDeadlineExceeded
	case r.lane != nil:
		return r.lane.receive(p)
	case !r.readable:
		return 0, errQuiet
	}
	n, err := readSocket(uintptr(r.fd), p)
	if err == errQuiet || n > 0 && n < len(p) && !r.ended {
		r.readable = false
	}
	if err != nil && err != errQuiet && err != io.EOF {
		err = os.NewSyscallError("read", err)
	}
	return n, err
}

// send begins to send the pieces.
func (r *resident) send(l *link, a, b, c []byte) error {
	r.pieces.Set(a, b, c)
	return r.flush(l)
}

// flush sends what is left of the pieces, as far as there is room.
func (r *resident) flush(l *link) error {
	switch {
	case l.canceled():
		return ErrCanceled
	case r.late:
		r.late = false
		return os.ErrDeadlineExceeded
	case r.lane != nil:
		return r.lane.send(r.pieces.List())
	}
	if _, err := r.pieces.Write(uintptr(r.fd)); err != syscall.EAGAIN {
		return err
	}
	return errQuiet
}

func (r *resident) sending() bool {
	if r.lane != nil && r.lane.trunk.proto.sending(r.lane.conn) {
		return true
	}
	return r.pieces.Any()
}

// AcquireIn gives a connection of a home that is idle at the time, for one
// exchange. None, and no
// error: the caller dials by DialFor, once, or says GiveUp. The error is
// ErrBusy.
func (e *Endpoint) AcquireIn(home int, at time.Time, t Timeouts, fresh bool) (*Conn, error) {
	limits := e.limits.Load()
	if !e.admit(limits) {
		return nil, ErrBusy
	}
	if fresh {
		return nil, nil
	}
	c := e.homes[home].take(monotonicOf(at), limits.IdleTimeout)
	if c != nil {
		e.reused.Add(1)
		c.begin(t, limits)
	}
	return c, nil
}

// DialFor makes a connection for an exchange whose AcquireIn has found none. It
// blocks. The connection moves in by Settle.
func (e *Endpoint) DialFor(t Timeouts) (*Conn, error) { return e.dial(t, e.limits.Load()) }

// Direct is the address of an endpoint that can be connected to without asking
// for a name and without TLS.
func (e *Endpoint) Direct() (netip.AddrPort, bool) {
	d := e.dialer
	return d.direct, d.direct.IsValid() && d.tls == nil && e.registry.dial.Load() == nil
}

// Connected is DialFor by the loop itself: fd has been connected to Direct.
func (e *Endpoint) Connected(fd, home int, remote net.Addr, t Timeouts) *Conn {
	c := &Conn{endpoint: e}
	c.link.remote = remote
	c.link.resident = &resident{fd: fd, home: home}
	e.dialed.Add(1)
	c.begin(t, e.limits.Load())
	return c
}

// NotConnected is a DialFor by the loop that has failed. The error is a
// *ConnectError.
func (e *Endpoint) NotConnected(err error) error {
	e.inFlight.Add(-1)
	return e.dialer.failure(err, ConnectOther)
}

// Settle makes the connection live in an event loop; false: it cannot, because
// it speaks TLS. It is then used as any other, by goroutines.
func (c *Conn) Settle(home int) (fd int, settled bool, err error) {
	if c.tls != nil {
		return 0, false, nil
	}
	if err := c.link.settle(home); err != nil {
		c.dropBuffers()
		c.endpoint.giveUp()
		return 0, false, c.endpoint.dialer.failure(err, ConnectOther)
	}
	return c.link.resident.fd, true, nil
}

// Tell says who is told of what happens to the connection; it is settled.
func (c *Conn) Tell(who Resident) { c.link.resident.who = who }

// Resident is who Tell named; nil: the connection lives in no loop.
func (c *Conn) Resident() Resident {
	if c.link.resident == nil {
		return nil
	}
	return c.link.resident.who
}

// Ready says that there are bytes to read, or with ended that none follow
// those.
func (c *Conn) Ready(ended bool) {
	r := c.link.resident
	r.readable = true
	r.ended = r.ended || ended
}

// Expire makes the call that waits fail with a time-out when it is tried again.
func (c *Conn) Expire() { c.link.resident.late = true }

// Sending tells whether bytes wait for room.
func (c *Conn) Sending() bool { return c.link.resident.sending() }

// Flush goes on with a Write that has answered ErrWait.
func (c *Conn) Flush() error {
	err := c.link.resident.flush(&c.link)
	if err == nil || err == errQuiet {
		return err
	}
	return c.failure(StepSend, err)
}

// Evict closes the connection if no exchange uses it: something came on it, or
// its end. false: one does.
func (c *Conn) Evict() bool {
	if !c.endpoint.homes[c.link.resident.home].remove(c) {
		return false
	}
	c.closeIdle()
	return true
}

// turnHome is turn for a connection in an event loop: it sends what is to be
// sent and does not look for an answer before the loop has heard of one.
func (c *Conn) turnHome(p []byte) (int, error) {
	r := c.link.resident
	var err error
	if !c.has(markSent) {
		if c.kept && r.readable {
			return 0, c.failure(StepSend, errUnasked)
		}
		c.mark(markSent)
		err = r.send(&c.link, c.last[0], c.last[1], c.last[2])
	} else if r.sending() {
		err = r.flush(&c.link)
	} else {
		err = r.send(&c.link, c.last[0], c.last[1], c.last[2])
	}
	if err == errQuiet {
		return 0, err
	}
	c.last, c.hasLast = [3][]byte{}, false
	if err == nil {
		c.SentAll()
	} else {
		r.readable = true // an answer may have come before the end
	}
	if len(p) == 0 {
		if c.makeRoom(); c.mem == nil && err == nil {
			return 0, errQuiet // and there was neither a cancel nor a time-out
		}
		p = c.mem
	}
	n, readErr := c.link.receive(p)
	switch {
	case n > 0:
		return n, nil
	case err != nil:
		return 0, c.failure(StepSend, err)
	case readErr == errQuiet:
		return 0, readErr
	}
	return 0, c.failure(StepHead, readErr)
}
