package loop

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"perigee/luavm/socket"
	"perigee/proxy/exchange"
)

// What a client's connection is about.
type state uint8

const (
	reading   state = iota // waits for a request, or has part of a head
	busy                   // an exchange is under way
	draining               // reads away a body that nobody wanted
	lingering              // its sending side is closed; waits for the other
	closed
)

// client is one client connection. Without a request it holds no memory but
// itself.
type client struct {
	loop *Loop
	fd   int
	slot uint32
	tls  *transport // nil: cleartext
	info exchange.Conn

	prev, next *client // in Loop.clients
	timer      timer   // of what it waits for from the client
	state      state
	readable   bool // bytes or the end may be there
	gone       bool // the client sends no more, or has left
	closes     bool // the connection ends after this exchange
	broken     bool // nothing can be sent any more
	inAgain    bool // in Loop.again
	scanned    int32
	drained    int64

	*work // nil: no byte of a request is here
}

// work is what a client needs while a request is under way.
//
//	buf  [ head of this request | body bytes and what follows, as read ]
//	      0                headEnd        r ->                        w
//
// The head stays in place until the exchange ends, because Raw points to it;
// body bytes behind it are consumed from r on.
type work struct {
	task          task
	mem           *[]byte // of buf, where first is too small
	buf           []byte
	headEnd, r, w int
	pending       *exchange.Exchange // whose head is incomplete

	body     body
	sent     int64 // bytes of this exchange's answer on the wire
	received int64 // bytes of its body, framing included
	began    bool  // the answer's head is being sent, or has been
	hurried  bool  // StopReading
	// tunneled is the connection while goroutines copy its bytes.
	tunneled net.Conn

	out sending
	in  receiving

	first [firstBuffer]byte
}

// add makes a client of an accepted descriptor.
func (l *Loop) add(fd int, a *acceptor, peer unix.Sockaddr) {
	c := &client{loop: l, fd: fd, readable: false}
	c.timer.owner = c
	c.info.ID = l.server.opt.NextID()
	c.info.Listener = a.name
	c.info.Peer, c.info.RemoteAddr, c.info.RemotePort = splitAddr(peer)
	c.info.LocalAddr, c.info.LocalPort = a.local(fd)
	c.info.Trusted = l.server.opt.Trusted(c.info.Peer.Addr())
	var err error
	if c.slot, err = l.watch(fd, c, bothWays); err != nil {
		_ = unix.Close(fd)
		l.server.open.Add(-1)
		return
	}
	l.link(c)
	l.server.opt.Opened(a.name)
	l.set(&c.timer, l.server.limits.Load().HeaderTime)
}

// link and unlink make c one of the loop's clients, and none any more.
func (l *Loop) link(c *client) {
	if c.next = l.clients; c.next != nil {
		c.next.prev = c
	}
	l.clients = c
	l.count++
	l.stats.clients.Add(1)
}

func (l *Loop) unlink(c *client) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.clients = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	l.count--
	l.stats.clients.Add(-1)
}

// close ends the connection. No exchange is under way.
func (c *client) close() {
	if c.state == closed {
		return
	}
	c.state = closed
	l := c.loop
	l.drop(&c.timer)
	if c.tls != nil && !c.gone {
		c.tls.bye()
	}
	_ = unix.Close(c.fd)
	l.unwatch(c.slot)
	if c.work != nil {
		c.putWork()
	}
	l.unlink(c)
	l.server.open.Add(-1)
	l.server.opt.Closed(c.info.Listener)
}

// abandon closes the connection of an exchange that has panicked. Ops that are
// out may still write to it: its memory is left to the collector.
func (c *client) abandon() {
	if w := c.work; w != nil {
		c.work = nil
		if w.task.ex != nil {
			w.task.ex = nil
			c.loop.underWay--
		}
		c.loop.drop(&w.out.timer)
	}
	c.close()
}

// ready implements source.
func (c *client) ready(events uint32) {
	c.loop.current = c
	if c.tls != nil {
		c.tls.ready(events)
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.readable = true
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 && !c.gone {
		c.gone = true
		if c.state == busy && c.task.ex != nil {
			c.task.ex.Abort()
		}
	}
	if c.state == busy && c.out.op != nil && events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		c.flush()
	}
	if !c.readable {
		return
	}
	switch c.state {
	case reading:
		c.readHead()
	case busy:
		c.readOn()
	case draining:
		c.drain()
	case lingering:
		c.linger()
	}
}

