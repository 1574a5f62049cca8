package loop

import (
	"sync"
	"sync/atomic"
	"time"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
)

// stats are a loop's counters; the loop alone writes them.
type stats struct {
	polls     atomic.Uint64
	events    atomic.Uint64
	exchanges atomic.Uint64
	besides   atomic.Uint64
	working   atomic.Int64 // ns outside of polls
	stall     atomic.Int64 // the longest turn since balance looked, in ns
	cpu       atomic.Int64 // ns that the thread has used, now and then
	underWay  atomic.Int64 // exchanges, now and then
	clients   atomic.Int64
	taken     atomic.Uint64 // connections after their handshakes
	tunnels   atomic.Uint64

	thread threadTime // the loop's alone

	// The longest turn of this half minute and of the one before.
	least   int64 // what a turn must exceed to be noted
	half    int64 // when the half minute ends
	longest struct {
		sync.Mutex
		now, before longTurn
	}
}

// longTurn is a turn that took long, with the longest run of Lua in it.
type longTurn struct {
	took int64
	run  exchange.Run
}

const halfMinute = int64(30 * time.Second)

// turned notes a turn that took so many ns and ends at about now.
func (s *stats) turned(took, now int64, run *exchange.Run) {
	s.working.Add(took)
	if took > int64(heldUp) {
		// It may have waited for a core all the while.
		took := min(took, s.thread.used()-s.cpu.Load())
		if took > s.stall.Load() {
			s.stall.Store(took)
		}
	}
	if took <= s.least && now < s.half {
		return
	}
	s.longest.Lock()
	defer s.longest.Unlock()
	if now >= s.half {
		s.half = now + halfMinute
		s.longest.before, s.longest.now = s.longest.now, longTurn{}
	}
	s.least = took
	s.longest.now = longTurn{took: took}
	if run.Took > 0 {
		s.longest.now.run = *run
	}
}

// longestTurn is the longest of the last minute.
func (s *stats) longestTurn() longTurn {
	s.longest.Lock()
	defer s.longest.Unlock()
	if s.longest.before.took > s.longest.now.took {
		return s.longest.before
	}
	return s.longest.now
}

// Stats gives the counters of each loop.
func (s *Server) Stats() []observe.LoopInfo {
	all := make([]observe.LoopInfo, len(s.loops))
	for i, l := range s.loops {
		long := l.stats.longestTurn()
		info := &all[i]
		*info = observe.LoopInfo{
			Polls: l.stats.polls.Load(), Events: l.stats.events.Load(),
			Exchanges: l.stats.exchanges.Load(), GoroutineOps: l.stats.besides.Load(),
			Busy: time.Duration(l.stats.working.Load()), Connections: l.stats.clients.Load(),
			Longest: time.Duration(long.took),
			Taken:   l.stats.taken.Load(), Tunnels: l.stats.tunnels.Load(),
		}
		if long.run.Script != "" {
			info.Stage, info.Script = long.run.Stage.String(), long.run.Script
		}
	}
	return all
}
