package ratelimit

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The model is a mutex and a map, with exact arithmetic and none of the words.

type model struct {
	mu   sync.Mutex
	keys map[string]*known
}

type known struct {
	tat    *big.Rat // seconds
	counts map[int64]int64
	inside int64
}

func newModel() *model { return &model{keys: map[string]*known{}} }

func (m *model) take(s Spec, key string, cost, now int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.keys[key]
	if k == nil {
		k = &known{tat: new(big.Rat), counts: map[int64]int64{}}
		m.keys[key] = k
	}
	switch s.Algorithm {
	case Bucket:
		return k.bucket(s, cost, now)
	case Sliding:
		n, elapsed := now/int64(s.Per), now%int64(s.Per)
		weighed := new(big.Rat).SetFrac64(k.counts[n-1]*(int64(s.Per)-elapsed), int64(s.Per))
		used := weighed.Add(weighed, new(big.Rat).SetInt64(k.counts[n]+cost))
		if used.Cmp(new(big.Rat).SetInt64(s.Rate)) > 0 {
			return false
		}
		k.counts[n] += cost
	case Fixed, Month:
		n := now / int64(max(s.Per, 1))
		if s.Algorithm == Month {
			d := time.Unix(0, now).UTC()
			n = int64(d.Year())*12 + int64(d.Month())
		}
		if k.counts[n]+cost > s.Rate {
			return false
		}
		k.counts[n] += cost
	case Concurrent:
		if k.inside+cost > s.Rate {
			return false
		}
		k.inside += cost
	}
	return true
}

// bucket holds GCRA in seconds, intervals as the words round them.
func (k *known) bucket(s Spec, cost, now int64) bool {
	at := new(big.Rat).SetFrac64(now, 1e9)
	tat := k.tat
	if tat.Cmp(at) < 0 {
		tat = at
	}
	interval := new(big.Rat).SetFrac(new(big.Int).SetUint64(s.interval()), big.NewInt(2048*1e9))
	charge := new(big.Rat).Mul(interval, new(big.Rat).SetInt64(cost))
	next := new(big.Rat).Add(tat, charge)
	limit := new(big.Rat).Mul(interval, new(big.Rat).SetInt64(max(s.Burst, 1)))
	limit.Add(limit, new(big.Rat).SetFrac64(int64(s.Delay), 1e9))
	if new(big.Rat).Sub(next, at).Cmp(limit) > 0 {
		return false
	}
	k.tat = next
	return true
}

func testTable(t testing.TB, buckets uint64) *Table {
	t.Helper()
	// Go's own memory, so that the race detector sees it.
	mem := make([]uint64, (bucketsAt+buckets*bucketSize)/8+8)
	bytes := unsafeBytes(mem)
	for i := 0; ; i++ {
		if uintptrOf(&bytes[i])%bucketSize == 0 {
			return newTable(bytes[i:i+int(bucketsAt+buckets*bucketSize)], buckets)
		}
	}
}

func mustLimit(t testing.TB, table *Table, name string, s Spec) *Limit {
	t.Helper()
	l, err := table.Limit(name, s)
	if err != nil {
		t.Fatal(err)
	}
	return &l
}

var specs = []struct {
	name string
	spec Spec
}{
	{"bucket", Spec{Algorithm: Bucket, Rate: 100, Per: time.Second, Burst: 20}},
	{"bucket thirds", Spec{Algorithm: Bucket, Rate: 3, Per: time.Second, Burst: 1}},
	{"bucket odd", Spec{Algorithm: Bucket, Rate: 700_001, Per: time.Second, Burst: 1000}},
	{"bucket slow", Spec{Algorithm: Bucket, Rate: 5, Per: time.Hour, Burst: 3}},
	{"bucket delay", Spec{Algorithm: Bucket, Rate: 50, Per: time.Second, Burst: 5, Delay: 200 * time.Millisecond}},
	{"sliding", Spec{Algorithm: Sliding, Rate: 50, Per: time.Second}},
	{"sliding long", Spec{Algorithm: Sliding, Rate: 1_000_000, Per: 24 * time.Hour}},
	{"fixed", Spec{Algorithm: Fixed, Rate: 40, Per: 2 * time.Second}},
	{"fixed day", Spec{Algorithm: Fixed, Rate: 1e10, Per: 24 * time.Hour}},
	{"month", Spec{Algorithm: Month, Rate: 30}},
	{"concurrent", Spec{Algorithm: Concurrent, Rate: 7}},
}

