package loop

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/upstream"
)

// source is what a loop watches. ready is told of epoll's events.
type source interface{ ready(events uint32) }

// poster is what other threads draw the loop's attention to.
type poster interface{ posted() }

// slot is where a source stands; an event names slot and turn, so that one that
// was fetched before its source was dropped reaches no other.
type slot struct {
	source source
	turn   uint32
}

// Loop is one event loop. All but what doc.go names belongs to its thread.
type Loop struct {
	server *Server
	index  int

	epoll, wake int
	slots       []slot
	free        []uint32
	events      []unix.EpollEvent
	next, got   int // of events: those before next have been dispatched

	start  time.Time
	now    int64     // as of the last poll, in ns after start
	wall   time.Time // the same instant
	wallNS int64     // and by exchange.MonotonicNS
	clock  exchange.Clock
	timers timers

	inbox struct {
		sync.Mutex
		posts []poster
	}
	posts    []poster // those that are being looked at
	sleeping atomic.Bool
	ending   bool
	drainAt  int64 // when a drain began

	runnable []*task // may have got further; those before head have run
	head     int
	again    []*client // may have a request in their buffers
	clients  *client   // all, linked
	count    int
	landing  *[]byte // see room
	answer   []byte  // memory for heads of answers, unless one waits to be sent
	request  []byte  // likewise, of requests to endpoints
	heads    spares[[]byte]
	buffers  spares[[]byte]
	works    spares[work]
	emptied  spares[exchange.Exchange]
	plain    []byte // of a record that is sealed next
	sealed   []byte // records on their way out; empty between two uses
	waits    []*wait
	trunks   []*trunk // have something to do before the next poll
	held     []*trunk // have something to send, but not at once
	heldAt   int64    // since when
	places   map[*upstream.Endpoint]*places
	begun    uint64 // exchanges
	tally    observe.Tally
	underWay int // of them
	quickest quickest
	current  *client // what a panic is the fault of

	eager bool // the last poll brought much
	// longestRun is the longest run of Lua of this turn.
	longestRun exchange.Run
	acceptors  []*acceptor
	cpuAt      int64
	yieldedAt  int64
	yields     uint
	target     *Loop // is given connections
	giving     int   // how many

	stats stats
}

func newLoop(s *Server, index int) (*Loop, error) {
	l := &Loop{server: s, index: index, start: time.Now(), events: make([]unix.EpollEvent, 256)}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(l.epoll)
		return nil, err
	}
	if _, err = l.watch(l.wake, wakeUp{l}, unix.EPOLLIN|unix.EPOLLET); err != nil {
		l.closeAll()
		return nil, err
	}
	return l, nil
}

func (l *Loop) closeAll() {
	_ = unix.Close(l.wake)
	_ = unix.Close(l.epoll)
}

// wakeUp is the eventfd. It is edge-triggered and never read: each write is an
// event of its own.
type wakeUp struct{ *Loop }

func (wakeUp) ready(uint32) {}

