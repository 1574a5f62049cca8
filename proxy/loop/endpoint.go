package loop

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/upstream"
)

// link is a connection to an endpoint that lives in the loop. While an exchange
// has it, op and task say who waits for it.
type link struct {
	loop *Loop
	conn *upstream.Conn
	fd   int
	slot uint32

	reader, writer   waiter
	canceled, closes atomic.Bool // said by others; see posted
	dead             bool
}

// waiter is one direction of a link: an op that is parked there.
type waiter struct {
	link  *link
	timer timer
	op    *luavm.Op
	task  *task
	write bool
}

// newLink makes a settled connection the loop's; fd is its descriptor.
func (l *Loop) newLink(conn *upstream.Conn, fd int) (*link, error) {
	k := l.makeLink(conn, fd)
	var err error
	k.slot, err = l.watch(fd, k, bothWays)
	return k, err
}

// adopt is newLink for a descriptor that is watched already.
func (l *Loop) adopt(conn *upstream.Conn, fd int, slot uint32) {
	k := l.makeLink(conn, fd)
	k.slot = slot
	l.slots[slot].source = k
}

func (l *Loop) makeLink(conn *upstream.Conn, fd int) *link {
	k := &link{loop: l, conn: conn, fd: fd}
	k.reader.link, k.writer.link, k.writer.write = k, k, true
	k.reader.timer.owner, k.writer.timer.owner = &k.reader, &k.writer
	conn.Tell(k)
	return k
}

// Canceled implements upstream.Resident.
func (k *link) Canceled() {
	if !k.canceled.Swap(true) {
		k.loop.post(k)
	}
}

// Now implements upstream.Resident.
func (k *link) Now() time.Time { return k.loop.clock.Now() }

// Close implements upstream.Resident.
func (k *link) Close() {
	if !k.closes.Swap(true) {
		k.loop.post(k)
	}
}

func (k *link) posted() {
	if k.dead {
		return
	}
	if k.closes.Load() {
		k.dead = true
		_ = unix.Close(k.fd)
		k.loop.unwatch(k.slot)
		k.loop.drop(&k.reader.timer)
		k.loop.drop(&k.writer.timer)
		return
	}
	if k.canceled.Swap(false) {
		k.writer.again()
		k.reader.again()
	}
}

// ready implements source.
func (k *link) ready(events uint32) {
	if k.dead || k.closes.Load() {
		return
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		k.conn.Ready(events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0)
		if k.reader.op == nil && k.writer.op == nil && k.conn.Evict() {
			return
		}
	}
	if k.writer.op != nil && events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		k.writer.again()
	}
	k.reader.again()
}

// again tries the parked op.
func (w *waiter) again() {
	op, t := w.op, w.task
	if op == nil {
		return
	}
	w.op, w.task = nil, nil
	w.link.loop.current = t.client
	if t.tryLink(w, op) {
		w.link.loop.set(&w.timer, 0)
		t.done(op)
	}
}

// expire implements timed.
func (w *waiter) expire(*timer) {
	if w.op != nil {
		w.link.conn.Expire()
		w.again()
	}
}

// linkOf is the link of the attempt that is running; nil: its connection is
// goroutines'.
func linkOf(ex *exchange.Exchange) *link {
	k, _ := ex.Up.Resident().(*link)
	return k
}

// connect performs an OpConnect.
func (t *task) connect(op *luavm.Op) bool {
	ex := t.ex
	if ex.Endpoint.Shares(op.Int == exchange.ConnectShared) {
		return t.board(op)
	}
	timeouts, e := ex.Timeouts(), ex.Endpoint
	if e.Patient() {
		t.connectBeside(op, func(d *dialed) { d.conn, _, d.err = e.Acquire(timeouts) })
		return false
	}
	c, err := e.AcquireIn(t.loop.index, t.loop.clock.Now(), timeouts, op.Int == exchange.ConnectFresh)
	if c != nil || err != nil {
		ex.SetUp(c)
		op.Err = err
		return true
	}
	if p := t.dialHere(op, timeouts); p != declined {
		return p == performed
	}
	t.connectBeside(op, func(d *dialed) {
		if d.conn, d.err = e.DialFor(timeouts); d.err == nil {
			d.fd, d.settled, d.err = d.conn.Settle(t.loop.index)
		}
	})
	return false
}

// connectBeside has a goroutine get the connection that op wants.
func (t *task) connectBeside(op *luavm.Op, get func(d *dialed)) {
	t.loop.stats.besides.Add(1)
	go func() {
		d := &dialed{task: t, op: op}
		get(d)
		t.loop.post(d)
	}()
}

// dialed is a new connection on its way to the loop.
type dialed struct {
	task    *task
	op      *luavm.Op
	conn    *upstream.Conn
	fd      int
	settled bool
	err     error
}

func (d *dialed) posted() {
	t := d.task
	if d.settled {
		if k, err := t.loop.newLink(d.conn, d.fd); err != nil {
			k.dead = true
			_ = unix.Close(d.fd)
			d.conn.Release(upstream.Abandoned)
			d.conn, d.err = nil, err
		}
	}
	if d.err != nil {
		d.conn = nil
	}
	if t.ex == nil { // it has panicked meanwhile
		if d.conn != nil {
			d.conn.Release(upstream.Abandoned)
		}
		return
	}
	d.op.Err = d.err
	t.ex.SetUp(d.conn)
	t.done(d.op)
}

// send performs an OpSend.
func (t *task) send(op *luavm.Op) bool {
	k := linkOf(t.ex)
	if k == nil {
		t.beside(op)
		return false
	}
	op.Err = t.ex.Up.Write(t.ex.UpHead, nil, nil)
	return t.parkLink(&k.writer, op)
}

// receive performs an OpReceiveHead or OpReceiveBody.
func (t *task) receive(op *luavm.Op) bool {
	k := linkOf(t.ex)
	if k == nil {
		t.beside(op)
		return false
	}
	return t.tryLink(&k.reader, op)
}

// tryLink tries what op wants of a link; false: it is parked there.
func (t *task) tryLink(w *waiter, op *luavm.Op) bool {
	ex := t.ex
	switch op.Kind {
	case exchange.OpReceiveHead:
		op.Err = ex.ReceiveHead()
	case exchange.OpReceiveBody:
		ex.Chunk, op.Err = ex.Up.NextBody()
	case exchange.OpPump:
		return t.client.pumpOn(op)
	default:
		op.Err = ex.Up.Flush()
	}
	return t.parkLink(w, op)
}

// parkLink leaves op at w if it has to wait.
func (t *task) parkLink(w *waiter, op *luavm.Op) (done bool) {
	if op.Err != upstream.ErrWait {
		return true
	}
	op.Err = nil
	w.op, w.task = op, t
	t.bound(w)
	return false
}

// bound sets the time-out of what waits at w. The time for an answer's head
// begins when all of the request has been sent.
func (t *task) bound(w *waiter) {
	timeouts := t.ex.Timeouts()
	d := timeouts.Send
	if !w.write {
		switch up := t.ex.Up; {
		case w.op.Kind == exchange.OpReceiveBody:
			d = timeouts.Read
		case up.AllSent():
			d = timeouts.Response
			if up.Behind() {
				d = up.BehindWait()
			}
		case !up.Sending():
			d = 0
		}
	}
	t.loop.set(&w.timer, d)
}
