package loop

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/upstream"
)

// trunk is a shared connection to an endpoint that lives in the loop. What its
// exchanges send within a wake-up leaves in one write, before the next poll.
type trunk struct {
	loop    *Loop
	up      *upstream.Trunk
	slot    uint32
	timer   timer // of a trunk without exchanges
	hold    timer // while heads of answers wait for what follows them
	queued  bool  // in Loop.trunks
	held    bool  // in Loop.held
	hurried bool  // nothing is to be held back this time
	retired bool
	closed  bool
}

// newTrunk makes a connection the loop's.
func (l *Loop) newTrunk(up *upstream.Trunk) error {
	k := &trunk{loop: l, up: up}
	k.timer.owner, k.hold.owner = k, k
	var err error
	if k.slot, err = l.watch(up.FD(), k, bothWays); err != nil {
		return err
	}
	up.Join(k)
	k.Attend()
	return nil
}

// Attend implements upstream.TrunkResident.
func (k *trunk) Attend() {
	if !k.queued {
		k.queued = true
		k.loop.trunks = append(k.loop.trunks, k)
	}
}

// Retire implements upstream.TrunkResident.
func (k *trunk) Retire() { k.loop.post(k) }

func (k *trunk) posted() {
	if !k.closed {
		k.retired = true
		k.up.Leave()
	}
}

// ready implements source.
func (k *trunk) ready(events uint32) {
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		k.up.Writable()
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		k.up.Ready(events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0)
	}
}

// touched tries again what the exchanges wait for that may get further, and runs
// each while its memory is near.
func (k *trunk) touched() {
	for c := k.up.Touched(); c != nil; c = k.up.Touched() {
		if w, ok := c.Resident().(*link); ok {
			w.writer.again()
			w.reader.again()
			k.loop.runTasks()
		}
	}
}

// holdTime is about how long a head that came without its body waits for it: many
// endpoints write the two apart, and both can leave in one write. Who waits for a
// stream to begin does not notice.
const holdTime = 500 * time.Microsecond

// expire implements timed.
func (k *trunk) expire(t *timer) {
	if t == &k.hold {
		k.up.Pass()
		k.touched()
		return
	}
	if k.up.Idle() {
		k.up.Leave()
	}
}

// attend does what trunks have to do before the loop polls; false: nothing.
func (l *Loop) attend() bool {
	if len(l.trunks) == 0 {
		return false
	}
	for n := len(l.trunks); n > 0; n = len(l.trunks) {
		k := l.trunks[n-1]
		l.trunks = l.trunks[:n-1]
		k.queued = false
		if !k.closed {
			k.attend()
		}
	}
	return true
}

// A wake-up that brings two requests would have a trunk write twice where four came
// soon after each other. So while its endpoint has others to answer and the loop finds
// more to do, a trunk holds them:
//
//	wake-up: 2 requests, held -- 3 more, held -- nothing to do: 5 leave in one write
//
// letGo has them leave: before the loop rests or sleeps, or when they have waited for
// mostHold. more is as settle's.
func (l *Loop) letGo() (more bool) {
	for _, k := range l.held {
		k.held, k.hurried = false, true
		k.Attend()
	}
	clear(l.held)
	l.held = l.held[:0]
	return l.settle()
}

func (k *trunk) attend() {
	up, l := k.up, k.loop
	up.Work(k.holds())
	k.touched()
	if up.Over() {
		k.closed = true
		l.unwatch(k.slot)
		l.drop(&k.timer)
		l.drop(&k.hold)
		up.Close()
	} else {
		k.bound()
	}
	if q := l.places[up.Endpoint()]; q != nil {
		q.serve()
	}
	switch {
	case k.closed || k.timer.at != 0 && up.Idle():
	case up.Idle() && up.IdleTimeout() == 0:
		up.Leave()
	case up.Idle():
		l.set(&k.timer, up.IdleTimeout())
	default:
		l.set(&k.timer, 0)
	}
}

// holds tells whether what the trunk has to send is held back, until letGo.
func (k *trunk) holds() bool {
	l, hurried := k.loop, k.hurried
	k.hurried = false
	if hurried || !k.up.CanWait() {
		return false
	}
	if !k.held {
		k.held = true
		if len(l.held) == 0 {
			l.heldAt = l.now
		}
		l.held = append(l.held, k)
	}
	return true
}

