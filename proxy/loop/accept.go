package loop

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"perigee/proxy/exchange"
)

// listener is a listening socket that all active loops watch.
type listener struct {
	net.Listener
	fd        int // a duplicate, which is the loops'
	name      string
	acceptors []*acceptor
	closed    chan struct{}
	once      sync.Once
}

// acceptor is a listening socket as one loop watches it.
type acceptor struct {
	loop  *Loop
	fd    int
	slot  uint32
	name  string
	port  string // of the socket, as text
	addr  string // and its address, if it has but one
	looks bool   // it is watched
	pause timer
}

// listen makes the loop watch its listening sockets, or look away.
func (l *Loop) listen(looks bool) {
	for _, a := range l.acceptors {
		_ = a.listen(looks) // one that cannot be watched is others' to serve
	}
}

func (a *acceptor) listen(looks bool) (err error) {
	a.loop.drop(&a.pause)
	switch {
	case looks && !a.looks:
		if a.slot, err = a.loop.watch(a.fd, a, unix.EPOLLIN|unix.EPOLLEXCLUSIVE); err == nil {
			a.looks = true
		}
	case !looks && a.looks:
		_ = unix.EpollCtl(a.loop.epoll, unix.EPOLL_CTL_DEL, a.fd, nil)
		a.loop.unwatch(a.slot)
		a.looks = false
	}
	return err
}

// expire implements timed: the pause is over.
func (a *acceptor) expire(*timer) {
	if a.listen(true) != nil {
		a.rest()
	}
}

// rest makes the loop look away for a moment: no descriptors or memory are left.
// Exchanges that end give some back, and the socket would report itself at each
// poll.
func (a *acceptor) rest() {
	_ = a.listen(false)
	a.pause.owner = a
	a.loop.set(&a.pause, 10*time.Millisecond)
}

// keepAliveProbe is after how many seconds the kernel asks whether a silent
// client still exists.
const keepAliveProbe = 15

// ErrNoSocket says that a listener has no descriptor to watch.
var ErrNoSocket = errors.New("the listener has no descriptor that an event loop could watch")

// Serve accepts connections until ln is closed by Stop or Drain. name is the
// listener's label in metrics. The error is ErrNoSocket or the system's.
func (s *Server) Serve(ln net.Listener, name string) error {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return ErrNoSocket
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	w := &listener{Listener: ln, fd: -1, name: name, closed: make(chan struct{})}
	bad := raw.Control(func(fd uintptr) { w.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) })
	if err = errors.Join(bad, err); err != nil {
		return err
	}
	// Accepted sockets inherit these, but for those that are queued already; a
	// unix socket has none of them.
	for _, o := range [...]struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveProbe}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveProbe},
	} {
		_ = unix.SetsockoptInt(w.fd, o.level, o.name, o.value)
	}
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		_ = unix.Close(w.fd)
		return net.ErrClosed
	}
	s.listeners[w] = struct{}{}
	s.mu.Unlock()
	addr, port := "", ""
	if ap, err := netip.ParseAddrPort(ln.Addr().String()); err == nil {
		port = strconv.Itoa(int(ap.Port()))
		if !ap.Addr().IsUnspecified() {
			addr = ap.Addr().Unmap().String()
		}
	}
	s.onAll(func(l *Loop) {
		a := &acceptor{loop: l, fd: w.fd, name: name, addr: addr, port: port}
		l.acceptors = append(l.acceptors, a)
		s.mu.Lock()
		defer s.mu.Unlock()
		w.acceptors = append(w.acceptors, a)
		if l.index < int(s.active.Load()) {
			err = errors.Join(err, a.listen(true))
		}
	})
	if err != nil {
		w.close(s)
		return err
	}
	<-w.closed
	return nil
}

// Stop stops accepting at ln, whose Serve returns.
func (s *Server) Stop(ln net.Listener) {
	s.mu.Lock()
	var found *listener
	for w := range s.listeners {
		if w.Listener == ln {
			found = w
			delete(s.listeners, w)
		}
	}
	s.mu.Unlock()
	if found != nil {
		found.close(s)
	}
}

// close takes what the kernel has queued and closes the socket. It is not
// called on a loop's thread.
func (w *listener) close(s *Server) {
	w.once.Do(func() {
		_ = w.Listener.Close() // the duplicate keeps the queue
		s.mu.Lock()
		acceptors := w.acceptors
		s.mu.Unlock()
		for i, a := range acceptors {
			done := make(chan struct{})
			a.loop.post(function(func() {
				defer close(done)
				if i == 0 {
					a.acceptAll()
				}
				_ = a.listen(false)
				a.loop.acceptors = slices.DeleteFunc(a.loop.acceptors, func(b *acceptor) bool { return a == b })
			}))
			<-done
		}
		_ = unix.Close(w.fd)
		close(w.closed)
	})
}

// ready implements source.
func (a *acceptor) ready(uint32) { a.accept(acceptBatch) }

// acceptBatch is how many connections one loop takes at a wake-up: others may
// take the rest.
const acceptBatch = 32

func (a *acceptor) acceptAll() {
	for a.accept(acceptBatch) {
	}
}

// accept takes up to n connections; more may be there.
func (a *acceptor) accept(n int) (more bool) {
	l := a.loop
	for range n {
		fd, peer, err := unix.Accept4(a.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			if err == unix.ECONNABORTED || err == unix.EINTR {
				continue
			}
			if err != unix.EAGAIN {
				a.rest()
			}
			return false
		}
		limit := l.server.limits.Load().Connections
		if n := l.server.open.Add(1); limit > 0 && int(n)+l.server.opt.Others() > limit {
			l.server.open.Add(-1)
			l.server.opt.Refused(&exchange.Conn{Listener: a.name}, exchange.ErrTooMany)
			_ = unix.Close(fd)
			continue
		}
		// Not inherited: a connection that came before the listener was set up
		// would hold back the last piece of each answer for 40 ms.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		l.add(fd, a, peer)
	}
	return true
}

// local is a client's own address and port of this side.
func (a *acceptor) local(fd int) (addr, port string) {
	if a.addr != "" || a.port == "" {
		if a.port == "" {
			return "unix:", ""
		}
		return a.addr, a.port
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", a.port
	}
	_, addr, _ = splitAddr(sa)
	return addr, a.port
}

// splitAddr gives a socket's address in the forms that are asked for; a unix
// socket has none of them.
func splitAddr(sa unix.Sockaddr) (ap netip.AddrPort, addr, port string) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		ap = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr)
		if ip.Is4In6() {
			ip = ip.Unmap()
		}
		ap = netip.AddrPortFrom(ip, uint16(sa.Port))
	default:
		return ap, "unix:", ""
	}
	return ap, ap.Addr().String(), strconv.Itoa(int(ap.Port()))
}
