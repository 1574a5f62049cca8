package upstream

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"perigee/proxy/socket"
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
	// request's last byte (SentAll) or from AwaitHead.
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
//	Acquire --> Write(head, body)* --> SentAll --+
//	   |             (one goroutine)             |
//	   |                                         v
//	   +------> ReadHead (1xx*, final) --> NextBody | ReadBody until io.EOF --> Release
//	                 (the same or another)
//
// Sending and reading may be in two goroutines, because an endpoint may answer
// before it has taken the whole request; both have to be out before Release.
// Cancel may come from any goroutine at any time.
type Conn struct {
	endpoint *Endpoint
	tcp      net.Conn // the connection itself
	tls      *tls.Conn
	socket   *socket.Socket // nil over TLS

	// state is epoch<<1 | canceled. Cancel and Release race for it, so that a
	// late Cancel never reaches the connection's next exchange.
	state     atomic.Uint64
	sentAll   atomic.Bool
	idleSince monotonic

	deadlines deadlines
	// Whether the present call got as far as waiting. Each is one side's.
	waitedRead, waitedWrite bool

	limits    *Limits

	// mem[r:w] are the bytes that were read and not looked at yet. mem is buf,
	// or memory of its own when a head outgrew buf, or bodyBuf when the head
	// left too little of buf for bodies.
	buf     *[bufferSize]byte
	bodyBuf *[bufferSize]byte
	mem     []byte
	base    int // bodies are read to mem[base:], behind the final head
	r, w    int
	// ahead is payload in mem that framing was already removed from, and
	// aheadErr what was wrong behind the payload given out. rest is payload
	// that ReadBody had no room for; it comes before ahead.
	ahead, rest []byte
	aheadErr    error

	kept     bool // served an earlier exchange
	answered bool // a byte of this response has come
	final    bool // the final head has been read
	reusable bool // the final head leaves the connection open
	upgraded bool // the final head is a 101
	interim  int  // number of 1xx heads so far
	body     Framing
}

func newConn(e *Endpoint, nc net.Conn) *Conn {
	c := &Conn{endpoint: e, tcp: nc}
	if t, ok := nc.(*tls.Conn); ok {
		c.tls, c.tcp = t, t.NetConn()
		return c
	}
	c.socket = socket.New(nc, c.beforeWait)
	return c
}

// begin makes the connection ready for an exchange.
func (c *Conn) begin(t Timeouts, limits *Limits) {
	c.limits = limits
	c.deadlines.begin(t)
	c.buf = buffers.Get().(*[bufferSize]byte)
	c.mem = c.buf[:]
	c.r, c.w, c.base = 0, 0, 0
	c.answered, c.final, c.reusable, c.upgraded, c.interim = false, false, false, false, 0
	c.body.done = false
	c.sentAll.Store(false)
}

// Endpoint is where the connection leads.
func (c *Conn) Endpoint() *Endpoint { return c.endpoint }

// RemoteAddr is the address that was connected to; a name has been resolved.
func (c *Conn) RemoteAddr() net.Addr { return c.tcp.RemoteAddr() }

// SentAll says that the request is complete, body included: the Response timeout
// runs from now. Without it the connection is not kept.
func (c *Conn) SentAll() {
	c.sentAll.Store(true)
	c.deadlines.startHead(c.tcp)
}

// AwaitHead starts the Response timeout though the request is not complete: its
// sender waits for a 100 (Continue) before it goes on.
func (c *Conn) AwaitHead() { c.deadlines.startHead(c.tcp) }

// Write sends head, data and end, any of which may be empty, in one system call
// if the socket has room; it waits for room otherwise. end is for a chunk's
// CRLF or the last chunk. The error is a *TransferError; the endpoint may
// nevertheless have answered, so a reader should look for a response before the
// error is passed on.
func (c *Conn) Write(head, data, end []byte) error {
	err := c.send(head, data, end)
	if err == nil {
		return nil
	}
	return c.failure(StepSend, err)
}

