package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"perigee/luavm/socket"
	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// States of a connection as others may see it.
const (
	busy    int32 = iota // a request is being read or served
	fresh                // waiting for the first byte of its first request
	idle                 // waiting for the first byte of another request
	leaving              // told to end while idle
)

// conn is one client connection. Its goroutine owns everything but the fields
// marked as shared.
//
//	buf  [ head of this request | body bytes and what follows, as read ]
//	      0                headEnd        r ->                    w
//
// The head stays in place until the exchange ends, because Raw points to it;
// body bytes behind it are consumed from r on. buf is nil while nothing is
// under way.
type conn struct {
	server *Server
	tcp    net.Conn
	tls    *tls.Conn      // nil: cleartext
	sock   *socket.Socket // nil: TLS, or a connection without descriptor
	info   exchange.Conn
	taker  Taker // nil: nobody takes it over
	given  bool  // it is the taker's

	deadline atomic.Int64 // shared with sweep
	sendBy   atomic.Int64 // as deadline, of a write alone: a body may be read beside it
	state    atomic.Int32 // shared with Drain
	mu       sync.Mutex   // guards ex, shared with watch
	ex       *exchange.Exchange
	gone     atomic.Bool

	mem           *[]byte
	buf           []byte
	headEnd, r, w int

	body bodyReader
	out  []byte // head and framing of an answer, gathered
	sent int64  // bytes of this exchange's answer on the wire
	// received is how many bytes of this exchange's body came, framing
	// included.
	received int64
	hurried  bool        // StopReading has set a deadline
	close    atomic.Bool // the connection ends after this exchange

	// writing lets a 100 (Continue), which a body's reader sends, go before an
	// answer or not at all. It guards broken, began and sent.
	writing sync.Mutex
	broken  bool // a write failed: nothing can be sent any more
	began   bool // the answer's head is being sent, or has been
}

func (s *Server) newConn(l *listener, nc net.Conn) *conn {
	c := &conn{server: s, tcp: nc}
	c.info.ID = s.nextID.Add(1)
	c.info.Listener = l.name
	c.info.Peer, c.info.RemoteAddr, c.info.RemotePort = splitAddr(nc.RemoteAddr())
	_, c.info.LocalAddr, c.info.LocalPort = splitAddr(nc.LocalAddr())
	c.info.Trusted = s.opt.Trusted(c.info.Peer.Addr())
	if l.tls != nil {
		under := nc
		if c.taker = l.taker; c.taker != nil {
			under = c.taker.Wrap(nc)
		}
		c.tls = tls.Server(under, l.tls)
		c.info.TLS = true
	} else if c.sock = socket.New(nc, c.mayWait); c.sock != nil {
		c.sock.LendReads(c.lend, c.giveBack)
	}
	s.conns.add(c)
	s.opt.Opened(l.name)
	if c.taker == nil {
		c.observe()
	}
	return c
}

// observe has the watch tell when the client leaves.
func (c *conn) observe() {
	if sc := socket.New(c.tcp, nil); sc != nil {
		_ = sc.Control(func(fd uintptr) { c.server.watch.add(c.info.ID, int(fd)) })
	}
}

// splitAddr gives an address in the forms that are asked for; a unix socket has
// none of them.
func splitAddr(a net.Addr) (ap netip.AddrPort, addr, port string) {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return ap, "unix:", ""
	}
	ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	return ap, ap.Addr().String(), strconv.Itoa(int(ap.Port()))
}

