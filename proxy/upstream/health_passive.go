package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// failures is what an endpoint's exchanges taught about it: the memory behind
// nginx's max_fails and fail_timeout. It belongs to the endpoint and so
// outlives a reload. Active checks and breakers will sit beside it and answer
// the same question: may this endpoint be picked.
//
//	        max failures within cooldown
//	in use ------------------------------> avoided until T
//	  ^                                         |  T passes, one pick is let
//	  |            answered                     v  through as a probe, T moves
//	  +------------------------------------ probing --- failed ---> avoided
//
// The answer path reads one word (until) and writes nothing while all is well.
type failures struct {
	until atomic.Int64 // monotonic; 0 means in use
	count atomic.Int32 // failures in the running window

	mu      sync.Mutex
	last    monotonic // of the latest failure
	probing bool
}

// failed counts a failure and says whether the endpoint has just become one to
// avoid. limit 0 never avoids (max_fails=0).
func (f *failures) failed(at monotonic, limit int, cooldown time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != 0 && at > f.last.add(cooldown) && f.until.Load() == 0 {
		f.count.Store(0)
	}
	f.last = at
	n := f.count.Add(1)
	f.probing = false
	if limit == 0 || int(n) < limit {
		return false
	}
	f.until.Store(int64(at.add(cooldown)))
	return true
}

// answered forgets the failures if this may be the probe's answer, and says
// whether the endpoint came back. An answer to a request from before the
// failures says nothing about new ones, so it brings nothing back; nor does it
// shorten a window in which failures are counted, as in nginx.
func (f *failures) answered() bool {
	if f.until.Load() == 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.probing {
		return false
	}
	f.probing = false
	f.count.Store(0)
	f.until.Store(0)
	return true
}

// probe claims the one request that may try an avoided endpoint whose time has
// come; everybody else avoids it for another cooldown.
func (f *failures) probe(at monotonic, cooldown time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	until := f.until.Load()
	if until == 0 || int64(at) < until {
		return false
	}
	f.until.Store(int64(at.add(cooldown)))
	f.probing = true
	return true
}

// expectAnswer makes the next answer count as a probe's: all endpoints of the
// group are avoided, so all are tried.
func (f *failures) expectAnswer() {
	f.mu.Lock()
	f.probing = f.until.Load() != 0
	f.mu.Unlock()
}
