package loop

import (
	"sync/atomic"
	"time"
)

// stats are a loop's counters; the loop alone writes them.
type stats struct {
	polls     atomic.Uint64
	events    atomic.Uint64
	exchanges atomic.Uint64
	besides   atomic.Uint64
	working   atomic.Int64 // ns outside of polls
	longest   atomic.Int64 // ns between two polls
	stall     atomic.Int64 // the same since balance looked
	cpu       atomic.Int64 // ns that the thread has used, now and then
	clients   atomic.Int64
}

// Stats is what a loop has done so far.
type Stats struct {
	Polls, Events, Exchanges uint64
	// Besides is how many ops goroutines have performed because they block.
	Besides uint64
	// Working is the time spent outside of polls.
	Working time.Duration
	Clients int64
}

// Stats gives the counters of each loop.
func (s *Server) Stats() []Stats {
	all := make([]Stats, len(s.loops))
	for i, l := range s.loops {
		all[i] = Stats{
			Polls: l.stats.polls.Load(), Events: l.stats.events.Load(),
			Exchanges: l.stats.exchanges.Load(), Besides: l.stats.besides.Load(),
			Working: time.Duration(l.stats.working.Load()), Clients: l.stats.clients.Load(),
		}
	}
	return all
}
