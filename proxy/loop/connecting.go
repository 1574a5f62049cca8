package loop

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"perigee/luavm"
	"perigee/proxy/upstream"
)

// connecting is a socket of the loop on its way to its peer. It is watched once;
// what becomes of it takes its slot over.
type connecting struct {
	loop   *Loop
	fd     int
	slot   uint32
	timer  timer
	remote net.Addr
	// done is told how it ended; on nil the descriptor is whoever's takes it.
	done func(k *connecting, err error)
}

// dial connects to an address. Its end is told to done later, or ended is true
// and done has been told already.
func (l *Loop) dial(kind int, to unix.Sockaddr, remote net.Addr, done func(*connecting, error)) (k *connecting, ended bool) {
	k = &connecting{loop: l, fd: -1, remote: remote, done: done}
	k.timer.owner = k
	domain := unix.AF_INET
	switch to.(type) {
	case *unix.SockaddrInet6:
		domain = unix.AF_INET6
	case *unix.SockaddrUnix:
		domain = unix.AF_UNIX
	}
	var err error
	if k.fd, err = unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		k.fail("socket", err)
		return k, true
	}
	if kind == unix.SOCK_STREAM && domain != unix.AF_UNIX {
		_ = unix.SetsockoptInt(k.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	err = unix.Connect(k.fd, to)
	if err != nil && err != unix.EINPROGRESS {
		k.fail("connect", err)
		return k, true
	}
	connected := err == nil
	// Not before connect: a socket without a peer reports that it is hung up.
	if k.slot, err = l.watch(k.fd, k, bothWays); err != nil {
		k.fail("epoll_ctl", err)
		return k, true
	}
	if connected {
		k.done(k, nil)
	}
	return k, connected
}

// ready implements source.
func (k *connecting) ready(events uint32) {
	errno, err := unix.GetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	k.loop.drop(&k.timer)
	switch {
	case err != nil:
		k.give("getsockopt", err)
	case errno != 0:
		k.give("connect", syscall.Errno(errno))
	default:
		l, slot := k.loop, k.slot
		k.done(k, nil)
		// The peer may have spoken already, or ended: an edge comes but once.
		if heir := l.slots[slot].source; heir != nil && heir != source(k) {
			heir.ready(events)
		}
	}
}

// expire implements timed.
func (k *connecting) expire(*timer) { k.give("", os.ErrDeadlineExceeded) }

// cancel ends the attempt; done is told.
func (k *connecting) cancel() {
	k.loop.drop(&k.timer)
	k.give("", errors.New("canceled"))
}

// give gives a watched socket up.
func (k *connecting) give(call string, err error) {
	k.loop.unwatch(k.slot)
	k.fail(call, err)
}

// fail closes the socket and tells of the error as package net would.
func (k *connecting) fail(call string, err error) {
	if k.fd >= 0 {
		_ = unix.Close(k.fd)
	}
	if call != "" {
		err = os.NewSyscallError(call, err)
	}
	k.done(k, &net.OpError{Op: "dial", Net: k.remote.Network(), Addr: k.remote, Err: err})
}

// sockaddr is an address as the system takes it.
func sockaddr(ap netip.AddrPort) unix.Sockaddr {
	if ip := ap.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ip.As4()}
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}
}

// keepAliveUpstream is after how many seconds the kernel asks whether a silent
// endpoint still exists.
const keepAliveUpstream = 30

// progress is how far an op has come that the loop may not be able to perform.
type progress uint8

const (
	declined  progress = iota // it is for a goroutine
	parked                    // its end comes later
	performed                 // it is complete
)

func progressOf(complete bool) progress {
	if complete {
		return performed
	}
	return parked
}

// dialHere connects to an endpoint that needs no name and no TLS.
func (t *task) dialHere(op *luavm.Op, timeouts upstream.Timeouts) progress {
	e := t.ex.Endpoint
	to, ok := e.Direct()
	if !ok {
		return declined
	}
	inline := true
	k, ended := t.loop.dial(unix.SOCK_STREAM, sockaddr(to), net.TCPAddrFromAddrPort(to), func(k *connecting, err error) {
		op.Err = t.dialed(k, timeouts, err)
		if !inline {
			t.done(op)
		}
	})
	inline = false
	if !ended {
		t.loop.set(&k.timer, timeouts.Connect)
	}
	return progressOf(ended)
}

// dialed makes a connection of a socket that has reached its endpoint.
func (t *task) dialed(k *connecting, timeouts upstream.Timeouts, err error) error {
	e := t.ex.Endpoint
	if err != nil {
		t.ex.SetUp(nil)
		return e.NotConnected(err)
	}
	for _, o := range [...]struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveUpstream}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveUpstream},
	} {
		_ = unix.SetsockoptInt(k.fd, o.level, o.name, o.value)
	}
	conn := e.Connected(k.fd, t.loop.index, k.remote, timeouts)
	t.loop.adopt(conn, k.fd, k.slot)
	t.ex.SetUp(conn)
	return nil
}

// connectSocket performs an OpSockConnect to an address.
func (t *task) connectSocket(op *luavm.Op) progress {
	direct, ok := op.Direct()
	if !ok {
		return declined
	}
	l, inline := t.loop, true
	k, ended := l.dial(direct.Kind, direct.To, direct.Remote, func(k *connecting, err error) {
		op.OnCancel(nil)
		if err != nil {
			op.NotConnected(err)
		} else {
			p := l.newTap(k.fd)
			p.slot = k.slot
			l.slots[k.slot].source = p
			op.Connected(k.fd, p)
		}
		if !inline {
			t.done(op)
		}
	})
	inline = false
	if !ended {
		l.set(&k.timer, max(1, op.Timeout()))
		op.OnCancel(func() { l.post(connectCanceled{k, k.slot, l.slots[k.slot].turn}) })
	}
	return progressOf(ended)
}

// connectCanceled is a connect that nobody waits for any more, unless it has
// ended.
type connectCanceled struct {
	k    *connecting
	slot uint32
	turn uint32
}

func (c connectCanceled) posted() {
	s := &c.k.loop.slots[c.slot]
	if s.turn == c.turn && s.source == source(c.k) {
		c.k.cancel()
	}
}
