package limit

import (
	"fmt"
	"sync"
	"time"

	"perigee/luavm"
	"perigee/proxy/observe"
	"perigee/ratelimit"
)

// Store is what limits count in. It belongs to the process: a reload finds all
// counters again by the names of their limits.
type Store struct {
	mu    sync.Mutex
	size  int64
	table *ratelimit.Table
	tops  map[string]*top
	// scripted count what scripts were told, by the names of limits.
	scripted map[string]*luavm.LimitCounts
	sweep    *time.Timer // nil until there is a table

	fleets  []*openFleet
	closing sync.WaitGroup
	closed  bool
	// Report is told when a store goes down and when it is back. Set before use.
	Report func(message string)
}

// NewStore makes a store; its memory is mapped when the first limit is built.
func NewStore() *Store {
	return &Store{tops: map[string]*top{}, scripted: map[string]*luavm.LimitCounts{}}
}

// Prepare returns memory of that size for the counters of a configuration: what
// is in use, or new memory, which Commit makes the one in use.
func (s *Store) Prepare(size int64) (*ratelimit.Table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.table != nil && s.size == size {
		return s.table, nil
	}
	table, err := ratelimit.NewTable(size)
	if err != nil {
		return nil, fmt.Errorf("memory of limits: %w", err)
	}
	return table, nil
}

// Commit tells that a configuration runs which counts in table (nil: in none)
// and has limits of these names. Filters of the former one hold on to the former
// table, which unmaps itself after the last of them.
func (s *Store) Commit(table *ratelimit.Table, size int64, names map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if table != nil {
		s.table, s.size = table, size
		if s.sweep == nil {
			s.sweep = time.AfterFunc(sweepEvery, s.sweepNow)
		}
	}
	for name := range s.tops {
		if !names[name] {
			delete(s.tops, name)
		}
	}
}

// counted finds the counters of what scripts were told by a limit, which its
// metrics show. They are kept as long as the process lives, so that no series
// goes back.
func (s *Store) counted(name string, metrics *observe.LimitMetrics) *luavm.LimitCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.scripted[name]
	if c == nil {
		if c = luavm.NewLimitCounts(); c == nil {
			return nil
		}
		s.scripted[name] = c
	}
	metrics.Beside(func(outcome uint8) int64 {
		allowed, delayed, denied := c.Counts()
		switch outcome {
		case observe.LimitAllowed:
			return int64(allowed)
		case observe.LimitDelayed:
			return int64(delayed)
		case observe.LimitDenied:
			return int64(denied)
		}
		return 0
	})
	return c
}

// top finds the heaviest keys of a limit, by its name.
func (s *Store) top(name string) *top {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tops[name]
	if t == nil {
		t = &top{}
		s.tops[name] = t
	}
	return t
}

// sweepEvery is how often slots of idle keys are freed, so that no request has to:
// a table of 64 MiB takes some milliseconds.
const sweepEvery = time.Minute

func (s *Store) sweepNow() {
	s.mu.Lock()
	table := s.table
	s.mu.Unlock()
	table.Sweep(table.Clock().Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.sweep.Reset(sweepEvery)
	}
}

// Table describes the memory of counters.
func (s *Store) Table() (info observe.LimitTableInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.table == nil {
		return info
	}
	stats := s.table.Stats()
	return observe.LimitTableInfo{
		Bytes: s.table.Size(), Slots: int64(stats.Buckets) * 4,
		Claims: stats.Claims, Idle: stats.Idle, Evicted: stats.Evicted,
	}
}
