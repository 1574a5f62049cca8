package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"perigee/proxy/h2"
)

// Timeouts bound the waits of one exchange with an endpoint. 0 is no bound. All
// but Connect may be noticed up to a quarter late, because deadlines are armed
// once for many exchanges.
type Timeouts struct {
	// Connect covers name resolution, connect and the TLS handshake.
	Connect time.Duration
	// Send is the longest wait for the endpoint to take bytes.
	Send time.Duration
	// Response is the longest wait for the final response head, from the
	// request's last byte (WriteLast, SentAll) or from AwaitHead.
	Response time.Duration
	// Read is the longest wait between two reads of the body, which may take
	// any time as long as it moves.
	Read time.Duration
}

// Outcome is what an exchange says when it gives its connection back.
type Outcome uint8

const (
	// Finished says that the exchange wants nothing more from the connection.
	// It is kept for another one if everything about it says that it can be.
	Finished Outcome = iota
	// Abandoned closes the connection, which also tells the endpoint to stop.
	Abandoned
)

// Conn is one HTTP/1.1 connection to an endpoint. It is used by one exchange at
// a time, which got it from Acquire and ends with Release or Hijack.
//
//	the whole request is there             the body comes bit by bit
//
//	WriteLast(head, body)                  Write(head) Write(piece)* SentAll
//	    |                                      |      perhaps in another
//	    v                                      v      goroutine than reading
//	ReadHead (1xx*, final) --> NextBody | ReadBody until io.EOF --> Release
//
// An endpoint may answer before it has taken the whole request, so sending and
// reading may be in two goroutines; both have to be out before Release. Cancel
// may come from any goroutine at any time.
type Conn struct {
	endpoint *Endpoint
	link     link
	tls      *tls.Conn // nil for plain

	limits    *Limits
	idleSince monotonic
	// marks are what sender and reader know of the exchange together. They are
	// own where one thread is both.
	marks atomic.Uint32
	own   uint32
	// inLoop: one thread, its event loop's, sends and reads.
	inLoop bool

	// last are the pieces of WriteLast, until ReadHead sends them.
	last    [3][]byte
	hasLast bool

	// mem[r:w] are the bytes that were read and not looked at yet. mem is buf,
	// or memory of its own when a head outgrew buf, or bodyBuf when the body is
	// long or the head left too little of buf for it. In an event loop buf is
	// taken when there is something to read: thousands may wait for an endpoint
	// that is slow.
	buf     *[bufferSize]byte
	bodyBuf *[bodySize]byte
	mem     []byte
	base    int // bodies are read to mem[base:], behind the final head
	r, w    int
	// ahead is payload in mem that framing was already removed from, and
	// aheadErr what was wrong behind the payload given out. rest is payload
	// that ReadBody had no room for; it comes before ahead.
	ahead, rest []byte
	aheadErr    error

	kept     bool // served an earlier exchange
	served   int  // exchanges so far
	final    bool // the final head has been read
	reusable bool // the final head leaves the connection open
	upgraded bool // the final head is a 101
	once     bool // it is not kept
	interim  int  // number of 1xx heads so far
	body     Framing
}

// The marks of an exchange.
const (
	markSent     = 1 << iota // some of the request may have been sent
	markSentAll              // all of it was
	markAnswered             // a byte of a response has come
)

func (c *Conn) has(mark uint32) bool { return (c.own|c.marks.Load())&mark != 0 }

func (c *Conn) mark(marks uint32) {
	if c.inLoop {
		c.own |= marks // a locked instruction takes as long as thirty others
		return
	}
	c.marks.Or(marks)
}

