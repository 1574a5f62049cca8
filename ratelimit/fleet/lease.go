package fleet

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"perigee/ratelimit"
)

const (
	// LeaseTime is how long a slice is good for.
	LeaseTime = 100 * time.Millisecond
	// LeaseFrom is the lowest rate per second that is leased.
	LeaseFrom = 1000
	// AskEvery is how many decisions lie between two asks of an instance, where
	// the demand is high enough for that.
	AskEvery = 200

	leastPeriod = 8 * time.Millisecond
	mostPeriod  = LeaseTime / 2
	idleAfter   = 10 * time.Second // then a lease's memory is given back
)

// Leasable tells whether a limit can be leased; others are strict.
func Leasable(s ratelimit.Spec) bool {
	return s.Algorithm == ratelimit.Bucket && s.Delay == 0 && float64(s.Rate)/s.Per.Seconds() >= LeaseFrom
}

// Leases are what this instance holds of a limit's keys.
type Leases struct {
	fleet  *Fleet
	limit  ratelimit.Limit
	shards [64]leaseShard
}

type leaseShard struct {
	mu   sync.RWMutex
	keys map[uint64]*lease
	_    [32]byte
}

// lease is what this instance holds of one key.
type lease struct {
	set *Leases
	key string // in Redis

	tokens   atomic.Int64
	asked    atomic.Int64 // since the last ask
	until    atomic.Int64 // what is held is void then
	refused  atomic.Int64 // until then there is nothing to be had
	ahead    atomic.Int64 // of the bucket, when it was asked last
	lowWater atomic.Int64
	largest  atomic.Int64 // cost since the last ask
	busy     atomic.Bool  // it is asked for, or in the queue
	answered atomic.Pointer[chan struct{}]
	used     atomic.Int64 // when, roughly

	// The worker's own.
	demand  float64 // decisions a nanosecond
	askedAt int64
	slice   int64
	back    int64 // given back with the ask under way
}

// Leases finds or makes the leases of a limit. Numbers that differ from those it
// had take effect at once.
func (f *Fleet) Leases(l *ratelimit.Limit) *Leases {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := l.Name() + " " + l.Spec().String()
	s := f.sets[id]
	if s == nil {
		s = &Leases{fleet: f, limit: *l}
		for i := range s.shards {
			s.shards[i].keys = map[uint64]*lease{}
		}
		f.sets[id] = s
	}
	return s
}

// Outcome is what Take knows.
type Outcome uint8

// The outcomes.
const (
	Decided Outcome = iota
	// Wait: nothing is held and nothing is known: call Leases.Wait, which blocks.
	Wait
	// Down: the store does not answer.
	Down
)

// Take asks for cost from what this instance holds of a key, h its hash. It does
// not block and allocates nothing for keys that it knows.
func (s *Leases) Take(h uint64, key []byte, cost int64) (ratelimit.Result, Outcome) {
	l := s.find(h)
	if l == nil {
		if s.fleet.down.Load() {
			return ratelimit.Result{}, Down
		}
		l = s.add(h, key)
	}
	l.asked.Add(cost)
	return l.take(cost, s.fleet.clock.Now())
}

func (l *lease) take(cost, now int64) (ratelimit.Result, Outcome) {
	s := l.set
	if now-l.used.Load() > int64(time.Second) {
		l.used.Store(now)
	}
	if now <= l.until.Load() {
		for {
			held := l.tokens.Load()
			if held < cost {
				break
			}
			if !l.tokens.CompareAndSwap(held, held-cost) {
				continue
			}
			if held-cost < l.lowWater.Load() {
				l.ask()
			}
			r := s.limit.RemoteBucket(true, time.Duration(l.ahead.Load()), now)
			r.Delay = 0 // it was paid for: how full the bucket is since then delays nobody
			return r, Decided
		}
	}
	if now < l.refused.Load() {
		return s.limit.RemoteBucket(false, time.Duration(l.ahead.Load()), now), Decided
	}
	if s.fleet.down.Load() {
		return ratelimit.Result{}, Down
	}
	if cost > l.largest.Load() {
		l.largest.Store(cost)
	}
	return ratelimit.Result{}, Wait
}

// Wait asks the store and then decides, when Take said Wait. It blocks until the
// store has answered or ctx is done; then the outcome is Down.
func (s *Leases) Wait(ctx context.Context, h uint64, key []byte, cost int64) (ratelimit.Result, Outcome) {
	l := s.find(h)
	if l == nil {
		l = s.add(h, key)
	}
	for {
		answer := l.answer()
		if r, outcome := l.take(cost, s.fleet.clock.Now()); outcome != Wait {
			return r, outcome
		}
		l.ask()
		select {
		case <-answer:
		case <-ctx.Done():
			return ratelimit.Result{}, Down
		}
	}
}

// Refund gives back what was taken from a lease.
func (s *Leases) Refund(h uint64, cost int64) {
	if l := s.find(h); l != nil {
		l.tokens.Add(cost)
	}
}

// Charge takes cost whether it is there or not; what is missing is taken from
// the slices to come.
func (s *Leases) Charge(h uint64, key []byte, cost int64) {
	l := s.find(h)
	if l == nil {
		l = s.add(h, key)
	}
	l.asked.Add(cost)
	if l.tokens.Add(-cost) < l.lowWater.Load() {
		l.ask()
	}
}

// ask has the worker ask for the lease, if it is not about to.
func (l *lease) ask() {
	if l.busy.Load() || !l.busy.CompareAndSwap(false, true) {
		return
	}
	select {
	case l.set.fleet.queue <- l:
	default:
		l.busy.Store(false) // the worker is behind: the next decision asks again
	}
}

// answer is closed when the store has answered next, or failed to.
func (l *lease) answer() <-chan struct{} {
	for {
		if p := l.answered.Load(); p != nil {
			return *p
		}
		c := make(chan struct{})
		if l.answered.CompareAndSwap(nil, &c) {
			return c
		}
	}
}

func (s *Leases) find(h uint64) *lease {
	sh := &s.shards[h%uint64(len(s.shards))]
	sh.mu.RLock()
	l := sh.keys[h]
	sh.mu.RUnlock()
	return l
}

func (s *Leases) add(h uint64, key []byte) *lease {
	sh := &s.shards[h%uint64(len(s.shards))]
	fresh := &lease{set: s, key: s.fleet.keyOf(&s.limit, key)}
	fresh.used.Store(s.fleet.clock.Now())
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l := sh.keys[h]; l != nil {
		return l
	}
	sh.keys[h] = fresh
	return fresh
}

// each calls f for all leases, without holding a lock.
func (s *Leases) each(f func(h uint64, l *lease)) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		all := make(map[uint64]*lease, len(sh.keys))
		for h, l := range sh.keys {
			all[h] = l
		}
		sh.mu.RUnlock()
		for h, l := range all {
			f(h, l)
		}
	}
}

// ErrorRatio is the largest slice that this instance takes of a key, as a part
// of one second's limit: what it can add to the error of one second.
func (s *Leases) ErrorRatio() float64 {
	largest := int64(0)
	s.each(func(_ uint64, l *lease) { largest = max(largest, l.tokens.Load(), 2*l.lowWater.Load()) })
	return float64(largest) * s.limit.Interval() / 1e9
}
