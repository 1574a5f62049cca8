package ratelimit

import (
	"fmt"
	"math/bits"
	"time"
)

// Algorithm says what a limit remembers of a key.
type Algorithm uint8

// The algorithms.
const (
	// Bucket refills evenly; Burst may come at once.
	Bucket Algorithm = iota
	// Sliding admits Rate in any span of Per, estimated from two windows.
	Sliding
	// Fixed admits Rate in each span of Per since 1970, UTC.
	Fixed
	// Month is Fixed per calendar month, UTC.
	Month
	// Concurrent admits Rate at a time; every admission must be refunded.
	Concurrent
)

var algorithmNames = [...]string{"bucket", "sliding", "fixed", "month", "concurrent"}

// String is the algorithm's name.
func (a Algorithm) String() string {
	if int(a) < len(algorithmNames) {
		return algorithmNames[a]
	}
	return "unknown"
}

// Spec is a limit as people write it.
type Spec struct {
	Algorithm Algorithm
	// Rate is how many per Per; for Concurrent how many at a time.
	Rate int64
	Per  time.Duration
	// Burst is how many may come at once when nothing came before; Bucket alone.
	// 0: one.
	Burst int64
	// Delay is the longest a request may be told to wait for its turn beyond the
	// burst; Bucket alone.
	Delay time.Duration
}

// SpecError says what is wrong with a Spec; Field is the one to change.
type SpecError struct{ Field, Problem, Fix string }

// Error is problem and fix in one line.
func (e *SpecError) Error() string {
	return e.Field + " " + e.Problem + " (" + e.Fix + ")"
}

// Bounds of what words can hold.
const (
	// MaxBucketRate is the highest rate of a Bucket per second: intervals are
	// kept to 1/1024 ns, which is one part in a million here.
	MaxBucketRate = 1_000_000
	// MaxSliding is the most a sliding window counts.
	MaxSliding = countMask
	// MaxFixed is the most a fixed window counts.
	MaxFixed = totalMask
	// MinWindow and MaxWindow bound windows; words keep their number's low bits.
	MinWindow = time.Second
	MaxWindow = 366 * 24 * time.Hour
)

// Check says what cannot be done, nil if all can.
func (s Spec) Check() error {
	switch {
	case s.Rate <= 0:
		return &SpecError{"rate", fmt.Sprintf("%d admits nothing", s.Rate), "admit at least 1; to refuse everybody use no limit"}
	case s.Algorithm != Bucket && s.Burst != 0:
		return &SpecError{"burst", "has no meaning for " + s.Algorithm.String(), "remove it, or use algorithm bucket"}
	case s.Algorithm != Bucket && s.Delay != 0:
		return &SpecError{"delay", "has no meaning for " + s.Algorithm.String(), "remove it, or use algorithm bucket"}
	}
	switch s.Algorithm {
	case Bucket:
		return s.checkBucket()
	case Sliding, Fixed:
		most := int64(MaxSliding)
		if s.Algorithm == Fixed {
			most = MaxFixed
		}
		if s.Rate > most {
			return &SpecError{"rate", fmt.Sprintf("%d is more than a %s window counts", s.Rate, s.Algorithm),
				fmt.Sprintf("use at most %d, or algorithm bucket", most)}
		}
		if s.Per < MinWindow || s.Per > MaxWindow {
			return &SpecError{"rate", fmt.Sprintf("has a window of %v", s.Per),
				fmt.Sprintf("use a window from %v to %v, or algorithm bucket", MinWindow, MaxWindow)}
		}
	case Month:
		if s.Rate > MaxFixed {
			return &SpecError{"rate", fmt.Sprintf("%d is more than a window counts", s.Rate), fmt.Sprintf("use at most %d", int64(MaxFixed))}
		}
	case Concurrent:
		if s.Rate > MaxFixed {
			return &SpecError{"rate", fmt.Sprintf("%d is more than can be in flight", s.Rate), fmt.Sprintf("use at most %d", int64(MaxFixed))}
		}
	default:
		return &SpecError{"algorithm", "is unknown", "use bucket, sliding, fixed, month or concurrent"}
	}
	return nil
}

func (s Spec) checkBucket() error {
	if s.Per <= 0 {
		return &SpecError{"rate", "has no span of time", "write events per span"}
	}
	if float64(s.Rate)/s.Per.Seconds() > MaxBucketRate {
		return &SpecError{"rate", "is beyond the precision of a bucket", fmt.Sprintf("use at most %d/s", MaxBucketRate)}
	}
	if s.Burst < 0 {
		return &SpecError{"burst", fmt.Sprintf("%d is below 1: nothing would ever pass", s.Burst), "use at least 1"}
	}
	if s.Delay < 0 {
		return &SpecError{"delay", fmt.Sprintf("%v is below 0", s.Delay), "use 0 for no waiting"}
	}
	hi, tau := bits.Mul64(s.interval(), uint64(max(s.Burst, 1)))
	if hi != 0 || tau > maxAhead/2 || uint64(s.Delay)>>(63-unitShift) != 0 || uint64(s.Delay)<<unitShift > maxAhead/2 {
		return &SpecError{"burst", "takes more than 3 days to come back at this rate", "use a smaller burst or delay, or algorithm fixed for quotas"}
	}
	return nil
}

