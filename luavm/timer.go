package luavm

import (
	"container/heap"
	"encoding/binary"
	"sync"
	"time"
)

// timers are the calls that a VM's scripts have asked for with ngx.timer.
//
//	Lua: timer.at(d, f) --note id, d--> heed: arm --> queue, by due time
//	                                                     | due
//	Lua: P.run_timer(id) <-- Start, seat of its own <-- fire
//	                              | waits
//	                              '--> a goroutine drives it to its end
//
// Functions and arguments stay in Lua. What is due at the same time starts in
// the order in which it was asked for, one after the other; nothing runs before
// the VM has been opened to its scripts, or after its end.
type timers struct {
	vm *VM

	mu      sync.Mutex
	queue   timerQueue
	serial  uint64
	stop    func() bool // of the clock that calls fire next
	at      time.Time   // when it does
	opened  bool
	exiting bool // everything is due
	firing  bool
	ended   bool
	cut     chan struct{} // closed: handlers under way are dropped
}

// mendID is a timer of lualib's own: see ngx/semaphore.lua.
const mendID = 0

type timer struct {
	due       time.Time
	serial    uint64
	id        uint32
	premature uint32          // 1: the generation ends
	sockets   *SocketSettings // of who asked for it; nil: the pool's
}

type timerQueue []timer

func (q timerQueue) Len() int      { return len(q) }
func (q timerQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *timerQueue) Push(x any)   { *q = append(*q, x.(timer)) }
func (q timerQueue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].serial < q[j].serial
	}
	return q[i].due.Before(q[j].due)
}

func (q *timerQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// now is the time that timers go by.
func (p *Pool) now() time.Time {
	if p.options.Clock != nil {
		return p.options.Clock.Now()
	}
	return time.Now()
}

func (p *Pool) afterFunc(d time.Duration, f func()) (stop func() bool) {
	if p.options.Clock != nil {
		return p.options.Clock.After(d, ForTimer, f)
	}
	return time.AfterFunc(d, f).Stop
}

// arm asks for a call of timer id after some time. Its sockets will behave as
// those of who asks, as in nginx, where a timer has its maker's location.
func (t *timers) arm(id uint32, seconds float64, maker *Slot) {
	var sockets *SocketSettings
	if maker != nil {
		sockets = maker.sockets
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serial++
	heap.Push(&t.queue, timer{due: t.vm.pool.now().Add(inDuration(seconds)), serial: t.serial, id: id, sockets: sockets})
	t.schedule()
}

// open lets timers fire: the VM has run init_worker.
func (t *timers) open() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened = true
	t.schedule()
}

// expire makes everything that is pending due now, as premature.
func (t *timers) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.exiting = true
	for i := range t.queue {
		t.queue[i].premature = 1
	}
	t.schedule()
}

// isDue tells whether the first can start; mu is held.
func (t *timers) isDue(now time.Time) bool {
	return !t.ended && len(t.queue) > 0 && (t.exiting || !t.queue[0].due.After(now))
}

// schedule sees to it that fire is called when the first is due; mu is held.
func (t *timers) schedule() {
	if !t.opened || t.firing || t.ended || len(t.queue) == 0 {
		return
	}
	first, now := t.queue[0].due, t.vm.pool.now()
	if t.exiting || first.Before(now) {
		first = now
	}
	if t.stop != nil && (!first.Before(t.at) || !t.stop()) {
		return // it is called early enough, or just now
	}
	t.at = first
	t.stop = t.vm.pool.afterFunc(first.Sub(now), t.fire)
}

// fire starts what is due.
func (t *timers) fire() {
	t.mu.Lock()
	t.stop = nil
	if t.firing || t.ended {
		t.mu.Unlock()
		return
	}
	t.firing = true
	for t.isDue(t.vm.pool.now()) {
		e := heap.Pop(&t.queue).(timer)
		t.mu.Unlock()
		t.start(e)
		t.mu.Lock()
	}
	t.firing = false
	t.schedule()
	t.mu.Unlock()
	t.vm.pool.mayEmpty(t.vm)
}

// start runs the handler of a timer that is due; if it waits, the rest of it
// runs beside.
func (t *timers) start(e timer) {
	vm := t.vm
	s := vm.take()
	if s == nil {
		return // abandoned, or no memory for a seat: it goes with the VM
	}
	s.UseSockets(e.sockets)
	var data [8]byte
	binary.NativeEndian.PutUint32(data[:], e.id)
	binary.NativeEndian.PutUint32(data[4:], e.premature)
	out := s.Start(vm.pool.timer, PhaseTimer, &Input{Data: data[:]})
	if out.Kind != Wait {
		t.finish(s, out)
		return
	}
	go func() { t.finish(s, s.driveUntil(out, t.cut)) }()
}

// finish reports how a handler has ended.
func (t *timers) finish(s *Slot, out Outcome) {
	if out.Kind == Failed {
		p := t.vm.pool
		text := "lua entry thread aborted: runtime error: " + out.Err.Message
		if out.Err.Traceback != "" {
			text += "\n" + out.Err.Traceback
		}
		p.options.Log(s, LevelErr, []byte(text+", context: ngx.timer"))
		p.options.Failed(out.Err)
	}
	s.Release()
}

// busy tells whether handlers are still to start.
func (t *timers) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.ended && (t.firing || len(t.queue) > 0)
}

// count is how many are pending or under way.
func (t *timers) count() int {
	t.vm.lock()
	defer t.vm.unlock()
	if t.vm.condition.Load() == vmLost {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.queue) + int(t.vm.state.VM().TimersRunning)
	if t.firing {
		n++ // it has left the queue and may not run yet
	}
	return n
}

// end lets nothing start any more; drop ends handlers under way, too.
func (t *timers) end(drop bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.queue = nil
	if t.stop != nil {
		t.stop()
		t.stop = nil
	}
	if drop {
		select {
		case <-t.cut:
		default:
			close(t.cut)
		}
	}
}