func TestModel(t *testing.T) {
	for _, s := range specs {
		t.Run(s.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(len(s.name))))
			table := testTable(t, minBuckets)
			limit := mustLimit(t, table, s.name, s.spec)
			m := newModel()
			now := table.swept() + 5
			pause := max(int64(s.spec.Per)/s.spec.Rate, 1)
			if s.spec.Algorithm == Month {
				pause = day
			}
			admitted := 0
			for i := range 20000 {
				key := fmt.Sprint("key ", rng.IntN(5))
				cost := int64(1 + rng.IntN(3)/2)
				switch rng.IntN(20) {
				case 0:
					now += rng.Int64N(40 * pause)
				case 1, 2, 3, 4, 5, 6, 7, 8, 9:
					now += rng.Int64N(2*pause + 1)
				}
				peek := table.Peek(limit, []byte(key), cost, now)
				got := table.Take(limit, []byte(key), cost, now)
				want := m.take(s.spec, key, cost, now)
				if got.Allowed != want || peek.Allowed != want {
					t.Fatalf("step %d, %s, cost %d: table says %v (peek %v), the model %v", i, key, cost, got.Allowed, peek.Allowed, want)
				}
				if got.Allowed {
					admitted++
				}
				checkRetry(t, asked{table, limit, key, cost}, got)
				if s.spec.Algorithm == Concurrent && want && rng.IntN(8) != 0 {
					table.Refund(limit, []byte(key), cost, now)
					m.keys[key].inside -= cost
				}
			}
			if admitted == 0 {
				t.Fatal("nothing was ever admitted")
			}
			if evicted := table.Stats().Evicted; evicted != 0 {
				t.Fatalf("%d active keys were given up among five", evicted)
			}
		})
	}
}

// asked is what a decision was about.
type asked struct {
	table *Table
	limit *Limit
	key   string
	cost  int64
}

// checkRetry holds Quota to its word: a refused request passes after Retry, and
// not well before.
func checkRetry(t *testing.T, a asked, r Result) {
	t.Helper()
	table, l, key, cost := a.table, a.limit, a.key, a.cost
	q, now := l.Quota(r, cost), r.now
	if q.Remaining < 0 || q.Remaining > q.Limit {
		t.Fatalf("remaining %d of %d", q.Remaining, q.Limit)
	}
	if r.Allowed || l.kind == Concurrent {
		return
	}
	if q.Retry < 0 {
		if uint64(cost) < l.never {
			t.Fatalf("cost %d is said never to pass", cost)
		}
		return
	}
	if q.Retry == 0 {
		t.Fatal("a refused request is told to come back at once")
	}
	const slack = 2 // of nanoseconds, rounded twice
	if at := now + int64(q.Retry) + slack; !table.Peek(l, []byte(key), cost, at).Allowed {
		t.Fatalf("%s: refused again after %v", l.name, q.Retry)
	}
	if at := now + int64(q.Retry) - slack; at > now && l.kind != Sliding && table.Peek(l, []byte(key), cost, at).Allowed {
		t.Fatalf("%s: would have passed before %v", l.name, q.Retry)
	}
}

// TestNeverMore holds 16 writers on few keys to what the limit says: never more,
// and exactly that while the clock stands.
func TestNeverMore(t *testing.T) {
	for _, s := range specs {
		if s.spec.Per > time.Minute {
			continue
		}
		for _, step := range []time.Duration{0, time.Millisecond} {
			t.Run(fmt.Sprint(s.name, " ", step), func(t *testing.T) { neverMore(t, s.spec, step) })
		}
	}
}

func neverMore(t *testing.T, spec Spec, step time.Duration) {
	table := testTable(t, minBuckets)
	limit := mustLimit(t, table, "never", spec)
	start := table.swept()/int64(time.Minute)*int64(time.Minute) + int64(time.Minute)
	clock := NewManual(start)
	const keys, writers, rounds = 3, 16, 400
	var admitted [keys]atomic.Int64
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range rounds {
				if w == 0 && i%4 == 0 {
					clock.Advance(step)
				}
				if table.Take(limit, []byte{byte(i % keys)}, 1, clock.Now()).Allowed {
					admitted[i%keys].Add(1)
				}
			}
		})
	}
	all.Wait()
	for k := range keys {
		n := admitted[k].Load()
		for table.Take(limit, []byte{byte(k)}, 1, clock.Now()).Allowed {
			n++
		}
		most := mostOf(spec, start, clock.Now())
		if n > most || step == 0 && n < most {
			t.Errorf("key %d: %d admitted, the limit allows %d", k, n, most)
		}
	}
}

// TestRate compares intervals with the rates they stand for: never faster, and
// to one part in a million.
func TestRate(t *testing.T) {
	for _, rate := range []int64{1, 3, 999, 65_537, 700_001, 999_983, 1_000_000} {
		interval := Spec{Rate: rate, Per: time.Second}.interval()
		got := float64(1e9*(1<<unitShift)) / float64(interval)
		if got > float64(rate)*(1+1e-12) || got < float64(rate)*(1-1e-6) {
			t.Errorf("%d/s: %.4f a second", rate, got)
		}
	}
}

// mostOf is how many a key that asks all the time gets from start to end: the
// clock stood at these two and at every millisecond between.
func mostOf(s Spec, start, end int64) (n int64) {
	m, key := newModel(), "k"
	for now := start; now <= end; now += int64(time.Millisecond) {
		for m.take(s, key, 1, now) {
			n++
		}
	}
	return n
}
