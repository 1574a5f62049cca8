package loop

import (
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"perigee/luavm"
)

// wait is an op that waits for time or somebody's word. It is used again, so a
// word that comes late finds another op there, which was not interrupted.
type wait struct {
	loop  *Loop
	timer timer
	task  *task
	op    *luavm.Op
	told  func() // bound once
}

// wait parks an op that takes d; negative: without end.
func (t *task) wait(op *luavm.Op, d time.Duration) {
	l := t.loop
	var w *wait
	if n := len(l.waits); n > 0 {
		w = l.waits[n-1]
		l.waits = l.waits[:n-1]
	} else {
		w = &wait{loop: l}
		w.timer.owner = w
		w.told = func() { l.post(w) }
	}
	w.task, w.op = t, op
	if d >= 0 {
		l.set(&w.timer, max(d, 1))
	}
	op.OnInterrupt(w.told)
}

// expire implements timed.
func (w *wait) expire(*timer) { w.end(true) }

func (w *wait) posted() {
	if w.op != nil && w.op.Interrupted() {
		w.end(false)
	}
}

func (w *wait) end(whole bool) {
	op, t := w.op, w.task
	w.op, w.task = nil, nil
	op.OnInterrupt(nil)
	w.loop.drop(&w.timer)
	op.Over(whole)
	w.loop.waits = append(w.loop.waits, w)
	t.done(op)
}

// tap is a script's socket that lives in the loop.
type tap struct {
	loop        *Loop
	fd          int
	slot        uint32
	read, write tapSide
	closes      atomic.Bool
	ear         *luavm.Ear
	ended       bool // the peer sends no more
	dead        bool
}

// tapSide is one direction of a tap, with the op that is parked there.
type tapSide struct {
	tap    *tap
	timer  timer
	op     *luavm.Op
	task   *task
	socket luavm.Socket
	cancel func() // bound once
	open   bool   // an event has come and what it told of was not used up
}

// useSocket performs an op of a script's plain socket.
func (t *task) useSocket(op *luavm.Op) bool {
	socket, ok := op.Socket()
	if !ok {
		t.beside(op)
		return false
	}
	k, ok := socket.Resident().(*tap)
	if socket.Resident() == nil {
		err := socket.Settle(func(fd int) (luavm.Resident, error) {
			var err error
			k = t.loop.newTap(fd)
			if k.slot, err = t.loop.watch(fd, k, bothWays); err != nil {
				k.ear.Free()
			}
			return k, err
		})
		ok = err == nil
	}
	if !ok || k.loop != t.loop {
		t.beside(op)
		return false
	}
	side := &k.read
	if op.Kind == luavm.OpSockWrite {
		side = &k.write
	}
	if socket.Useless(op) {
		socket.Fail(op, true)
		return true
	}
	side.op, side.task, side.socket = op, t, socket
	if side.open && side.attempt() {
		side.op, side.task = nil, nil
		return true
	}
	t.loop.set(&side.timer, max(1, socket.Wait(op)))
	op.OnCancel(side.cancel)
	return false
}

func (l *Loop) newTap(fd int) *tap {
	k := &tap{loop: l, fd: fd, ear: luavm.NewEar()}
	for _, side := range []*tapSide{&k.read, &k.write} {
		side.tap = k
		side.timer.owner = side
		side.cancel = func() { l.post(side) }
	}
	return k
}

// ready implements source.
func (k *tap) ready(events uint32) {
	if events&(unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLRDHUP) != 0 {
		k.ended = true
	}
	if k.ended || events&unix.EPOLLIN != 0 {
		k.read.try()
		if (k.ended || k.read.open) && !k.dead {
			k.ear.Hear()
		}
	}
	if k.ended || events&unix.EPOLLOUT != 0 {
		k.write.try()
	}
}

func (s *tapSide) try() {
	s.open = true
	if s.op != nil && s.attempt() {
		s.end()
	}
}

func (s *tapSide) attempt() (done bool) {
	how := s.socket.Attempt(s.op)
	if how != luavm.AttemptDone && !s.tap.ended {
		s.open = false
	}
	return how != luavm.AttemptWaits
}

