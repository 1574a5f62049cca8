package loop

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"perigee/luavm/socket"
	"perigee/proxy/exchange"
)

// A client under TLS. Its handshake is a goroutine's, over a blocking
// connection; then the loop has the descriptor, and crypto/tls reads and writes
// a transport that never blocks:
//
//	socket --read(2)--> transport.Read --> tls.Conn.Read --> client.buf
//	          nothing there: errQuiet,       returns it and goes on from
//	          which is temporary             the same place when called again
//
//	pieces of an answer --> tls.Conn.Write --> transport.Write --> Loop.sealed
//	Loop.sealed --write(2)--> socket; what it has no room for waits in unsent
//
// The plaintext of an answer is sealed batch by batch, and the next batch only
// when the former has left: a slow client holds one batch. What crypto/tls sends
// of itself (alerts, answers to key updates) takes the same way.
type transport struct {
	// Conn is what the records travel on unless client is set. Closed then.
	net.Conn
	tls    *tls.Conn
	client *client // set: the loop has the descriptor

	open   bool   // the socket may have bytes
	unsent []byte // records that wait for room
	sealed int64  // plaintext bytes of an answer that are in records not sent
	frames frames

	// What the client's timer was last set at: part of a record that comes is no
	// reason to wait longer.
	idleOf uint64 // after so many requests it was found idle
	bodyOf int64  // so much of a body had come
}

const (
	recordSize = 16 << 10 // the plaintext of the longest record
	// sealBatch is how much plaintext is sealed before it is sent.
	sealBatch = 4 * recordSize
	// mostUnsent is a batch and what a client can make crypto/tls answer.
	mostUnsent = 2 * sealBatch
)

// quiet is a net.Error that leaves a tls.Conn as it is.
type quiet struct{}

func (quiet) Error() string   { return "nothing to read" }
func (quiet) Timeout() bool   { return true }
func (quiet) Temporary() bool { return true }

// errQuiet says that a read has to wait.
var errQuiet net.Error = quiet{}

// errStalled ends a connection whose client asks for more than it reads.
var errStalled = errors.New("records for a client that does not read pile up")

// Wrap gives what a connection's handshake and all after it is to run on, if
// Take is to take it.
func (s *Server) Wrap(nc net.Conn) net.Conn { return &transport{Conn: nc} }

// Take makes a connection, whose handshake on what Wrap gave is over, one of the
// loops' clients. False: it stays the caller's, as it was.
func (s *Server) Take(conn *tls.Conn, info *exchange.Conn) bool {
	t, ok := conn.NetConn().(*transport)
	if !ok {
		return false
	}
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		return false
	}
	s.open.Add(1) // a drain that begins now waits for it
	s.mu.Unlock()
	fd, err := duplicate(t.Conn)
	if err != nil {
		s.open.Add(-1)
		return false
	}
	_ = t.Conn.Close()
	c := &client{fd: fd, tls: t, info: *info}
	c.timer.owner = c
	t.tls, t.client = conn, c
	c.loop = s.leastBusy()
	c.loop.post(taken{c})
	return true
}

// duplicate gives a second descriptor of a connection.
func duplicate(nc net.Conn) (fd int, err error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return -1, ErrNoSocket
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	bad := raw.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 3) })
	return fd, errors.Join(bad, err)
}

// leastBusy is the active loop with the fewest connections.
func (s *Server) leastBusy() *Loop {
	least := s.loops[0]
	for _, l := range s.loops[:s.active.Load()] {
		if l.stats.clients.Load() < least.stats.clients.Load() {
			least = l
		}
	}
	return least
}

// taken is a connection on its way from its handshake.
type taken struct{ *client }

func (p taken) posted() {
	c := p.client
	if !c.enter() {
		return
	}
	l := c.loop
	l.stats.taken.Add(1)
	l.set(&c.timer, l.server.limits.Load().HeaderTime)
	// What crypto/tls has read behind the handshake comes with no event.
	c.readable = true
	l.current = c
	c.readHead()
}

// Read implements net.Conn for crypto/tls.
func (t *transport) Read(p []byte) (n int, err error) {
	switch c := t.client; {
	case c == nil:
		n, err = t.Conn.Read(p)
	case !t.open:
		return 0, errQuiet
	default:
		n, t.open, err = c.receive(p)
	}
	t.frames.follow(p[:n])
	return n, err
}

// Write implements net.Conn for crypto/tls. What it takes leaves with push.
func (t *transport) Write(p []byte) (int, error) {
	c := t.client
	switch {
	case c == nil:
		return t.writeThrough(p)
	case len(t.unsent)+len(p) > mostUnsent:
		return 0, errStalled
	case len(t.unsent) > 0:
		t.unsent = append(t.unsent, p...)
	default:
		c.loop.sealed = append(c.loop.sealed, p...)
	}
	return len(p), nil
}