// expire implements timed.
func (c *client) expire(*timer) {
	switch c.state {
	case reading:
		if c.work != nil && c.w > 0 {
			c.refuse(exchange.ErrSlowHead)
			return
		}
		c.close()
	case busy:
		c.readLate()
	case draining:
		c.startLinger()
	case lingering:
		c.close()
	}
}

// finished goes on after an exchange.
func (c *client) finished() {
	switch {
	case c.state == closed:
	case c.broken:
		c.close()
	case c.closes || c.hurried && !c.body.done:
		c.startLinger()
	case c.body.done:
		c.nextRequest()
	case c.body.expect || c.body.left > exchange.MaxDrain:
		c.startLinger()
	default:
		c.state, c.drained = draining, 0
		c.loop.set(&c.timer, c.loop.server.limits.Load().BodyTime)
		c.drain()
	}
}

// nextRequest waits for another request of the connection.
func (c *client) nextRequest() {
	c.state = reading
	c.w = copy(c.buf, c.buf[c.r:c.w])
	c.r, c.headEnd = 0, 0
	switch {
	case c.w > 0 || c.readable:
		if !c.inAgain {
			c.inAgain = true
			c.loop.again = append(c.loop.again, c)
		}
	default:
		c.awaitHead()
	}
}

// drain reads the rest of a request body that nobody wanted, if it is short.
func (c *client) drain() {
	for {
		data, err := c.nextBody()
		c.drained += int64(len(data))
		switch {
		case err == errQuiet:
			return
		case err == io.EOF:
			c.nextRequest()
			return
		case err != nil || c.drained > exchange.MaxDrain:
			c.startLinger()
			return
		}
	}
}

// startLinger closes the sending side and reads until the client has closed too:
// unread bytes in a closed socket would make the kernel send RST, which can
// destroy the answer on its way (nginx: lingering_close).
func (c *client) startLinger() {
	if c.gone && c.r == c.w && c.body.done {
		c.close()
		return
	}
	if c.tls != nil {
		c.tls.bye()
	}
	if unix.Shutdown(c.fd, unix.SHUT_WR) != nil {
		c.broken = true
		c.close()
		return
	}
	c.state, c.drained = lingering, 0
	c.loop.set(&c.timer, exchange.LingerTime)
	c.linger()
}

func (c *client) linger() {
	for c.readable {
		n, more, err := c.receive(c.loop.room()) // records are not opened any more
		c.readable = more
		if err == errQuiet {
			return
		}
		c.drained += int64(n)
		if err != nil || c.drained > 1<<20 {
			c.close()
			return
		}
	}
}

// kill ends the connection as soon as its exchange can end.
func (c *client) kill() {
	if c.state != busy || c.task.ex == nil {
		c.close()
		return
	}
	c.gone, c.broken, c.closes = true, true, true
	c.task.ex.Abort()
	if c.tunneled != nil {
		_ = c.tunneled.SetDeadline(time.Unix(1, 0))
	}
	if c.out.op != nil {
		c.out.end(c, os.ErrDeadlineExceeded)
	}
	c.readLate()
}

// read reads once what the client says.
func (c *client) read(p []byte) (n int, err error) {
	switch {
	case !c.readable:
		return 0, errQuiet
	case c.tls != nil:
		return c.tls.read(p)
	}
	n, c.readable, err = c.receive(p)
	return n, err
}

// receive reads the socket once; more: bytes or the end may still be there.
func (c *client) receive(p []byte) (n int, more bool, err error) {
	n, err = socket.ReadOnce(uintptr(c.fd), p)
	switch {
	case err == syscall.EAGAIN:
		return 0, false, errQuiet
	case err != nil:
		return 0, true, os.NewSyscallError("read", err)
	case n == 0:
		return 0, true, io.EOF
	}
	return n, n == len(p) || c.gone, nil
}

// say sends a short text beside answers; false: it did not go whole.
func (c *client) say(text []byte) bool {
	if c.tls != nil {
		return c.tls.say(text)
	}
	n, err := socket.WriteOnce(uintptr(c.fd), text)
	return err == nil && n == len(text)
}

func (c *client) putWork() {
	l, w := c.loop, c.work
	c.work = nil
	c.scanned = 0
	if w.pending != nil {
		l.release(w.pending)
		w.pending = nil
	}
	if w.mem != nil {
		l.putBuffer(w.mem)
	}
	w.mem, w.buf, w.task.client, w.out.client, w.tunneled = nil, nil, nil, nil, nil
	w.out.head = nil
	l.drop(&w.out.timer)
	if !w.task.queued {
		l.works.put(w)
	}
}
