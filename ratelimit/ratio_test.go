package ratelimit

import (
	"encoding/binary"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BenchmarkRatio sets a decision against the atomic operations that it cannot do
// without, in turns of 200 us, so that what else the machine
// does falls on all of them alike:
//
//	go test -run '^$' -bench Ratio -benchtime 50x -cpu 2 ./ratelimit
//
// Ahead of other work, where that is allowed: -exec 'chrt -r 1'. Where two
// processors are one core, hot and many want the other one idle.
//
// Every metric is the median of a contender's turns; x_ is the decision's median
// by that contender's. Turns in which a thread was interrupted, or in which two
// threads did not run at the same time, do not count; how many those were is
// told, and after too many of them the benchmark fails.
//
//	hot   one key, one thread     cas: a compare-and-swap nobody contends for
//	two   one key, two threads    add: two cores that add to one word
//	many  100,000 keys by chance  cas: as in hot, on a word in the first cache;
//	                              cas_lines: on 100,000 lines, as many under way
//	                              at a time as the core can have;
//	                              cas_chain: one after another, as decisions of
//	                              different requests are: what one line costs
func BenchmarkRatio(b *testing.B) {
	table, limit := benchTable(b)
	clock := NewClock()
	lines, chain := benchLines(b), benchLines(b)
	one := &lines[0][0]
	cas := contender{"cas", func(x uint64) uint64 {
		for range batch {
			swap(one)
		}
		return x
	}}
	b.Run("hot", func(b *testing.B) {
		race(b, 1, []contender{hotKey(table, limit, clock), cas})
	})
	b.Run("two", func(b *testing.B) {
		race(b, 2, []contender{hotKey(table, limit, clock), {"add", func(x uint64) uint64 {
			for range batch {
				one.Add(1)
			}
			return x
		}}})
	})
	b.Run("many", func(b *testing.B) {
		race(b, 1, []contender{manyKeys(table, limit, clock), cas, {"cas_lines", func(x uint64) uint64 {
			for range batch {
				x = shuffle(x)
				n, _ := bits.Mul64(x, benchKeys)
				swap(&lines[n][0])
			}
			return x
		}}, {"cas_chain", func(x uint64) uint64 {
			for range batch {
				x = shuffle(x)
				n, _ := bits.Mul64(x, benchKeys)
				v := chain[n][0].Load()
				chain[n][0].CompareAndSwap(v, v+1)
				x ^= v >> 60 // 0, which the core cannot know
			}
			return x
		}}})
	})
}

const (
	turn  = 200_000 // ns
	batch = 500     // operations between two looks at the clock
	// The first turns of a contender in each round find its memory cold.
	warmTurns = 5
	goodTurns = 5
	mostTurns = 20_000 // of a contender in a round
)

// contender does a batch of operations, on keys chosen by x, and returns the x for
// the next.
type contender struct {
	name string
	run  func(x uint64) uint64
}

func hotKey(table *Table, limit *Limit, clock *Monotonic) contender {
	key := []byte("consumer")
	table.Take(limit, key, 1, clock.Now())
	return contender{"table", func(x uint64) uint64 {
		now := clock.Now()
		for range batch {
			if !table.Take(limit, key, 1, now).Allowed {
				panic("BUG: the benchmark's limit is too low")
			}
		}
		return x
	}}
}

func manyKeys(table *Table, limit *Limit, clock *Monotonic) contender {
	var key [8]byte
	begin := clock.Now()
	for n := range uint64(benchKeys) {
		binary.LittleEndian.PutUint64(key[:], n)
		table.Take(limit, key[:], 1, begin)
	}
	table.Sweep(begin)
	return contender{"table", func(x uint64) uint64 {
		var key [8]byte
		now := clock.Now()
		for range batch {
			x = shuffle(x)
			n, _ := bits.Mul64(x, benchKeys)
			binary.LittleEndian.PutUint64(key[:], n)
			if !table.Take(limit, key[:], 1, now).Allowed {
				panic("BUG: the benchmark's limit is too low")
			}
		}
		return x
	}}
}

// race runs rounds of turns and reports.
func race(b *testing.B, threads int, all []contender) {
	if runtime.GOMAXPROCS(0) < threads {
		b.Skipf("needs -cpu %d", threads)
	}
	took := make([][]float64, len(all))
	disturbed := 0
	seed := uint64(0)
	for range b.N {
		for i, c := range all {
			for n, good := 0, 0; good < goodTurns; n++ {
				if n == mostTurns {
					b.Fatalf("%s: interrupted in each of %d turns: the machine is too busy", c.name, n)
				}
				seed++
				ns := together(threads, seed, c.run)
				switch {
				case ns == 0:
					disturbed++
				case n >= warmTurns:
					took[i] = append(took[i], ns)
					good++
				}
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(disturbed), "disturbed")
	for i, c := range all {
		b.ReportMetric(median(took[i]), c.name+"_ns")
		if i > 0 {
			b.ReportMetric(median(took[0])/median(took[i]), "x_"+c.name)
		}
	}
}

// together runs a turn on each of some threads at the same time and tells what
// one operation took, all threads' counted; 0: a thread was interrupted, or they
// did not run at the same time.
func together(threads int, seed uint64, run func(x uint64) uint64) float64 {
	type span struct{ begin, end, cpu, done int64 }
	spans := make([]span, threads)
	var waiting atomic.Int32
	var all sync.WaitGroup
	waiting.Store(int32(threads))
	for t := range threads {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			x := (seed*2 + uint64(t)) * prime1
			for waiting.Add(-1); waiting.Load() > 0; {
			}
			var s span
			cpu := threadTime()
			s.begin = int64(time.Since(zero))
			for s.end = s.begin; s.end-s.begin < turn; s.end = int64(time.Since(zero)) {
				x = run(x)
				s.done += batch
			}
			s.cpu = threadTime() - cpu
			spans[t] = s
		})
	}
	all.Wait()
	first, last, done := spans[0], spans[0], int64(0)
	for _, s := range spans {
		if float64(s.cpu) < 0.95*float64(s.end-s.begin) {
			return 0
		}
		first.begin, first.end = min(first.begin, s.begin), min(first.end, s.end)
		last.begin, last.end = max(last.begin, s.begin), max(last.end, s.end)
		done += s.done
	}
	wall := float64(last.end - first.begin)
	if float64(first.end-last.begin) < 0.9*wall {
		return 0
	}
	return wall / float64(done)
}

var zero = time.Now()

// threadTime is what the thread has used of the processor, in nanoseconds.
func threadTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return ts.Nano()
}

// shuffle is xorshift64.
func shuffle(x uint64) uint64 {
	x ^= x << 13
	x ^= x >> 7
	return x ^ x<<17
}

func swap(w *atomic.Uint64) {
	for v := w.Load(); !w.CompareAndSwap(v, v+1); v = w.Load() {
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// benchLines are words on cache lines of their own, in memory like a table's.
func benchLines(b *testing.B) [][8]atomic.Uint64 {
	mem, err := unix.Mmap(-1, 0, benchKeys*bucketSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Munmap(mem) })
	return unsafe.Slice((*[8]atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(mem))), benchKeys)
}