// mayWait lets a read or write wait unless the deadline has passed already.
func (c *conn) mayWait(bool) error {
	if c.isExpired() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// lend gives room for the next read, taking a buffer if none is held.
func (c *conn) lend() []byte {
	if c.mem == nil {
		c.mem = c.server.takeBuffer()
		c.buf = *c.mem
		c.r, c.w = 0, 0
	}
	return c.buf[c.w:]
}

// giveBack drops the buffer when nothing is in it.
func (c *conn) giveBack() {
	if c.mem != nil && c.w == 0 {
		c.server.buffers.Put(c.mem)
		c.mem, c.buf = nil, nil
	}
}

// serve is the connection's life.
func (c *conn) serve() {
	defer c.end()
	defer func() {
		if v := recover(); v != nil {
			c.server.opt.Recovered(v)
		}
	}()
	if c.tls != nil && (!c.handshake() || c.give()) {
		return
	}
	for c.serveOne() {
	}
}

func (c *conn) end() {
	if c.given {
		c.server.conns.remove(c)
		return
	}
	_ = c.tcp.Close()
	c.mu.Lock()
	c.ex = nil
	c.mu.Unlock()
	c.server.conns.remove(c)
	c.server.opt.Closed(c.info.Listener)
	c.w = 0
	c.giveBack()
}

func (c *conn) handshake() bool {
	c.setDeadline(c.server.limits.Load().HeaderTime)
	if err := c.tls.HandshakeContext(context.Background()); err != nil {
		return false
	}
	state := c.tls.ConnectionState()
	c.info.Handshake, c.info.ServerName = exchange.NewHandshake(&state), state.ServerName
	return true
}

// give has the taker take the connection, if it speaks what a taker understands.
func (c *conn) give() bool {
	if c.taker == nil {
		return false
	}
	if p := c.info.Handshake.Protocol; p == "" || p == "http/1.1" {
		c.given = c.taker.Take(c.tls, &c.info)
	}
	if !c.given {
		c.observe()
	}
	return c.given
}

// serveOne reads one request and answers it. False: the connection ends.
func (c *conn) serveOne() bool {
	c.toFront()
	if c.w == 0 && c.awaitRequest(c.server.limits.Load()) != nil {
		return false
	}
	// Only now: an idle connection holds no exchange.
	ex := exchange.Acquire(c, &c.info)
	if err := c.readHead(&ex.Head); err != nil && !c.standIn(ex, err) {
		exchange.Release(ex)
		c.refuse(err)
		return false
	}
	c.info.Requests++
	ex.Raw = c.buf[:c.headEnd:c.headEnd]
	ex.Record.Start = time.Now()
	ex.StartNS = exchange.MonotonicNS(ex.Record.Start)
	c.body.begin(&ex.Head)
	c.sent, c.received, c.broken, c.began = 0, 0, false, false
	c.close.Store(ex.Head.Close || c.server.farewell.Load() || c.server.limits.Load().Last(c.info.Requests))
	if !c.enter(ex) {
		ex.Abort()
	}
	c.server.opt.Begin(ex)
	c.server.drive(ex)
	c.mu.Lock()
	c.ex = nil
	c.mu.Unlock()
	exchange.Release(ex)
	return c.goesOn()
}

// enter makes ex the exchange that a leaving client aborts. False: the client
// has left already.
func (c *conn) enter(ex *exchange.Exchange) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ex = ex
	return !c.gone.Load()
}

// clientGone is called by the watch.
func (c *conn) clientGone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone.Store(true)
	if c.ex != nil {
		c.ex.Abort()
	}
}

// closeIfIdle ends a connection that waits for a request, its first one too if
// silent says so; but not where one has come that has not been read yet.
func (c *conn) closeIfIdle(silent bool) {
	if state := c.state.Load(); state != idle && !(silent && state == fresh) || c.unread() {
		return
	}
	c.mu.Lock()
	if c.state.CompareAndSwap(idle, leaving) || silent && c.state.CompareAndSwap(fresh, leaving) {
		_ = c.tcp.SetReadDeadline(time.Unix(1, 0))
	}
	c.mu.Unlock()
}

// stay goes on with a connection that was told to leave, if a request came in the
// same moment; err is of the read that waited for it.
func (c *conn) stay(err error) bool {
	if err != nil && !(isTimeout(err) && c.unread()) {
		return false
	}
	c.mu.Lock() // until then closeIfIdle may be about to set the deadline
	_ = c.tcp.SetReadDeadline(time.Time{})
	c.state.Store(busy)
	c.mu.Unlock()
	if c.deadline.Load() == expired {
		return false // nor has it been killed meanwhile
	}
	return err == nil || c.fill() == nil
}

// unread tells whether bytes have come that nobody has read.
func (c *conn) unread() (waits bool) {
	if sc, ok := c.tcp.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { waits = socket.Waits(fd) })
		}
	}
	return waits
}

// kill makes the connection's reads and writes fail from now on.
func (c *conn) kill() {
	c.deadline.Store(expired)
	_ = c.tcp.SetDeadline(time.Unix(1, 0))
	c.clientGone()
}