func (s *tapSide) end() {
	op, t := s.op, s.task
	s.op, s.task = nil, nil
	op.OnCancel(nil)
	s.tap.loop.set(&s.timer, 0)
	t.done(op)
}

// expire implements timed.
func (s *tapSide) expire(*timer) {
	if s.op != nil {
		s.socket.Fail(s.op, false)
		s.end()
	}
}

// posted is told of a cancel.
func (s *tapSide) posted() {
	if s.op != nil && s.op.Canceled() {
		s.socket.Fail(s.op, true)
		s.end()
	}
}

// Ear implements luavm.Resident.
func (k *tap) Ear() *luavm.Ear { return k.ear }

// Close implements luavm.Resident.
func (k *tap) Close() {
	if !k.closes.Swap(true) {
		k.loop.post(k)
	}
}

func (k *tap) posted() {
	if k.dead {
		return
	}
	k.dead = true
	_ = unix.Close(k.fd)
	k.loop.unwatch(k.slot)
	k.ear.Free()
	for _, side := range []*tapSide{&k.read, &k.write} {
		if side.op != nil {
			side.socket.Fail(side.op, true)
			side.end()
		}
		k.loop.drop(&side.timer)
	}
}

// readForScript performs an OpReqRead or OpReqReadRaw: of the body, or whatever
// comes.
func (c *client) readForScript(t *task, op *luavm.Op) bool {
	more := (*client).scriptBody
	if op.Kind == luavm.OpReqReadRaw {
		more = (*client).scriptRaw
		c.closes = true // what follows on the connection is no request
	} else if c.body.err == nil && !c.body.done {
		// As nginx, even if the client has not waited for it.
		if err := c.sayContinue(); err != nil {
			op.Result = luavm.SocketOutcome(err)
			return true
		}
	}
	if c.park(t, op, more) {
		return true
	}
	c.loop.set(&c.timer, max(1, op.Timeout()))
	op.OnCancel(func() { c.loop.post(readCanceled{c, op}) })
	return false
}

// readCanceled is a script's read that nobody waits for any more.
type readCanceled struct {
	client *client
	op     *luavm.Op
}

func (r readCanceled) posted() {
	if r.client.work != nil && r.client.in.op == r.op && r.op.Canceled() {
		r.client.readLate()
	}
}

func (c *client) scriptBody(op *luavm.Op) (done bool) {
	ex := c.in.task.ex
	room := op.Room()
	if size := c.BodySize(); ex.BodyLimit > 0 && size > ex.BodyLimit {
		c.closes = true
		op.Result = luavm.SocketOutcome(errGone)
		return true
	}
	data, err := c.nextPiece(len(room))
	switch {
	case err == errQuiet:
		return false
	case err == nil || isEnd(err):
		op.Result = int32(copy(room, data))
	case isCut(err):
		op.Result = luavm.SocketAborted
	default:
		op.Result = luavm.SocketOutcome(err)
	}
	op.OnCancel(nil)
	return true
}

func (c *client) scriptRaw(op *luavm.Op) (done bool) {
	if c.r < c.w {
		n := copy(op.Room(), c.buf[c.r:c.w])
		c.r += n
		op.Result = int32(n)
		op.OnCancel(nil)
		return true
	}
	n, err := c.read(op.Room())
	switch {
	case err == errQuiet:
		return false
	case n > 0 || isEnd(err):
		c.received += int64(n)
		op.Result = int32(n)
	default:
		op.Result = luavm.SocketOutcome(err)
	}
	op.OnCancel(nil)
	return true
}

// writeForScript sends what a script's raw socket is to send.
func (c *client) writeForScript(t *task, op *luavm.Op) bool {
	c.closes = true
	if c.send(t, op, op.Unsent(), nil, nil) {
		op.Result = luavm.SocketOutcome(op.Err)
		return true
	}
	c.loop.set(&c.out.timer, max(1, op.Timeout()))
	op.OnCancel(func() { c.loop.post(writeCanceled{c, op}) })
	return false
}

type writeCanceled struct {
	client *client
	op     *luavm.Op
}

func (w writeCanceled) posted() {
	if c := w.client; c.work != nil && c.out.op == w.op && w.op.Canceled() {
		c.out.end(c, os.ErrDeadlineExceeded)
	}
}
