package luatest

import (
	"container/heap"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"perigee/luavm"
)

// clock is the time of a spec file and its gateways. It stands still, and jumps
// to the next timer when nothing else is left to happen:
//
//	machine   |----|----|----|----|----|----|
//	clock     0         sleep(10)--> 10
//
// Who waits for something of a step of the spec is an actor: the step's own
// sleep, a request that is being answered, a gateway that is being closed. When
// as many sleep as there are actors (in the spec, in a gateway's script, in a
// stub), each actor has come as far as it can without time. Where fewer do, the
// bytes that an actor waits for may be on their way: only after a longer silence
// a time-out is taken for what comes next. In both cases nothing in the process
// may have run for a moment.
type clock struct {
	stirs   atomic.Int64 // grows with everything that happens
	running atomic.Int32 // VMs in which Lua runs

	mu     sync.Mutex
	at     time.Time
	timers timerHeap
	serial int
	count  [luavm.ForTimeout + 1]int // of timers, by their reason
	actors int
	wake   chan struct{}
	done   chan struct{}
}

// How often the process must be seen at rest before the clock jumps. Looks are
// counted, not timed: a machine that is busy with others stretches time.
const (
	sample      = 250 * time.Microsecond
	restShort   = 6
	restTimeout = 240
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

// Running implements luavm.Clock.
func (c *clock) Running(n int) { c.running.Add(int32(n)) }

// After implements luavm.Clock.
func (c *clock) After(d time.Duration, why luavm.Reason, f func()) (stop func() bool) {
	c.mu.Lock()
	c.serial++
	t := &timer{due: c.at.Add(max(d, 0)), serial: c.serial, call: f, why: why}
	heap.Push(&c.timers, t)
	c.count[why]++
	c.mu.Unlock()
	c.stir()
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.index < 0 {
			return false
		}
		heap.Remove(&c.timers, t.index)
		c.count[why]--
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

// act adds an actor until leave is called.
func (c *clock) act() (leave func()) {
	c.mu.Lock()
	c.actors++
	c.mu.Unlock()
	c.stir()
	return func() {
		c.mu.Lock()
		c.actors--
		c.mu.Unlock()
	}
}

// close ends the clock; what waits for it waits for ever.
func (c *clock) close() {
	close(c.done)
	c.stir()
}

// next is the timer that is due first, and how long the process must have been
// at rest before it: 0 looks if its time has come, none (-1) if it must wait for
// something else to happen.
func (c *clock) next() (t *timer, looks int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.timers) == 0 {
		return nil, -1
	}
	t = c.timers[0]
	sleepers := c.count[luavm.ForSleep]
	switch {
	case !t.due.After(c.at):
		return t, 0
	case c.actors == 0:
		return t, -1
	case sleepers >= c.actors && t.why != luavm.ForTimeout:
		return t, restShort
	case sleepers+c.count[luavm.ForTimeout] > 0:
		return t, restTimeout
	}
	return t, -1
}

// run fires timers.
func (c *clock) run() {
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		t, looks := c.next()
		if looks == 0 || looks > 0 && c.rests(looks) {
			c.fire(t)
			continue
		}
		wait := time.Hour // until something happens
		if looks > 0 {
			wait = sample
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
	c.count[t.why]--
	if t.due.After(c.at) {
		c.at = t.due
	}
	c.mu.Unlock()
	t.call()
}

// rests tells whether the process has been seen at rest so often while nothing
// happened. Looks at which something runs do not count: gateways have tickers.
func (c *clock) rests(looks int) bool {
	stirs := c.stirs.Load()
	for looks > 0 {
		if c.stirs.Load() != stirs || c.running.Load() > 0 {
			return false
		}
		if !othersRun() {
			looks--
		}
		time.Sleep(sample)
	}
	return c.stirs.Load() == stirs
}

// othersRun tells whether another goroutine than the caller's runs or could.
func othersRun() bool {
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
	why    luavm.Reason
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
