package upstream

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"perigee/luavm/socket"
)

// link is the bottom of a connection: the socket that HTTP, or TLS under HTTP,
// is spoken on, with the deadlines and the cancel mark of the exchange that
// uses it. Under TLS it is crypto/tls's net.Conn.
type link struct {
	net.Conn
	*polled // nil: a loop has made the connection

	deadlines deadlines
	// state is epoch<<1 | canceled. Cancel and the end of an exchange race for
	// it, so that a late Cancel never reaches the next exchange.
	state atomic.Uint64

	// Whether the present call got as far as waiting. Each is one side's.
	waitedRead, waitedWrite bool
	// probing makes Read answer errQuiet where it would wait.
	probing bool

	// resident is nil unless the connection lives in an event loop; then
	// nothing but the addresses of Conn is used.
	resident *resident
	remote   net.Addr // of a connection that a loop has made
}

// polled is what a connection needs that the runtime's poller wakes.
type polled struct {
	socket *socket.Socket
	raw    syscall.RawConn
	// probe is readReady's operand and outcome, and its callback, bound once so
	// that a look at a kept connection allocates nothing.
	probe struct {
		p   []byte
		n   int
		err error
		one [1]byte
		try func(fd uintptr)
	}
	turn turn
}

// errNoSocket cannot come from a dialer of TCP or unix sockets.
var errNoSocket = errors.New("connection has no file descriptor")

// open makes l use nc.
func (l *link) open(nc net.Conn) error {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return errNoSocket
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	l.Conn, l.polled = nc, &polled{raw: raw}
	l.socket = socket.New(nc, l.beforeWait)
	l.turn.step = l.turnStep
	l.probe.try = func(fd uintptr) { l.probe.n, l.probe.err = readSocket(fd, l.probe.p) }
	return nil
}

// beforeWait arms the deadline of a wait.
func (l *link) beforeWait(write bool) error {
	var err error
	if write {
		l.waitedWrite = true
		err = l.deadlines.write(l.Conn)
	} else {
		l.waitedRead = true
		err = l.deadlines.read(l.Conn)
	}
	if err != nil {
		return err
	}
	// Cancel sets its mark before it sets a deadline in the past. If ours has
	// just replaced that one, the mark is visible here.
	if l.canceled() {
		return ErrCanceled
	}
	return nil
}

// startHead begins the Response timeout; a loop keeps its own.
func (l *link) startHead() {
	if l.resident != nil {
		if lane := l.resident.lane; lane != nil && lane.waits != nil {
			l.deadlines.headDue.Store(true)
			signal(lane.waits.read) // its time-out is another one now
		}
		return
	}
	l.deadlines.startHead(l.Conn)
	if l.canceled() {
		// The reader's deadline, armed from here, may have replaced Cancel's
		// before the reader woke up to it.
		_ = l.SetReadDeadline(longAgo)
	}
}

func (l *link) canceled() bool { return l.state.Load()&1 != 0 }

// endExchange makes every Canceler of the exchange void. ok says that none came
// before.
func (l *link) endExchange() (ok bool) {
	epoch := l.state.Load() >> 1
	return l.state.CompareAndSwap(epoch<<1, (epoch+1)<<1)
}

// nextExchange makes a link that endExchange has ended usable again, though its
// exchange was canceled: others share the socket.
func (l *link) nextExchange() {
	if state := l.state.Load(); state&1 != 0 {
		l.state.Store((state>>1 + 1) << 1)
	}
}

// send writes the pieces, waiting for room.
func (l *link) send(a, b, c []byte) error {
	if l.resident != nil {
		return l.resident.send(l, a, b, c)
	}
	l.waitedWrite = false
	err := l.socket.Write(a, b, c)
	if err == nil || l.waitedWrite || !isTimeout(err) {
		return err
	}
	// The poller refused at once: an earlier exchange's deadline has passed
	// while nobody waited, and nothing was sent. Arm this one's.
	if err := l.beforeWait(true); err != nil {
		return err
	}
	return l.socket.Write(a, b, c)
}

// receive waits for bytes and reads once.
func (l *link) receive(p []byte) (int, error) {
	if l.resident != nil {
		return l.resident.receive(l, p)
	}
	l.waitedRead = false
	n, err := l.socket.Read(p)
	if err == nil || l.waitedRead || !isTimeout(err) {
		return n, err
	}
	if err := l.beforeWait(false); err != nil { // as in send
		return 0, err
	}
	return l.socket.Read(p)
}