// writeThrough writes to the connection, after what the loop has left.
func (t *transport) writeThrough(p []byte) (int, error) {
	if first := t.unsent; len(first) > 0 {
		t.unsent = nil
		if _, err := t.Conn.Write(first); err != nil {
			return 0, err
		}
	}
	return t.Conn.Write(p)
}

// read reads what crypto/tls can give now. As long as it may have more, the
// client counts as readable.
func (t *transport) read(p []byte) (int, error) {
	c := t.client
	c.loop.sealed = c.loop.sealed[:0]
	n, err := t.tls.Read(p)
	if len(c.loop.sealed) > 0 {
		_, _ = t.push() // an error comes back with the next read or write
	}
	switch {
	case n > 0:
		// What was read ahead of it (an error too) comes with the next read.
		if n < len(p) && t.frames.spent() {
			c.readable = t.open
		}
		return n, nil
	case err == errQuiet:
		t.frames.whole = 0
		c.readable = false
		return 0, errQuiet
	case !isEnd(err):
		c.broken = true // crypto/tls has said why, and says no more
	}
	return 0, err
}

// push sends the records that are sealed; done false: some wait for room. After
// an error they are dropped.
func (t *transport) push() (done bool, err error) {
	c := t.client
	out := t.unsent
	kept := len(out) > 0
	if !kept {
		out = c.loop.sealed
	}
	for len(out) > 0 {
		n, err := socket.WriteOnce(uintptr(c.fd), out)
		if err == syscall.EAGAIN {
			if !kept {
				out = append([]byte(nil), out...)
			}
			t.unsent = out
			return false, nil
		}
		if err != nil {
			t.unsent = nil
			c.broken, c.closes = true, true
			return true, err
		}
		out = out[n:]
	}
	t.unsent = nil
	if t.sealed > 0 {
		c.sent += t.sealed
		t.sealed = 0
	}
	return true, nil
}

// flush seals and sends pieces; done false: some wait for room.
func (t *transport) flush(p *socket.Pieces) (done bool, err error) {
	l := t.client.loop
	l.sealed = l.sealed[:0]
	for {
		if done, err = t.push(); !done {
			return false, nil
		}
		if err != nil || !p.Any() {
			p.Drop()
			return true, err
		}
		l.sealed = l.sealed[:0]
		for room := sealBatch; room > 0 && p.Any(); {
			plain := l.cutPlain(p.List())
			if _, err = t.tls.Write(plain); err != nil {
				t.client.broken, t.client.closes = true, true
				p.Drop()
				return true, err
			}
			room -= len(plain)
			t.sealed += int64(len(plain))
		}
	}
}

// cutPlain cuts the plaintext of the next record off pieces, which are gathered
// where they are short. It is valid until the next call.
func (l *Loop) cutPlain(pieces *[3][]byte) []byte {
	var first, rest = 0, 0
	for i, piece := range pieces {
		switch {
		case len(pieces[first]) == 0:
			first = i
		case i > first:
			rest += len(piece)
		}
	}
	if piece := pieces[first]; rest == 0 || len(piece) >= recordSize {
		n := min(len(piece), recordSize)
		pieces[first] = piece[n:]
		return piece[:n]
	}
	l.plain = l.plain[:0]
	for i, piece := range pieces {
		n := min(len(piece), recordSize-len(l.plain))
		l.plain = append(l.plain, piece[:n]...)
		pieces[i] = piece[n:]
	}
	return l.plain
}

// say sends a short text at once; false: it did not go whole.
func (t *transport) say(text []byte) bool {
	l := t.client.loop
	l.sealed = l.sealed[:0]
	if _, err := t.tls.Write(text); err != nil {
		return false
	}
	done, err := t.push()
	return done && err == nil
}

// bye tells the client that no more comes (close_notify, RFC 8446 §6.1), if there
// is room for it.
func (t *transport) bye() {
	c := t.client
	if c == nil || c.broken {
		return
	}
	c.loop.sealed = c.loop.sealed[:0]
	if t.tls.CloseWrite() == nil {
		_, _ = t.push()
	}
}

// ready is told of epoll's events before its client is.
func (t *transport) ready(events uint32) {
	c := t.client
	if c == nil {
		return
	}
	if events&^unix.EPOLLOUT != 0 {
		t.open = true
	}
	// What an answer waits with is flushed with it.
	if len(t.unsent) > 0 && events&unix.EPOLLOUT != 0 && (c.work == nil || c.out.op == nil) {
		_, _ = t.push()
	}
}

// isIdle tells whether the client has been found idle since its last request.
func (t *transport) isIdle() bool {
	was := t.idleOf == t.client.info.Requests
	t.idleOf = t.client.info.Requests
	return was
}

// leave gives the connection back to who may block: nc is its socket.
func (t *transport) leave(nc net.Conn) net.Conn {
	t.Conn, t.client = nc, nil
	return t.tls
}
