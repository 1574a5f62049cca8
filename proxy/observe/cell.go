package observe

import (
	"math"
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"
)

// The memory of a series.
//
// A counter that all processors add to is one cache line that travels between
// them on every add: about 5 ns alone, 50 to 100 ns with 16 processors on it.
// So everything that every exchange touches is spread over shards, and a record
// carries the number of its shard:
//
//	Counts, 4 shards          Histogram, 4 shards
//
//	line 0 | n | pad ... |    shards --> [0] [1] [2] [3]   read only, shared
//	line 1 | n | pad ... |                |   |   |   nil  not used yet
//	line 2 | n | pad ... |                v   v   v
//	line 3 | n | pad ... |            | le0 | le1 | ...  | le7 |  two lines,
//	                                  | le8 | ... | +Inf | sum |  one owner mostly
//
// A histogram's cell and a status code's Counts are made when they are first
// needed, by whoever needs them first: of ten thousand routes, those without
// traffic cost a few hundred bytes each. A loser of that race drops its copy and
// takes the winner's.
//
// Go has no public per-processor storage, but the pool that exchanges come from
// has: an exchange usually returns to the processor that used it last. A shard
// number given to an exchange once when it is built therefore keeps a processor
// on few lines. It is only a matter of speed: any goroutine may add to any shard
// at any time, all adds are atomic.
//
// Reading adds up the shards without stopping the writers. Each cell only grows,
// and a read that starts after another read ended sees every cell at or above
// what the other saw, so no exported counter goes backwards. A histogram's count
// is by construction the sum of its buckets; its sum may be ahead of or behind
// them by the few observations that are under way, which Prometheus allows for.

// cacheLine is the unit that processors pass around: 64 bytes on amd64. Its
// neighbour is often prefetched with it; the pad does not pay for that.
const cacheLine = 64

// maxShards bounds the memory of a series; above 16 processors few of them share
// a line, which costs little.
const maxShards = 16

// shardCount returns the number of shards for this process: the next power of
// two from GOMAXPROCS up, at most maxShards.
func shardCount() int {
	n := runtime.GOMAXPROCS(0)
	return min(1<<bits.Len(uint(n-1)), maxShards)
}

// Counter is one number that only grows, for what happens seldom enough that one
// cache line is fine. The zero value is ready.
type Counter struct{ n atomic.Uint64 }

// Inc adds one.
func (c *Counter) Inc() { c.n.Add(1) }

// Add adds n.
func (c *Counter) Add(n uint64) { c.n.Add(n) }

// Value returns the count.
func (c *Counter) Value() uint64 { return c.n.Load() }

// Gauge is one number that goes up and down; the zero value is ready.
type Gauge struct{ n atomic.Int64 }

// Add adds n, which may be negative.
func (g *Gauge) Add(n int64) { g.n.Add(n) }

// Set makes the gauge n.
func (g *Gauge) Set(n int64) { g.n.Store(n) }

// Value returns the number.
func (g *Gauge) Value() int64 { return g.n.Load() }

type paddedCount struct {
	n atomic.Int64
	_ [cacheLine - 8]byte
}

// Counts is a number spread over shards, for what every exchange touches. Make
// it with Metrics.Counts or newCounts.
type Counts struct{ cells []paddedCount }

func newCounts(shards int) *Counts { return &Counts{cells: make([]paddedCount, shards)} }

// Add adds n on the given shard (Record.Shard).
func (c *Counts) Add(shard uint32, n int64) {
	c.cells[int(shard)&(len(c.cells)-1)].n.Add(n)
}

// Value returns the sum over the shards. It touches every shard's line: for
// scrapes and samplers, not for each exchange.
func (c *Counts) Value() int64 {
	var sum int64
	for i := range c.cells {
		sum += c.cells[i].n.Load()
	}
	return sum
}

// bounds is how many finite upper bounds a histogram has: with +Inf and the sum
// a shard is then exactly two cache lines.
const bounds = 14

// Bounds are the finite upper bounds of a histogram's buckets, ascending.
type Bounds [bounds]time.Duration

// Buckets for whole exchanges and upstream attempts, and for runs of Lua.
var (
	exchangeBounds = Bounds{
		500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond,
		5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
		50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
		500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
		5 * time.Second, 10 * time.Second,
	}
	luaBounds = Bounds{
		2 * time.Microsecond, 5 * time.Microsecond, 10 * time.Microsecond,
		25 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond,
		250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond,
		2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
		50 * time.Millisecond, 100 * time.Millisecond,
	}
)

