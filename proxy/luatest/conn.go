package luatest

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"perigee/luavm"
)

// Connections between a spec, its gateways and its stubs are real ones on
// loopback, made in pairs: nobody listens where others could come in, and each
// end says the address that the test wants it to have.

// pairs makes connected pairs of TCP sockets.
type pairs struct {
	mu sync.Mutex
	ln net.Listener
}

func (p *pairs) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln != nil {
		_ = p.ln.Close()
	}
}

// dial makes a pair.
func (p *pairs) dial() (near, far *net.TCPConn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln == nil {
		if p.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
	}
	nc, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	for {
		other, err := p.ln.Accept()
		if err != nil {
			_ = nc.Close()
			return nil, nil, err
		}
		if other.RemoteAddr().String() == nc.LocalAddr().String() {
			return nc.(*net.TCPConn), other.(*net.TCPConn), nil
		}
		_ = other.Close() // a stranger's
	}
}

// accepted is the gateway's end of a client's connection.
type accepted struct {
	*net.TCPConn
	local, remote net.Addr
}

// LocalAddr is the address of the listener.
func (a *accepted) LocalAddr() net.Addr { return a.local }

// RemoteAddr is the client's address as the test says it.
func (a *accepted) RemoteAddr() net.Addr { return a.remote }

// listener is what a gateway believes to have bound.
type listener struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newListener(addr net.Addr) *listener {
	return &listener{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }

// give hands a connection to who accepts.
func (l *listener) give(c net.Conn) error {
	select {
	case l.conns <- c:
		return nil
	case <-l.done:
		return net.ErrClosed
	}
}

// addressOf is a listener's address with numbers: ":80" is 127.0.0.1:80, port 0
// some port.
func addressOf(text string) (net.Addr, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return nil, fmt.Errorf("address %q is not host:port", text)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.IsUnspecified() {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		n = 8080
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(n))), nil
}

// timed is the gateway's end of a connection to a stub: its deadlines are the
// clock's.
type timed struct {
	*net.TCPConn
	clock  *clock
	remote net.Addr

	mu    sync.Mutex
	sides [2]side // read, write
}

// side is one direction's deadline.
type side struct {
	stop  func() bool
	epoch int // a timer that fires late must not end a later wait
}

// RemoteAddr is the address that the stub stands for.
func (t *timed) RemoteAddr() net.Addr { return t.remote }

// SetDeadline implements net.Conn.
func (t *timed) SetDeadline(at time.Time) error {
	if err := t.SetReadDeadline(at); err != nil {
		return err
	}
	return t.SetWriteDeadline(at)
}

// SetReadDeadline implements net.Conn.
func (t *timed) SetReadDeadline(at time.Time) error {
	return t.set(0, at, t.TCPConn.SetReadDeadline)
}

// SetWriteDeadline implements net.Conn.
func (t *timed) SetWriteDeadline(at time.Time) error {
	return t.set(1, at, t.TCPConn.SetWriteDeadline)
}

func (t *timed) set(which int, at time.Time, set func(time.Time) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.sides[which]
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	s.epoch++
	left := time.Until(at)
	if at.IsZero() || left <= 0 {
		return set(at)
	}
	epoch := s.epoch
	s.stop = t.clock.After(left, luavm.ForTimeout, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if s.epoch == epoch {
			// The error is of a connection that was closed meanwhile.
			_ = set(time.Unix(1, 0))
		}
	})
	return set(time.Time{})
}

// Close implements net.Conn.
func (t *timed) Close() error {
	t.mu.Lock()
	for i := range t.sides {
		if stop := t.sides[i].stop; stop != nil {
			stop()
		}
		t.sides[i].epoch++
	}
	t.mu.Unlock()
	return t.TCPConn.Close()
}
