package ratelimit

import (
	"math"
	"sync/atomic"
	"unsafe"
)

// sweepEvery is how long a table may go without looking at all its slots:
// instants wrap, and a word that was left alone for 52 days would look like one
// of the future. A decision that finds the table unswept for so long sweeps it
// itself; owners who do not want one request to pay for that call Sweep now and
// then.
const sweepEvery = 13 * day

// Sweep looks at every slot and frees those of idle keys, and asks for large pages
// where the table is in use all over (pages.go). It takes about 100 ms
// per GiB, beside decisions, and tells how many it freed and how many slots are
// of active keys.
func (t *Table) Sweep(now int64) (freed, active int) {
	atomic.StoreUint64(t.head(headSwept), uint64(now))
	used := 0
	for i := uint64(0); i < t.buckets; i++ {
		if page := bucketsAt/bucketSize + i; page%largeBuckets == 0 {
			t.enlarge(page/largeBuckets-1, used)
			used = 0
		}
		b := (*bucket)(unsafe.Add(t.base, bucketsAt+i*bucketSize))
		for s := range b {
			slot := &b[s]
			word := slot.word.Load()
			if word == 0 {
				continue
			}
			if used++; dead(word) {
				continue
			}
			fp := slot.fp.Load()
			switch {
			case live(word) && t.idleIn(word, uint8(fp), now) > 0:
				active++
			case live(word) && slot.fp.Load() == fp, tentative(word):
				if slot.word.CompareAndSwap(word, sweptDead) {
					freed++
				}
			}
		}
	}
	return freed, active
}

// idleIn is in how many nanoseconds a live word of a class will say no more than
// none would; 0: it says nothing now.
func (t *Table) idleIn(word uint64, class uint8, now int64) int64 {
	if class == 0 {
		return gcraIdle(word, instant(now))
	}
	value := atomic.LoadUint64(t.head(classesAt + 8*uintptr(class)))
	if value == classInflight {
		if word>>1 == 0 {
			return 0
		}
		return math.MaxInt64
	}
	return windowIdle(word, now, int64(value>>1), int64(1+value&1))
}

// Stats are counts since a table was made.
type Stats struct {
	// Claims counts attempts to make a slot for a new key.
	Claims uint64
	// Idle counts slots that were taken over from idle keys: no decision changed.
	Idle uint64
	// Evicted counts active keys that were given up because the table was full
	// where they lived. Each may have been admitted as often again as it had been
	// until then. While it is 0 no key got more than its limit.
	Evicted uint64
	// Buckets is how many the table has, of four slots each.
	Buckets uint64
}

// Stats adds the shards' counters.
func (t *Table) Stats() Stats {
	s := Stats{Buckets: t.buckets}
	for i := range uintptr(shardCount) {
		sh := (*shard)(unsafe.Add(t.base, pageSize+i*bucketSize))
		s.Claims += sh.claims.Load()
		s.Idle += sh.idle.Load()
		s.Evicted += sh.evicted.Load()
	}
	return s
}