// bound sees to it that heads do not wait for long.
func (k *trunk) bound() {
	switch {
	case !k.up.Holds():
		k.loop.set(&k.hold, 0)
	case k.hold.at == 0:
		k.loop.set(&k.hold, holdTime)
	}
}

// places are the exchanges that wait for a place on a trunk to an endpoint.
type places struct {
	loop     *Loop
	endpoint *upstream.Endpoint
	waiting  []*place
	dialing  int
}

// place is an OpConnect that waits.
type place struct {
	queue *places
	task  *task
	op    *luavm.Op
	timer timer
}

// board performs an OpConnect by a place on a shared connection.
func (t *task) board(op *luavm.Op) bool {
	l, e := t.loop, t.ex.Endpoint
	if t.placeOn(e) {
		return true
	}
	q := l.places[e]
	if q == nil {
		q = &places{loop: l, endpoint: e}
		if l.places == nil {
			l.places = map[*upstream.Endpoint]*places{}
		}
		l.places[e] = q
	}
	w := &place{queue: q, task: t, op: op}
	w.timer.owner = w
	l.set(&w.timer, t.ex.Timeouts().Connect)
	q.waiting = append(q.waiting, w)
	q.dial(t.ex)
	if q.dialing == 0 && e.Trunks(l.index) == 0 {
		q.leave(w)
		op.Err = upstream.ErrBusy // others have all connections
		return true
	}
	return false
}

// placeOn gives the exchange a place, if there is one.
func (t *task) placeOn(e *upstream.Endpoint) bool {
	c := e.Share(t.loop.index, t.ex.Timeouts())
	if c == nil {
		return false
	}
	if c.Resident() == nil {
		t.loop.newLane(c)
	}
	t.ex.SetUp(c)
	return true
}

// newLane makes a place on a trunk known to the loop.
func (l *Loop) newLane(c *upstream.Conn) {
	k := &link{loop: l, conn: c, fd: -1}
	k.reader.link, k.writer.link, k.writer.write = k, k, true
	k.reader.timer.owner, k.writer.timer.owner = &k.reader, &k.writer
	c.Tell(k)
}

// dial makes as many connections as those who wait need.
func (q *places) dial(ex *exchange.Exchange) {
	l, e, timeouts := q.loop, q.endpoint, ex.Timeouts()
	for q.dialing*e.TrunkDepth() < len(q.waiting) && e.AdmitTrunk() {
		q.dialing++
		l.stats.besides.Add(1)
		go func() {
			d := &dialedTrunk{queue: q}
			d.up, d.err = e.DialTrunk(l.index, timeouts)
			l.post(d)
		}()
	}
}

// dialedTrunk is a new shared connection on its way to the loop.
type dialedTrunk struct {
	queue *places
	up    *upstream.Trunk
	err   error
}

func (d *dialedTrunk) posted() {
	q := d.queue
	q.dialing--
	if d.err == nil {
		if d.err = q.loop.newTrunk(d.up); d.err != nil {
			d.up.Close()
		}
	}
	if d.err != nil && q.dialing == 0 {
		q.fail(d.err)
		return
	}
	q.serve()
}

// serve gives free places to those who wait.
func (q *places) serve() {
	for len(q.waiting) > 0 {
		w := q.waiting[0]
		if w.task.ex != nil && !w.task.placeOn(q.endpoint) {
			if q.dialing == 0 {
				q.dial(w.task.ex)
			}
			if q.dialing == 0 && q.endpoint.Trunks(q.loop.index) == 0 {
				q.fail(upstream.ErrBusy)
			}
			return
		}
		q.waiting = q.waiting[1:]
		w.end(nil)
	}
	q.forget()
}

// fail tells all who wait that there is no place to be had.
func (q *places) fail(err error) {
	all := q.waiting
	q.waiting = nil
	for _, w := range all {
		w.end(err)
	}
	q.forget()
}

func (q *places) forget() {
	if q.dialing == 0 && len(q.waiting) == 0 {
		delete(q.loop.places, q.endpoint)
	}
}

// leave takes w out of those who wait.
func (q *places) leave(w *place) {
	q.loop.drop(&w.timer)
	if i := slices.Index(q.waiting, w); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	q.forget()
}

func (w *place) end(err error) {
	w.queue.loop.drop(&w.timer)
	w.op.Err = err
	w.task.done(w.op)
}

// expire implements timed: no place has become free in the time for connecting.
func (w *place) expire(*timer) {
	w.queue.leave(w)
	w.end(upstream.ErrBusy)
}
