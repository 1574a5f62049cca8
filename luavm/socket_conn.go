package luavm

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"perigee/luavm/socket"
)

// Outcomes of socket ops beside counts and -errno: PG_SOCK_*.
const (
	sockTimeout    = -1001
	sockBroken     = -1002
	sockAborted    = -1003
	sockUnresolved = -1004
	sockRefused    = -1005
)

// A conn is the Go side of a script's socket: it waits where C cannot. One op
// may read while another writes; C sees to it that there are no more.
//
//	C: send, recv at once   -->  room or bytes: no op at all
//	      | would wait
//	      v
//	conn.read, conn.write   -->  the poller waits, deadlines armed late
//
// A conn is closed by its VM's table alone, when C says so.
type conn struct {
	nc  net.Conn
	io  *socket.Socket // nc without TLS
	tls *tls.Conn      // nil for plain
	// session is what TLS learned to resume from.
	session *tlsSession

	reading, writing side

	// A socket that lives in an event loop: nc is closed then.
	resident Resident
	fd       int
	sent     int // bytes of the write that is going on
}

// A side is one direction of a conn.
type side struct {
	set     func(time.Time) error
	timeout time.Duration
	due     time.Duration // when the present op's timeout ends; 0: it did not wait yet
	armed   time.Duration // the deadline in force; 0: none
	op      *Op

	// mu holds back a deadline that would replace a cancel's.
	mu       sync.Mutex
	canceled bool
	end      func() // cancel, bound once
}

// The clock of deadlines. time.Now with its wall clock costs twice as much.
var clockStart = time.Now()

func clock() time.Duration { return time.Since(clockStart) }

// longAgo is the deadline that ends every wait at once.
var longAgo = time.Unix(1, 0)

func newConn(nc net.Conn) *conn {
	k := &conn{}
	k.use(nc)
	k.reading.end, k.writing.end = k.reading.cancel, k.writing.cancel
	return k
}

// use makes nc what the connection is read from and written to.
func (k *conn) use(nc net.Conn) {
	k.nc = nc
	k.io = socket.New(nc, k.beforeWait)
	k.reading.set, k.writing.set = nc.SetReadDeadline, nc.SetWriteDeadline
	k.reading.armed, k.writing.armed = 0, 0
}

// descriptor is the socket's, for C.
func (k *conn) descriptor() int32 {
	fd := -1
	_ = k.io.Control(func(v uintptr) { fd = int(v) })
	return int32(fd)
}

func (k *conn) beforeWait(write bool) error {
	if write {
		return k.writing.arm()
	}
	return k.reading.arm()
}

func (s *side) begin(op *Op, timeout time.Duration) {
	s.op, s.timeout, s.due = op, timeout, 0
}

// arm makes sure that a deadline is in force before the op waits. A deadline
// costs 160 ns, so one of a second or so is set a little late and then serves
// the waits of the next ops too.
func (s *side) arm() error {
	at := clock()
	if s.due == 0 {
		s.due = at + s.timeout
		s.op.OnCancel(s.end)
	}
	slack := time.Duration(0)
	if s.timeout >= 200*time.Millisecond {
		slack = min(s.timeout/16, time.Second)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.canceled {
		return errCanceled
	}
	if s.armed >= s.due && s.armed <= s.due+slack {
		return nil
	}
	s.armed = s.due + slack
	return s.set(clockStart.Add(s.armed))
}

// errCanceled ends an op that nobody waits for any more.
var errCanceled = errors.New("canceled")

// cancel makes the side useless: a wait ends at once, and so does every other.
func (s *side) cancel() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.canceled = true
	_ = s.set(longAgo) // of a closed connection: nobody waits there
}

// disarm takes a deadline back that was set for both sides at once.
func (s *side) disarm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.canceled {
		s.armed = 0
		_ = s.set(time.Time{}) // of a closed connection: nobody waits there
	}
}

// again tells whether err comes of a deadline that an earlier op left behind.
func (s *side) again(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || s.due != 0 && clock() >= s.due {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.canceled {
		return false
	}
	s.armed = 0
	return s.set(time.Time{}) == nil
}

// read waits for bytes and reads some.
func (k *conn) read(op *Op, p []byte, timeout time.Duration) (int, error) {
	k.reading.begin(op, timeout)
	for {
		n, err := k.readOnce(p)
		if err == nil || !k.reading.again(err) {
			return n, err
		}
	}
}

func (k *conn) readOnce(p []byte) (int, error) {
	if k.tls == nil {
		return k.io.Read(p)
	}
	if err := k.reading.arm(); err != nil {
		return 0, err
	}
	return k.tls.Read(p)
}

// write sends all of p.
func (k *conn) write(op *Op, p []byte, timeout time.Duration) error {
	k.writing.begin(op, timeout)
	if k.tls != nil {
		if err := k.writing.arm(); err != nil {
			return err
		}
		_, err := k.tls.Write(p)
		return err
	}
	for {
		err := k.io.Write(p, nil, nil)
		if err == nil || !k.writing.again(err) {
			return err
		}
	}
}

// outcome is a failure as scripts' ops report it.
func outcome(err error) int32 {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno) && errno != 0:
		return -int32(errno)
	case isTimeout(err):
		return sockTimeout
	}
	return sockBroken
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// cancel ends whatever waits on either side, and the connection's use.
func (k *conn) cancel() {
	k.reading.cancel()
	k.writing.cancel()
}

func (k *conn) close() {
	if k.resident != nil {
		k.resident.Close()
		return
	}
	// Without a TLS close: it would wait for the peer to take the alert.
	_ = k.nc.Close()
}

// conns are a VM's connections, by the handle that C knows them by.
type conns struct {
	mu     sync.Mutex
	all    []*conn // handle-1
	free   []uint32
	open   atomic.Int64
	closed bool
}

// add gives a connection its handle; 0: the VM is closed.
func (t *conns) add(k *conn) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0
	}
	t.open.Add(1)
	if n := len(t.free); n > 0 {
		h := t.free[n-1]
		t.free = t.free[:n-1]
		t.all[h-1] = k
		return h
	}
	t.all = append(t.all, k)
	return uint32(len(t.all))
}

// get is the connection of a handle; nil: closed.
func (t *conns) get(h uint32) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h == 0 || int(h) > len(t.all) {
		return nil
	}
	return t.all[h-1]
}

// close closes one connection.
func (t *conns) close(h uint32) {
	t.mu.Lock()
	var k *conn
	if h != 0 && int(h) <= len(t.all) {
		k = t.all[h-1]
	}
	if k != nil {
		t.all[h-1] = nil
		t.free = append(t.free, h)
		t.open.Add(-1)
	}
	t.mu.Unlock()
	if k != nil {
		k.close()
	}
}

// end closes all of them, and those that come later.
func (t *conns) end() {
	t.mu.Lock()
	all := t.all
	t.all, t.free, t.closed = nil, nil, true
	t.mu.Unlock()
	for _, k := range all {
		if k != nil {
			t.open.Add(-1)
			k.close()
		}
	}
}
