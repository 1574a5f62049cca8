package luatest

import (
	"container/heap"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// clock is the time of a spec file and its gateways. It stands still, and jumps:
// when a step of the spec waits and nothing in the process has run for a moment,
// then what the next timer waits for is all there is to happen, and the clock
// goes there.
//
//	machine   |----|----|----|----|----|----|
//	clock     0         sleep(10)--> 10
//
// A time-out of a connection (bound) is not taken for the next thing to happen
// as easily as a sleep: the bytes it waits for may be on their way.
type clock struct {
	stirs atomic.Int64 // grows with everything that happens
	busy  atomic.Int32 // Lua of specs that runs

	mu      sync.Mutex
	at      time.Time
	timers  timerHeap
	serial  int
	waiting int // steps of specs that wait: only then time may jump
	wake    chan struct{}
	done    chan struct{}
}

// How long nothing must have run before the clock jumps.
const (
	quietSleep = 2 * time.Millisecond
	quietBound = 60 * time.Millisecond
	sample     = 250 * time.Microsecond
)

func newClock() *clock {
	c := &clock{
		at:   time.Now().Truncate(time.Millisecond),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go c.run()
	return c
}

// Now implements luavm.Clock.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// AfterFunc implements luavm.Clock.
func (c *clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return c.add(d, f, false)
}

// bound is AfterFunc for a time-out.
func (c *clock) bound(d time.Duration, f func()) (stop func() bool) {
	return c.add(d, f, true)
}

func (c *clock) add(d time.Duration, f func(), bound bool) func() bool {
	c.mu.Lock()
	c.serial++
	t := &timer{due: c.at.Add(max(d, 0)), serial: c.serial, call: f, bound: bound}
	heap.Push(&c.timers, t)
	c.mu.Unlock()
	c.stir()
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.index < 0 {
			return false
		}
		heap.Remove(&c.timers, t.index)
		return true
	}
}

// stir notes that something happens.
func (c *clock) stir() {
	c.stirs.Add(1)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// hold says that a step waits; the clock may jump until release is called.
func (c *clock) hold() (release func()) {
	c.mu.Lock()
	c.waiting++
	c.mu.Unlock()
	c.stir()
	return func() {
		c.mu.Lock()
		c.waiting--
		c.mu.Unlock()
	}
}

func (c *clock) close() { close(c.done) }

// when says how a timer stands to the present.
type when uint8

const (
	later   when = iota
	awaited      // nothing else is waited for: the clock may jump to it
	due
)

// next is the timer that is due first.
func (c *clock) next() (*timer, when) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.timers) == 0:
		return nil, later
	case !c.timers[0].due.After(c.at):
		return c.timers[0], due
	case c.waiting > 0:
		return c.timers[0], awaited
	}
	return c.timers[0], later
}

// run fires timers.
func (c *clock) run() {
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		t, is := c.next()
		if is == due || is == awaited && c.quiet(t) {
			c.fire(t)
			continue
		}
		wait := time.Hour // until something happens
		if is == awaited {
			wait = sample // it was not quiet
		}
		again.Reset(wait)
		select {
		case <-c.done:
			return
		case <-c.wake:
		case <-again.C:
		}
	}
}

// fire calls a timer's function, and lets the clock jump if it must.
func (c *clock) fire(t *timer) {
	c.mu.Lock()
	if t.index != 0 { // stopped, or another one has come before it
		c.mu.Unlock()
		return
	}
	heap.Pop(&c.timers)
	if t.due.After(c.at) {
		c.at = t.due
	}
	c.mu.Unlock()
	t.call()
}

// quiet tells whether nothing has run for as long as a jump to t asks.
func (c *clock) quiet(t *timer) bool {
	need := quietSleep
	if t.bound {
		need = quietBound
	}
	stirs := c.stirs.Load()
	for began := time.Now(); time.Since(began) < need; time.Sleep(sample) {
		if c.stirs.Load() != stirs || c.busy.Load() > 0 || running() {
			return false
		}
	}
	return c.stirs.Load() == stirs
}

// running tells whether another goroutine runs or could.
func running() bool {
	s := samples.Get().(*[]metrics.Sample)
	defer samples.Put(s)
	metrics.Read(*s)
	return (*s)[0].Value.Uint64() > 0 || (*s)[1].Value.Uint64() > 1
}

var samples = sync.Pool{New: func() any {
	return &[]metrics.Sample{
		{Name: "/sched/goroutines/runnable:goroutines"},
		{Name: "/sched/goroutines/running:goroutines"},
	}
}}

type timer struct {
	due    time.Time // by the clock
	serial int
	call   func()
	bound  bool
	index  int // in the heap; negative: not there
}

// timerHeap orders timers by when they are due, then by age.
type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].serial < h[j].serial
	}
	return h[i].due.Before(h[j].due)
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