func (c *Conn) send(head, data, end []byte) error {
	if c.socket != nil {
		c.waitedWrite = false
		err := c.socket.Write(head, data, end)
		if err == nil || c.waitedWrite || !isTimeout(err) {
			return err
		}
		// The poller refused at once: an earlier exchange's deadline has passed
		// while nobody waited, and nothing was sent. Arm this one's.
		if err := c.beforeWait(true); err != nil {
			return err
		}
		return c.socket.Write(head, data, end)
	}
	if err := c.beforeWait(true); err != nil {
		return err
	}
	for _, p := range [...][]byte{head, data, end} {
		if len(p) == 0 {
			continue
		}
		if _, err := c.tls.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// receive reads once into p.
func (c *Conn) receive(p []byte) (int, error) {
	if c.socket != nil {
		c.waitedRead = false
		n, err := c.socket.Read(p)
		if err == nil || c.waitedRead || !isTimeout(err) {
			return n, err
		}
		if err := c.beforeWait(false); err != nil { // as in send
			return 0, err
		}
		return c.socket.Read(p)
	}
	if err := c.beforeWait(false); err != nil {
		return 0, err
	}
	return c.tls.Read(p)
}

// beforeWait arms the deadline of a wait.
func (c *Conn) beforeWait(write bool) error {
	var err error
	if write {
		c.waitedWrite = true
		err = c.deadlines.write(c.tcp)
	} else {
		c.waitedRead = true
		err = c.deadlines.read(c.tcp)
	}
	if err != nil {
		return err
	}
	// Cancel sets its mark before it sets a deadline in the past. If ours has
	// just replaced that one, the mark is visible here.
	return c.canceledError()
}

func (c *Conn) canceledError() error {
	if c.state.Load()&1 != 0 {
		return ErrCanceled
	}
	return nil
}

// failure describes why a step failed.
func (c *Conn) failure(step Step, err error) error {
	if c.state.Load()&1 != 0 {
		err = ErrCanceled
	}
	stale := c.kept && !c.answered && step != StepBody && (isReset(err) || err == io.EOF)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = ErrTruncated
	}
	return &TransferError{Address: c.endpoint.Address(), Step: step, Err: err, stale: stale}
}

// Canceler can end the exchange that holds a connection, and no later one.
type Canceler struct {
	conn  *Conn
	epoch uint64
}

// Canceler gives the handle to end the present exchange with. Only who holds
// the connection may ask for it; the handle itself may go anywhere, and be used
// at any time, even after Release.
func (c *Conn) Canceler() Canceler { return Canceler{c, c.state.Load() >> 1} }

// Cancel unblocks the exchange's reads and writes at once; they return
// ErrCanceled. The zero Canceler does nothing.
func (k Canceler) Cancel() {
	if k.conn == nil || !k.conn.state.CompareAndSwap(k.epoch<<1, k.epoch<<1|1) {
		return
	}
	// The error is of a connection that is closed already.
	_ = k.conn.tcp.SetDeadline(time.Unix(1, 0))
}

// Cancel ends the present exchange. It is for the goroutine that holds the
// connection and others that it waits for; everybody else uses a Canceler.
func (c *Conn) Cancel() { c.Canceler().Cancel() }

// Release ends the exchange's use of the connection and of everything that was
// read into its buffer. The connection is kept if the outcome is Finished, the
// response was read to its end and allows it, the request was sent completely
// and no byte is left over.
func (c *Conn) Release(o Outcome) {
	epoch := c.state.Load() >> 1
	keep := o == Finished && c.reusable && c.body.Done() && c.sentAll.Load() &&
		c.r == c.w && len(c.ahead)+len(c.rest) == 0
	keep = c.state.CompareAndSwap(epoch<<1, (epoch+1)<<1) && keep
	c.dropBuffers()
	if !keep {
		// Not a TLS close: that would wait for the endpoint to take the alert.
		_ = c.tcp.Close()
		c.endpoint.giveUp()
		return
	}
	c.kept = true
	c.endpoint.keep(c)
}

func (c *Conn) dropBuffers() {
	if c.buf != nil {
		buffers.Put(c.buf)
	}
	if c.bodyBuf != nil {
		buffers.Put(c.bodyBuf)
	}
	c.buf, c.bodyBuf, c.mem = nil, nil, nil
	c.ahead, c.rest, c.aheadErr = nil, nil, nil
	c.r, c.w = 0, 0
}

// quiet says that an idle connection can be used.
func (c *Conn) quiet() bool {
	// Over TLS any byte counts as the end: what a server sends between two
	// exchanges is almost always the alert that it is closing.
	sc, ok := c.tcp.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	return err == nil && socket.Quiet(raw)
}

// closeIdle closes a connection that no exchange uses.
func (c *Conn) closeIdle() {
	if c.tls != nil {
		// Sends the alert that says the end is meant; the socket is idle, so it
		// has room for it.
		_ = c.tls.Close()
		return
	}
	_ = c.tcp.Close()
}
