package loop

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// What a request costs depends on how many events a wake-up brings: two loops
// that are half busy wake up twice as often as one that does all, and take a
// third more CPU for the same requests. So connections are kept on as few loops
// as the load needs.
//
//	        share of a core that the thread of each active loop uses
//	                  |
//	one over 0.85 ----+---- all others together under 0.6 of what one less
//	or one held up,   |     would leave each
//	or crowded        |
//	      v                         v
//	active + 1: the busiest    active - 1: the last gives its
//	gives some of its          connections away
//	connections away
//
// The share is the thread's CPU time, not the time outside of polls: on a
// machine whose cores others use a loop waits for a core, and a second one would
// wait beside it. For the same reason more loops than half of the cores become
// active only while a core has time for them, unless loops are crowded: of a
// thousand exchanges half still bring many events at a time, and others keep the
// loop from its core for long enough that even with a share of 0.7 it lags behind.
//
// Connections change loops between two requests, when there is nothing of them
// but a descriptor. Those that are idle stay where they are: they cost nothing.

const (
	balanceEvery = 250 * time.Millisecond
	busyShare    = 0.85
	spareShare   = 0.6
	// spareCore is how much of one core the machine must have to spare. Two loops
	// need a third more CPU for the same requests, and whoever sends and answers
	// more of them needs more too: with less to spare all get slower.
	spareCore = 0.4
	// crowd is how many exchanges make a loop crowded, and crowdShare what its
	// share must exceed for another.
	crowd      = 256
	crowdShare = 0.7
	// heldUp is how long a loop may be away from its poll before its
	// connections are spread: a script that computes holds up its neighbours.
	heldUp = 50 * time.Millisecond
	// calm is how long all must have been well before there is one loop less.
	calm = 5 * time.Second
)

// balance decides how many loops are active, until stop is closed.
func (s *Server) balance(stop <-chan struct{}) {
	tick := time.NewTicker(balanceEvery)
	defer tick.Stop()
	cpu, rest := make([]int64, len(s.loops)), idleTime()
	last := time.Now()
	grown := last
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		at := time.Now()
		loads, now := make([]load, len(s.loops)), pressure{}
		for i, l := range s.loops {
			used := l.stats.cpu.Load()
			loads[i] = load{float64(used-cpu[i]) / float64(at.Sub(last)), l.stats.underWay.Load()}
			cpu[i] = used
			now.stalled = l.stats.stall.Swap(0) > int64(heldUp) || now.stalled
		}
		idle := idleTime()
		spare := float64(idle-rest) / float64(at.Sub(last))
		rest = idle
		last = at
		active := int(s.active.Load())
		now.tight = idle > 0 && spare < spareCore && active >= runtime.NumCPU()/2
		switch next := decide(loads, active, now); {
		case next > active || now.stalled:
			grown = at
			if next == active {
				break
			}
			s.active.Store(int32(next))
			s.spread(loads, active)
		case next < active && at.Sub(grown) > calm:
			s.active.Store(int32(next))
			s.gather(next)
		}
	}
}

// load is how much a loop has to do: its thread's share of a core, and how many
// exchanges are under way.
type load struct {
	share    float64
	underWay int64
}

// pressure is what else there is to decide by.
type pressure struct {
	stalled bool // a loop has been held up
	tight   bool // the machine has no core to spare for another
}

// full tells whether the loop needs help.
func (l load) full(tight bool) bool {
	if l.underWay >= crowd {
		return l.share > crowdShare
	}
	return !tight && l.share > busyShare
}

// decide is how many loops should be active, given how busy each is.
func decide(loads []load, active int, p pressure) int {
	total, full := 0.0, p.stalled
	for _, l := range loads {
		total += l.share
		full = full || l.full(p.tight)
	}
	switch {
	case active < len(loads) && full:
		return active + 1
	case active > 1 && !p.stalled && total < spareShare*float64(active-1):
		return active - 1
	}
	return active
}

// spread has the busiest of the former loops give connections to the new one.
func (s *Server) spread(loads []load, to int) {
	busiest := 0
	for i := range to {
		if loads[i].share > loads[busiest].share {
			busiest = i
		}
	}
	target := s.loops[to]
	target.post(function(func() { target.listen(true) }))
	l := s.loops[busiest]
	l.post(function(func() { l.giveAway(target, l.count/2) }))
}

// gather has the loop that is active no longer give its connections to others.
func (s *Server) gather(from int) {
	l := s.loops[from]
	l.post(function(func() {
		l.listen(false)
		l.giveAway(s.loops[0], l.count)
	}))
}

// giveAway has the next n connections whose exchange ends move to target.
func (l *Loop) giveAway(target *Loop, n int) { l.target, l.giving = target, n }

// isGiving tells whether the loop has connections to give away: none to a loop
// that is no longer active, but all of them if it is not active itself.
func (l *Loop) isGiving() bool {
	active := int(l.server.active.Load())
	if l.giving > 0 && l.target.index < active {
		return true
	}
	l.giving = 0
	if l.index < active {
		return false
	}
	l.target, l.giving = l.server.loops[l.index%active], 1
	return true
}

// give moves an idle connection to the loop that is to have it.
func (l *Loop) give(c *client) {
	l.giving--
	if unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, c.fd, nil) != nil {
		l.set(&c.timer, l.server.limits.Load().IdleTime)
		return
	}
	l.drop(&c.timer)
	l.unwatch(c.slot)
	l.unlink(c)
	c.loop = l.target
	l.target.post(moved{c})
}

// moved is a connection on its way to another loop.
type moved struct{ *client }

func (m moved) posted() {
	c := m.client
	c.readable, c.gone = false, false // registering tells what there is
	if c.enter() {
		c.loop.set(&c.timer, c.loop.server.limits.Load().IdleTime)
	}
}

// enter makes c, whose socket nobody watches, one of its loop's clients.
func (c *client) enter() bool {
	l := c.loop
	var err error
	if c.slot, err = l.watch(c.fd, c, bothWays); err != nil || l.ending {
		_ = unix.Close(c.fd)
		l.server.open.Add(-1)
		l.server.opt.Closed(c.info.Listener)
		return false
	}
	l.link(c)
	return true
}

// idleTime is how long the machine's cores have had nothing to do, in ns; 0 where
// the system does not tell.
func idleTime() int64 {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0
	}
	defer f.Close()
	var line [256]byte
	n, _ := f.Read(line[:])
	var user, nice, system, idle int64
	if _, err := fmt.Sscanf(string(line[:n]), "cpu %d %d %d %d", &user, &nice, &system, &idle); err != nil {
		return 0
	}
	const tick = int64(time.Second) / 100 // USER_HZ
	return idle * tick
}

// threadTime is CPU time that a loop has used on whichever thread it was. It changes
// its thread when it yields, if ever; what it has used since it was last asked is
// lost then.
type threadTime struct {
	tid         int
	last, total int64
}

// used is called on the loop's thread.
func (t *threadTime) used() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return t.total
	}
	tid, now := unix.Gettid(), ts.Nano()
	if tid == t.tid {
		t.total += now - t.last
	}
	t.tid, t.last = tid, now
	return t.total
}