type histogramCell struct {
	buckets [bounds + 1]atomic.Uint64 // not cumulative; the last is +Inf
	sum     atomic.Int64              // nanoseconds
}

// Histogram counts durations in buckets as Prometheus reads them (le, sum,
// count), without a lock. Make it with newHistogram.
type Histogram struct {
	bounds *Bounds
	shards []atomic.Pointer[histogramCell]
}

func newHistogram(b *Bounds, shards int) *Histogram {
	return &Histogram{bounds: b, shards: make([]atomic.Pointer[histogramCell], shards)}
}

// Observe counts d on the given shard (Record.Shard). A negative d, which only
// an unset field can be, is not counted.
func (h *Histogram) Observe(shard uint32, d time.Duration) {
	if d < 0 {
		return
	}
	h.add(shard, h.bucket(d), 1, d)
}

// bucket is the one that d is counted in.
func (h *Histogram) bucket(d time.Duration) int {
	i := 0
	for i < bounds && d > h.bounds[i] {
		i++
	}
	return i
}

// span says which durations a bucket counts: those above one, up to another.
func (h *Histogram) span(bucket int) (above, most time.Duration) {
	above, most = -1, math.MaxInt64
	if bucket > 0 {
		above = h.bounds[bucket-1]
	}
	if bucket < bounds {
		most = h.bounds[bucket]
	}
	return above, most
}

// add counts n durations of a bucket that make sum together.
func (h *Histogram) add(shard uint32, bucket int, n int64, sum time.Duration) {
	c := loadOrMake(&h.shards[int(shard)&(len(h.shards)-1)], newCell)
	c.buckets[bucket].Add(uint64(n))
	c.sum.Add(int64(sum))
}

func newCell() *histogramCell { return new(histogramCell) }

// loadOrMake returns what slot points to, filled from make by the first to ask.
func loadOrMake[T any](slot *atomic.Pointer[T], make func() *T) *T {
	if v := slot.Load(); v != nil {
		return v
	}
	fresh := make()
	if slot.CompareAndSwap(nil, fresh) {
		return fresh
	}
	return slot.Load()
}

// Totals is a histogram read at one moment.
type Totals struct {
	Bounds  *Bounds
	Buckets [bounds + 1]uint64 // not cumulative; the last is above all bounds
	Count   uint64
	Sum     time.Duration
}

// Totals adds up the shards.
func (h *Histogram) Totals() Totals {
	t := Totals{Bounds: h.bounds}
	for i := range h.shards {
		c := h.shards[i].Load()
		if c == nil {
			continue
		}
		for j := range c.buckets {
			n := c.buckets[j].Load()
			t.Buckets[j] += n
			t.Count += n
		}
		t.Sum += time.Duration(c.sum.Load())
	}
	return t
}

// Quantile returns the upper bound of the bucket that holds the q-quantile
// (0..1), the largest bound for what is above all, and 0 when nothing was
// counted.
func (t *Totals) Quantile(q float64) time.Duration {
	if t.Count == 0 {
		return 0
	}
	rank := max(uint64(q*float64(t.Count)+0.5), 1)
	var seen uint64
	for i, b := range t.Bounds {
		if seen += t.Buckets[i]; seen >= rank {
			return b
		}
	}
	return t.Bounds[bounds-1]
}

// codes counts by HTTP status. A class of a hundred and a status in it take
// memory when they are first seen.
type codes struct {
	shards  int
	classes [5]atomic.Pointer[codeClass]
}

type codeClass [100]atomic.Pointer[Counts]

func newClass() *codeClass { return new(codeClass) }

// add counts a status n times.
func (c *codes) add(shard uint32, status int, n int64) {
	if status < 100 || status > 599 {
		// What has no valid status is the gateway's own failure to set one: it
		// shows as a 500 rather than not at all.
		status = 500
	}
	class := loadOrMake(&c.classes[status/100-1], newClass)
	counts := class[status%100].Load()
	if counts == nil {
		counts = loadOrMake(&class[status%100], func() *Counts { return newCounts(c.shards) })
	}
	counts.Add(shard, n)
}

// each calls f for every status seen, ascending.
func (c *codes) each(f func(status int, n uint64)) {
	for i := range c.classes {
		class := c.classes[i].Load()
		if class == nil {
			continue
		}
		for j := range class {
			if n := class[j].Load(); n != nil {
				f(100*(i+1)+j, uint64(n.Value()))
			}
		}
	}
}

func (c *codes) total() (sum uint64) {
	c.each(func(_ int, n uint64) { sum += n })
	return sum
}