// newConn makes a connection of a socket; with secure, for TLS, the handshake is
// done here.
func newConn(ctx context.Context, e *Endpoint, nc net.Conn, secure *tls.Config) (*Conn, error) {
	c := &Conn{endpoint: e}
	if err := c.link.open(nc); err != nil {
		_ = nc.Close()
		return nil, err
	}
	if secure == nil {
		return c, nil
	}
	c.tls = tls.Client(&c.link, secure)
	if err := c.tls.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

// begin makes the connection ready for an exchange.
func (c *Conn) begin(t Timeouts, limits *Limits) {
	c.limits = limits
	l := c.lane()
	c.inLoop = c.link.resident != nil && (l == nil || l.trunk.patient == nil)
	if !c.inLoop { // a loop keeps its own deadlines
		c.link.deadlines.begin(t)
		c.takeBuffer()
	}
	c.base, c.interim = 0, 0
	c.final, c.reusable, c.upgraded = false, false, false
	c.body.done = false
	if c.own = 0; c.marks.Load() != 0 {
		c.marks.Store(0)
	}
	if c.link.resident != nil {
		c.link.resident.late = false
		c.link.resident.pieces.Drop()
	}
}

func (c *Conn) takeBuffer() {
	if c.inLoop {
		c.buf = c.endpoint.registry.buffers[c.link.resident.home].take()
	} else {
		c.buf = buffers.Get().(*[bufferSize]byte)
	}
	c.mem = c.buf[:]
}

// lane is the connection's place on a trunk; nil: it is one of its own.
func (c *Conn) lane() *lane {
	if c.link.resident == nil {
		return nil
	}
	return c.link.resident.lane
}

// Endpoint is where the connection leads.
func (c *Conn) Endpoint() *Endpoint { return c.endpoint }

// RemoteAddr is the address that was connected to; a name has been resolved.
func (c *Conn) RemoteAddr() net.Addr {
	if c.link.remote != nil {
		return c.link.remote
	}
	return c.link.RemoteAddr()
}

// failure describes why a step failed.
func (c *Conn) failure(step Step, err error) error {
	if c.link.canceled() {
		err = ErrCanceled
	}
	e := &TransferError{Address: c.endpoint.Address(), Step: step, Err: err, unsent: !c.has(markSent)}
	broken := isReset(err) || err == io.EOF || err == errUnasked
	e.stale = c.kept && !c.has(markAnswered) && step != StepBody && broken
	if l := c.lane(); l != nil {
		var said *h2.Error
		e.unserved = l.unserved || errors.As(err, &said) && said.Unserved
		e.stale = e.stale || step == StepHead && isTimeout(err) && l.trunk.proto.behind(c)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		e.Err = ErrTruncated
	}
	return e
}

// Canceler can end the exchange that holds a connection, and no later one.
type Canceler struct {
	link  *link
	epoch uint64
}

// Canceler gives the handle to end the present exchange with. Only who holds
// the connection may ask for it; the handle itself may go anywhere, and be used
// at any time, even after Release.
func (c *Conn) Canceler() Canceler { return Canceler{&c.link, c.link.state.Load() >> 1} }

// Cancel unblocks the exchange's reads and writes at once; they return
// ErrCanceled. The zero Canceler does nothing.
func (k Canceler) Cancel() {
	if k.link == nil || !k.link.state.CompareAndSwap(k.epoch<<1, k.epoch<<1|1) {
		return
	}
	if k.link.resident != nil {
		k.link.resident.who.Canceled()
		return
	}
	// The error is of a connection that is closed already.
	_ = k.link.SetDeadline(longAgo)
}

// Cancel ends the present exchange. It is for the goroutine that holds the
// connection and others that it waits for; everybody else uses a Canceler.
func (c *Conn) Cancel() { c.Canceler().Cancel() }

// Once says that the connection is not to be kept: the endpoint was asked to
// close it.
func (c *Conn) Once() { c.once = true }

// Release ends the exchange's use of the connection and of everything that was
// read into its buffer. The connection is kept if the outcome is Finished, the
// response was read to its end and allows it, the request was sent completely
// and no byte is left over. kept says whether it was.
func (c *Conn) Release(o Outcome) (kept bool) {
	keep := o == Finished && !c.once && c.reusable && c.body.Done() && c.has(markSentAll) &&
		c.r == c.w && len(c.ahead)+len(c.rest) == 0
	c.served++
	if most := c.limits.Requests; most > 0 && c.served >= most && c.lane() == nil {
		keep = false
	}
	keep = c.link.endExchange() && keep
	c.dropBuffers()
	if l := c.lane(); l != nil {
		c.link.nextExchange()
		l.end(keep)
		return keep
	}
	if !keep {
		// Not a TLS close: that would wait for the endpoint to take the alert.
		_ = c.link.Close()
		c.endpoint.giveUp()
		return false
	}
	c.kept = true
	return c.endpoint.keep(c)
}

func (c *Conn) dropBuffers() {
	switch {
	case c.buf == nil:
	case c.inLoop:
		c.endpoint.registry.buffers[c.link.resident.home].put(c.buf)
	default:
		buffers.Put(c.buf)
	}
	if c.bodyBuf != nil {
		bodyBuffers.Put(c.bodyBuf)
	}
	c.buf, c.bodyBuf, c.mem = nil, nil, nil
	c.ahead, c.rest, c.aheadErr = nil, nil, nil
	c.last, c.hasLast = [3][]byte{}, false
	c.r, c.w = 0, 0
}

// quiet says that an idle connection is open and that nothing came on it. Over
// TLS what came may be records without payload, such as session tickets; they
// are taken in.
func (c *Conn) quiet() bool {
	if c.link.resident != nil {
		return !c.link.resident.readable // its loop has been told
	}
	one := c.link.probe.one[:]
	if c.tls == nil {
		_, err := c.link.readReady(one)
		return err == errQuiet
	}
	c.link.probing = true
	_, err := c.tls.Read(one)
	c.link.probing = false
	return errors.Is(err, errQuiet)
}

// closeIdle closes a connection that no exchange uses.
func (c *Conn) closeIdle() {
	if c.tls != nil {
		// Sends the alert that says the end is meant; the socket is idle, so it
		// has room for it.
		_ = c.tls.Close()
		return
	}
	_ = c.link.Close()
}