// errIdle says that a connection ended where no request was lost.
var errIdle = errors.New("connection ended between requests")

// readHead reads a request head, whose first bytes are at the front of buf.
func (c *conn) readHead(h *wire.RequestHead) error {
	limits := c.server.limits.Load()
	from := 0
	c.setDeadline(limits.HeaderTime)
	for {
		n, err := wire.ScanRequest(h, c.buf[:c.w], from, limits.Head)
		if err != nil {
			return err
		}
		if n > 0 {
			c.headEnd, c.r = n, n
			c.clearDeadline()
			return nil
		}
		from = c.w
		c.grow(limits)
		if err := c.fill(); err != nil {
			return c.headError(err)
		}
	}
}

// grow makes room for a head that limits allow, if the buffer was taken under
// smaller ones: limits may be raised while it is held.
func (c *conn) grow(limits *Limits) {
	if c.w < len(c.buf) {
		return
	}
	larger := make([]byte, max(headRoom(limits)+scratch, 2*len(c.buf)))
	copy(larger, c.buf[:c.w])
	c.mem, c.buf = &larger, larger
}

// awaitRequest waits for the first byte of a request, holding no buffer.
func (c *conn) awaitRequest(limits *Limits) error {
	wait, state := limits.IdleTime, idle
	if c.info.Requests == 0 {
		wait, state = limits.HeaderTime, fresh // a client that opens and says nothing
	}
	if !c.setDeadline(wait) || state == idle && c.server.closing.Load() && !c.unread() {
		return errIdle
	}
	c.state.Store(state)
	err := c.fill()
	if !c.state.CompareAndSwap(state, busy) {
		if !c.stay(err) {
			return errIdle
		}
		return nil
	}
	if err != nil {
		return errIdle
	}
	return nil
}

// headError says what the failure of a read inside a head means.
func (c *conn) headError(err error) error {
	if isTimeout(err) {
		return exchange.ErrSlowHead
	}
	return errIdle // the client left: nobody is there to be answered
}

// fill reads once behind w.
func (c *conn) fill() error {
	if c.sock != nil {
		n, err := c.sock.ReadLent()
		c.w += n
		return err
	}
	room := c.lend()
	n, err := c.plain().Read(room)
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// plain is the connection as net.Conn, TLS removed.
func (c *conn) plain() net.Conn {
	if c.tls != nil {
		return c.tls
	}
	return c.tcp
}

// toFront moves what was read ahead to the front of the buffer, or gives the
// buffer back if there is nothing.
func (c *conn) toFront() {
	if c.mem == nil {
		return
	}
	c.w = copy(c.buf, c.buf[c.r:c.w])
	c.r, c.headEnd = 0, 0
	if c.w == 0 && c.sock != nil {
		c.giveBack()
	}
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// goesOn decides after an exchange whether the connection serves another.
func (c *conn) goesOn() bool {
	if c.broken || c.isExpired() {
		return false
	}
	if c.hurried {
		c.hurried = false
		_ = c.tcp.SetReadDeadline(time.Time{})
	}
	if !c.close.Load() && c.drainBody() {
		return true
	}
	c.linger()
	return false
}

// drainBody reads the rest of a request body that nobody wanted, if it is short
// and not held back by a client that waits for 100 (Continue).
func (c *conn) drainBody() bool {
	if c.body.done.Load() {
		return true
	}
	if c.body.expect || c.body.left > exchange.MaxDrain {
		return false
	}
	var sink [4096]byte
	for total := 0; total < exchange.MaxDrain; {
		n, err := c.ReadBody(sink[:])
		total += n
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
	}
	return false
}

// linger closes the sending side and reads until the client has closed too:
// unread bytes in a closed socket would make the kernel send RST, which can
// destroy the answer on its way (nginx: lingering_close).
func (c *conn) linger() {
	if c.isExpired() || c.gone.Load() && c.r == c.w && c.body.done.Load() {
		return
	}
	if c.tls != nil {
		_ = c.tls.CloseWrite()
	}
	half, ok := c.tcp.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.tcp.SetReadDeadline(time.Now().Add(exchange.LingerTime))
	var sink [4096]byte
	for total := 0; total < 1<<20; {
		n, err := c.tcp.Read(sink[:])
		if err != nil {
			return
		}
		total += n
	}
}