// Close closes the connection.
func (l *link) Close() error {
	if l.resident != nil {
		l.resident.who.Close()
		return nil
	}
	return l.Conn.Close()
}

// Read implements net.Conn for crypto/tls.
func (l *link) Read(p []byte) (int, error) {
	if l.probing {
		return l.readReady(p)
	}
	return l.receive(p)
}

// Write implements net.Conn for crypto/tls.
func (l *link) Write(p []byte) (int, error) {
	if err := l.send(p, nil, nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// readReady reads once without waiting.
func (l *link) readReady(p []byte) (n int, err error) {
	l.probe.p = p
	err = l.raw.Control(l.probe.try)
	l.probe.p = nil
	if err != nil {
		return 0, err
	}
	return l.probe.n, l.probe.err
}

// readSocket is read(2) with the end of the stream as io.EOF and an empty socket
// as errQuiet.
func readSocket(fd uintptr, p []byte) (int, error) {
	n, err := socket.ReadOnce(fd, p)
	switch {
	case err == syscall.EAGAIN:
		return 0, errQuiet
	case n == 0 && err == nil:
		return 0, io.EOF
	}
	return n, err
}

// errQuiet says that a socket has nothing to tell. crypto/tls goes on after an
// error that calls itself temporary.
var errQuiet error = quietError{}

type quietError struct{}

func (quietError) Error() string   { return "nothing to read" }
func (quietError) Timeout() bool   { return true }
func (quietError) Temporary() bool { return true }

// turn is the moment when a request's last bytes leave and its sender begins to
// wait for the answer. Both are one call to the poller:
//
//	lock, forget old readiness
//	read(2): EAGAIN          kept connections only: nothing came while idle
//	write(2): the request
//	wait for readiness       an answer cannot slip in between unnoticed,
//	read(2): the answer      because readiness was forgotten before the write
//
// A plain Write and Read make the same system calls in another order: there the
// read that finds nothing comes behind the write and tells nothing. Here it is
// the proof that a kept connection is still open and that no byte waits on it
// which would be taken for the answer; and when it is not so, nothing has been
// sent. A new connection needs no proof and saves the call: 7% of the CPU of a
// small exchange.
type turn struct {
	pieces  [3][]byte
	into    []byte
	phase   turnPhase
	n       int
	err     error
	sendErr error

	step func(fd uintptr) bool // turnStep, bound once
}

type turnPhase uint8

const (
	turnProbe turnPhase = iota
	turnSend
	turnRead
)

// takeTurn sends the pieces and reads the first bytes of the answer. sendErr is
// why not all was sent; there may be an answer nevertheless. probed false says
// that the connection was found unusable and nothing was sent.
func (l *link) takeTurn(pieces [3][]byte, into []byte, first turnPhase) (n int, probed bool, sendErr, err error) {
	t := &l.turn
	t.pieces, t.into, t.phase = pieces, into, first
	t.n, t.err, t.sendErr = 0, nil, nil
	l.waitedRead = false
	err = l.raw.Read(t.step)
	if err != nil && t.phase == first && isTimeout(err) {
		// An old deadline has passed, as in send.
		if err = l.beforeWait(false); err == nil {
			err = l.raw.Read(t.step)
		}
	}
	if err == nil {
		err = t.err
	}
	t.pieces, t.into = [3][]byte{}, nil
	return t.n, t.phase != turnProbe, t.sendErr, err
}

func (l *link) turnStep(fd uintptr) bool {
	t := &l.turn
	if t.phase == turnProbe {
		if _, t.err = readSocket(fd, t.into); t.err != errQuiet {
			if t.err == nil {
				t.err = errUnasked
			}
			return true
		}
		t.phase, t.err = turnSend, nil
	}
	if t.phase == turnSend {
		t.phase = turnRead
		if t.sendErr = l.send(t.pieces[0], t.pieces[1], t.pieces[2]); t.sendErr == nil {
			l.startHead()
			t.err = l.beforeWait(false)
			return t.err != nil
		}
	}
	t.n, t.err = readSocket(fd, t.into)
	if t.err == errQuiet && t.sendErr == nil {
		t.err = l.beforeWait(false)
		return t.err != nil
	}
	return true
}

// errUnasked is the state of a kept connection that bytes came on before a
// request was sent: they must not be taken for its answer.
var errUnasked = errors.New("endpoint sent bytes that no request asked for")