// interval is the time between two requests in units of 1/2048 ns, even, rounded
// up to 1/1024 ns.
func (s Spec) interval() uint64 {
	return 2 * mulDivUp(uint64(s.Per), 1<<(unitShift-1), uint64(s.Rate))
}

// Limit is a Spec compiled for one table: what every decision about one of its
// keys needs. It is immutable; C reads it in this layout.
type Limit struct {
	seed     uint64 // of this limit's keys
	interval uint64 // between two requests, 1/2048 ns, even
	tau      uint64 // the burst, as time
	slack    uint64 // how much longer may be waited
	max      uint64 // most per window, or at a time
	period   int64  // window, ns
	class    uint8
	kind     Algorithm
	months   bool
	// never is more than any burst: a request of that cost cannot pass.
	never uint64
	spec  Spec
	name  string
}

// Name is what the limit was declared as.
func (l *Limit) Name() string { return l.name }

// Spec is what the limit was made of.
func (l *Limit) Spec() Spec { return l.spec }

// Limit compiles a Spec. Keys of limits of different names never meet; a limit
// of the same name finds the words that an earlier one left, whatever its
// numbers: debts of a Bucket are time, which they stay when the rate changes.
// It fails when the Spec is wrong, or when the table has seen 254 different
// windows.
func (t *Table) Limit(name string, s Spec) (Limit, error) {
	if err := s.Check(); err != nil {
		return Limit{}, err
	}
	l := Limit{seed: Hash([]byte(name), t.seed), kind: s.Algorithm, spec: s, name: name, period: int64(s.Per)}
	var err error
	switch s.Algorithm {
	case Bucket:
		l.interval = s.interval()
		l.tau = l.interval * uint64(max(s.Burst, 1))
		l.slack = uint64(s.Delay) << unitShift
		l.never = (l.tau+l.slack)/l.interval + 1
		return l, nil
	case Concurrent:
		l.class, err = t.class(classInflight)
	case Month:
		l.kind, l.months, l.period = Fixed, true, day
		l.class, err = t.class(uint64(day) << 1)
	case Fixed:
		l.class, err = t.class(uint64(l.period) << 1)
	case Sliding:
		l.class, err = t.class(uint64(l.period)<<1 | 1)
	}
	l.max, l.never = uint64(s.Rate), uint64(s.Rate)+1
	return l, err
}

// Result is the outcome of one decision. It has no more fields than fit into
// registers.
type Result struct {
	// Allowed says that the request may pass, after Delay.
	Allowed bool
	// Delay is how long it is to wait before, in nanoseconds.
	Delay int64
	word  uint64 // what is known of the key afterwards
	now   int64
}

// Known says that the Result is one of a decision.
func (r Result) Known() bool { return r.now != 0 }

// Quota is a Result in words for people and headers.
type Quota struct {
	// Limit is how many may come at once, or in the window.
	Limit int64
	// Remaining is how many of these are left.
	Remaining int64
	// Reset is how long until all of them are there again; 0 for Concurrent.
	Reset time.Duration
	// Retry is how long until a refused request would pass if nothing else came;
	// negative: never.
	Retry time.Duration
}

// Quota tells what the Result of a decision about cost means.
func (l *Limit) Quota(r Result, cost int64) Quota {
	c := uint64(max(cost, 0))
	q := Quota{Limit: int64(l.max)}
	switch l.kind {
	case Bucket:
		at := instant(r.now)
		q.Limit = max(l.spec.Burst, 1)
		ahead := uint64(0)
		if r.word != 0 && int64(r.word-at) > 0 {
			ahead = r.word - at
		}
		q.Reset = time.Duration(nanoseconds(ahead))
		if ahead < l.tau {
			q.Remaining = int64((l.tau - ahead) / l.interval)
		}
		if over := int64(ahead + l.charge(c) - l.tau - l.slack); !r.Allowed && over > 0 {
			q.Retry = time.Duration(nanoseconds(uint64(over)))
		}
	case Sliding:
		l.slidingQuota(&q, r, c)
	case Fixed:
		n, end := l.window(r.now)
		q.Remaining = int64(l.max - min(fixedCount(r.word, n), l.max))
		q.Reset = time.Duration(end - r.now)
		q.Retry = q.Reset
	case Concurrent:
		q.Remaining = int64(l.max - min(r.word>>1, l.max))
	}
	if r.Allowed {
		q.Retry = 0
	} else if c >= l.never {
		q.Retry = -1
	}
	return q
}

func (l *Limit) slidingQuota(q *Quota, r Result, cost uint64) {
	n := uint64(r.now / l.period)
	left := uint64(l.period - r.now%l.period)
	current, before := slidingCounts(r.word, n)
	used := current + mulDivUp(before, left, uint64(l.period))
	q.Remaining = int64(l.max - min(used, l.max))
	switch {
	case current > 0:
		q.Reset = time.Duration(left) + time.Duration(l.period)
	case before > 0:
		q.Reset = time.Duration(left)
	}
	if !r.Allowed && cost < l.never {
		q.Retry = time.Duration(slidingRetry(r.word, r.now, cost, l))
	}
}

// charge is a cost in GCRA's units; costs beyond never are all the same.
func (l *Limit) charge(cost uint64) uint64 { return l.interval * min(cost, l.never) }

// String is the numbers, for people and as a name for them.
func (s Spec) String() string {
	return fmt.Sprintf("%s %d/%v burst %d delay %v", s.Algorithm, s.Rate, s.Per, s.Burst, s.Delay)
}