// bothWays is how sockets are watched: once, for all they may tell.
const bothWays = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// watch registers a descriptor; the number is for unwatch.
func (l *Loop) watch(fd int, s source, events uint32) (uint32, error) {
	var i uint32
	if n := len(l.free); n > 0 {
		i = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		i = uint32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	l.slots[i].source = s
	event := unix.EpollEvent{Events: events, Fd: int32(i), Pad: int32(l.slots[i].turn)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		l.unwatch(i)
		return 0, err
	}
	return i, nil
}

// unwatch forgets a source. Its descriptor has been closed, or is about to be.
func (l *Loop) unwatch(i uint32) {
	l.slots[i].source = nil
	l.slots[i].turn++
	l.free = append(l.free, i)
}

// post draws the loop's attention to p, from any thread.
func (l *Loop) post(p poster) {
	l.inbox.Lock()
	l.inbox.posts = append(l.inbox.posts, p)
	l.inbox.Unlock()
	if l.sleeping.Load() && l.sleeping.Swap(false) {
		one := [8]byte{1}
		_, _ = unix.Write(l.wake, one[:])
	}
}

// run is the loop's life.
func (l *Loop) run() {
	runtime.LockOSThread()
	beExact()
	defer l.server.done.Done()
	for !l.turn() {
	}
	for _, s := range l.slots {
		if k, ok := s.source.(*trunk); ok {
			k.up.Close()
		}
	}
	l.closeAll()
}

// turn is one wake-up, or what a panic has left of it. True: the loop ends.
func (l *Loop) turn() (ended bool) {
	defer l.recover()
	if l.next == l.got {
		more := l.settle()
		if l.ending && l.count == 0 {
			l.tally.Settle()
			l.stats.exchanges.Store(l.begun)
			return true
		}
		l.poll(more)
	}
	for l.next < l.got {
		e := &l.events[l.next]
		l.next++
		l.current = nil
		if s := &l.slots[e.Fd]; s.source != nil && s.turn == uint32(e.Pad) {
			s.source.ready(e.Events)
			l.runTasks()
		}
	}
	l.expireTimers()
	return false
}

// recover ends the connection whose exchange has panicked; nothing of it can be
// trusted any more.
func (l *Loop) recover() {
	if v := recover(); v != nil {
		l.server.opt.Recovered(v)
		if c := l.current; c != nil {
			l.current = nil
			c.abandon()
		}
	}
}

// settle does what the events, timers and posts of a wake-up have made possible.
// more: there is still something to do, but others are to have their turn; a
// client that pipelines could go on for ever.
func (l *Loop) settle() (more bool) {
	for range 16 {
		l.current = nil
		l.inbox.Lock()
		l.posts, l.inbox.posts = l.inbox.posts, l.posts[:0]
		l.inbox.Unlock()
		for i, p := range l.posts {
			l.posts[i] = nil
			p.posted()
		}
		l.posts = l.posts[:0]
		if len(l.runnable) == 0 && len(l.again) == 0 {
			if !l.attend() {
				return false
			}
			continue
		}
		l.runTasks()
		l.readAgain()
	}
	l.attend()
	return true
}

// runTasks runs what may have got further. Each event's is run at once, while
// its memory is near: of thousands that wait, the next one's is not.
func (l *Loop) runTasks() {
	for l.head < len(l.runnable) {
		t := l.runnable[l.head]
		l.head++
		t.queued = false
		if t.ex != nil {
			t.run()
		}
	}
	clear(l.runnable)
	l.runnable, l.head = l.runnable[:0], 0
}

// readAgain lets each client that has more in its buffer begin one request.
func (l *Loop) readAgain() {
	again := l.again
	l.again = nil
	for _, c := range again {
		c.inAgain = false
		l.current = c
		if c.state == reading {
			c.readHead()
		}
	}
	if l.again == nil {
		clear(again)
		l.again = again[:0]
	}
}

// eagerFrom is how many events promise that more will be there at once.
const eagerFrom = 4

// yieldEvery is how long a loop runs before it lets the scheduler count it anew. To
// the runtime it is one goroutine that never ends, for waiting in a system call does
// not count: after 10 ms its monitor would send it a signal, take its P away during
// a call into C, and look again every 20 us for a while each time that succeeds,
// which cost 4 % of a busy loop's CPU.
const yieldEvery = 8 * time.Millisecond

// yield does so. A goroutine that is locked to its thread can only be run again by
// way of another thread: that one has to be woken, find a core, take the goroutine
// up and wake the loop's thread, which on a busy machine takes milliseconds. Nor is
// runtime.Gosched of use while there is a P without work: it wakes a thread to look
// for some, which has slept for long and so is given this core, and takes the loop
// with it. goyield wakes nobody. But it leaves the goroutines of the global queue
// to others, so where loops have all Ps it has to be Gosched now and then.
func (l *Loop) yield() {
	l.yields++
	runtime.UnlockOSThread()
	if l.yields%4 != 0 || int(l.server.active.Load()) < runtime.GOMAXPROCS(0) {
		goyield()
	} else {
		runtime.Gosched()
	}
	runtime.LockOSThread()
	beExact()
}

// goyield has the scheduler of the runtime look for something else to do on this
// P, and goes on when there is nothing. The runtime keeps it for packages that link
// to it by name (go.dev/issue/67401).
//
//go:linkname goyield runtime.goyield
func goyield()

// poll waits for events. While there are many, the first look does not wait: a
// loop that is busy then never tells the scheduler that it may sleep.
func (l *Loop) poll(more bool) {
	l.tally.Settle()
	l.stats.exchanges.Store(l.begun)
	l.stats.turned(int64(time.Since(l.start))-l.now, l.now, &l.longestRun)
	l.longestRun.Took = 0
	if l.now-l.cpuAt > int64(balanceEvery)/4 {
		l.cpuAt = l.now
		l.stats.cpu.Store(l.stats.thread.used())
		l.stats.underWay.Store(int64(l.underWay))
	}
	if l.now-l.yieldedAt > int64(yieldEvery) {
		l.yieldedAt = l.now
		l.yield()
	}
	if l.eager && !more {
		more = l.rest()
	}
	if len(l.held) > 0 && l.now-l.heldAt > mostHold {
		more = l.letGo()
	}
	l.got, l.next = 0, 0
	if l.eager || more || len(l.held) > 0 {
		l.got = l.pollOnce()
	}
	if l.got == 0 && len(l.held) > 0 {
		more = l.letGo()
	}
	if l.eager = l.got > 0; !l.eager && !more {
		l.sleep()
	}
	l.tick()
	l.stats.polls.Add(1)
	l.stats.events.Add(uint64(l.got))
}

// sleep waits for events, unless there is something to do already.
func (l *Loop) sleep() {
	timeout := l.untilNext()
	l.sleeping.Store(true)
	l.inbox.Lock()
	if len(l.inbox.posts) > 0 {
		timeout = 0
	}
	l.inbox.Unlock()
	if timeout == 0 {
		l.got = l.pollOnce()
	} else if n, err := unix.EpollWait(l.epoll, l.events, timeout); err == nil {
		l.got = n
		l.eager = n >= eagerFrom
	}
	l.sleeping.Store(false)
}

func (l *Loop) pollOnce() int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(l.events))), uintptr(len(l.events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// tick takes the time, once for all that a wake-up does.
func (l *Loop) tick() {
	l.wall = time.Now()
	l.now = int64(l.wall.Sub(l.start))
	l.clock.Set(l.wall)
	l.wallNS = l.clock.NS()
}
