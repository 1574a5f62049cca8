package ratelimit

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
)

func TestHash(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for length := range 200 {
		key := make([]byte, length)
		for i := range key {
			key[i] = byte(rng.Uint32())
		}
		seed := rng.Uint64() * uint64(length%2)
		d := xxhash.NewWithSeed(seed)
		_, _ = d.Write(key)
		if got, want := Hash(key, seed), d.Sum64(); got != want {
			t.Fatalf("%d bytes, seed %x: %x, want %x", length, seed, got, want)
		}
	}
}

func TestLastDay(t *testing.T) {
	for d := int64(0); d < 200*366; d++ {
		date := time.Unix(d*24*3600, 0).UTC()
		last := time.Date(date.Year(), date.Month()+1, 0, 0, 0, 0, 0, time.UTC)
		if got, want := lastDay(d), last.Unix()/(24*3600); got != want {
			t.Fatalf("%s: day %d, want %d", date.Format(time.DateOnly), got, want)
		}
	}
}

func TestSpecRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spec  Spec
		field string
	}{
		"nothing per second":   {Spec{Rate: 0, Per: time.Second}, "rate"},
		"no span":              {Spec{Rate: 5}, "rate"},
		"negative burst":       {Spec{Rate: 5, Per: time.Second, Burst: -1}, "burst"},
		"beyond a bucket":      {Spec{Rate: 2_000_000, Per: time.Second}, "rate"},
		"burst of weeks":       {Spec{Rate: 1, Per: time.Hour, Burst: 1000}, "burst"},
		"burst beyond words":   {Spec{Rate: 1, Per: time.Second, Burst: 1 << 62}, "burst"},
		"delay of weeks":       {Spec{Rate: 1, Per: time.Second, Delay: 1000 * time.Hour}, "delay"},
		"delay below zero":     {Spec{Rate: 1, Per: time.Second, Delay: -1}, "delay"},
		"sliding too many":     {Spec{Algorithm: Sliding, Rate: 1 << 20, Per: time.Second}, "rate"},
		"sliding too short":    {Spec{Algorithm: Sliding, Rate: 5, Per: time.Millisecond}, "rate"},
		"sliding with a burst": {Spec{Algorithm: Sliding, Rate: 5, Per: time.Second, Burst: 5}, "burst"},
		"fixed too long":       {Spec{Algorithm: Fixed, Rate: 5, Per: 400 * 24 * time.Hour}, "rate"},
		"month too many":       {Spec{Algorithm: Month, Rate: 1 << 41}, "rate"},
		"unknown":              {Spec{Algorithm: 9, Rate: 1, Per: time.Second}, "algorithm"},
	} {
		err, _ := c.spec.Check().(*SpecError)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if err.Field != c.field && !(name == "delay of weeks" && err.Field == "burst") {
			t.Errorf("%s: blames %s: %v", name, err.Field, err)
		}
	}
}

// TestEvictsIdle runs a thousand times more keys through a small table than it
// holds; each is idle when its slot is taken, so that no decision is wrong.
func TestEvictsIdle(t *testing.T) {
	table := testTable(t, minBuckets)
	limit := mustLimit(t, table, "idle", Spec{Rate: 1000, Per: time.Second, Burst: 2})
	now := table.swept()
	for i := range 500_000 {
		var key [8]byte
		binary.LittleEndian.PutUint64(key[:], uint64(i))
		for n, want := range []bool{true, true, false} {
			if got := table.Take(limit, key[:], 1, now).Allowed; got != want {
				t.Fatalf("key %d, request %d: %v", i, n, got)
			}
		}
		if i%16 == 15 {
			now += int64(5 * time.Millisecond)
		}
	}
	s := table.Stats()
	if s.Evicted != 0 || s.Idle == 0 {
		t.Fatalf("%d active keys given up, %d idle ones", s.Evicted, s.Idle)
	}
}

// TestFullTable floods a table with active keys: the flood's keys are given up,
// the key with the deepest debt is not, every error is an admission, and all
// are counted.
func TestFullTable(t *testing.T) {
	table := testTable(t, minBuckets)
	limit := mustLimit(t, table, "full", Spec{Rate: 1, Per: time.Minute, Burst: 50})
	now := table.swept()
	heavy := []byte("heavy")
	for range 50 {
		if !table.Take(limit, heavy, 1, now).Allowed {
			t.Fatal("refused within the burst")
		}
	}
	const flood = 4 * slotsBucket * minBuckets
	for i := range flood {
		var key [8]byte
		binary.LittleEndian.PutUint64(key[:], uint64(i))
		if !table.Take(limit, key[:], 1, now).Allowed {
			t.Fatalf("a full table refused new key %d", i)
		}
		if table.Take(limit, heavy, 1, now).Allowed {
			t.Fatalf("the deepest debt was forgotten after %d keys", i)
		}
	}
	s := table.Stats()
	if room := uint64(slotsBucket * minBuckets); s.Evicted < flood-room || s.Evicted > flood {
		t.Fatalf("%d given up, for %d keys in %d slots", s.Evicted, flood, room)
	}
}

// TestOneSlotPerKey has many threads make slots for the same new keys at once,
// in a table that idles keys out all the time, and looks for two live slots of
// one key.
func TestOneSlotPerKey(t *testing.T) {
	table := testTable(t, minBuckets)
	limit := mustLimit(t, table, "one", Spec{Rate: 1, Per: time.Minute, Burst: 3})
	brief := mustLimit(t, table, "brief", Spec{Rate: 1_000_000, Per: time.Second, Burst: 1})
	now := table.swept()
	const writers, keys = 8, 150
	var admitted [keys]atomic.Int64
	for i := range keys {
		at := now + int64(i)*int64(10*time.Millisecond)
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(w), uint64(i)))
				var key [8]byte
				for n := range 20 {
					binary.LittleEndian.PutUint64(key[:], uint64(i))
					if n%7 == w%7 && table.Take(limit, key[:], 1, at).Allowed {
						admitted[i].Add(1)
					}
					// Idle at the next round, so that slots move about.
					binary.LittleEndian.PutUint64(key[:], rng.Uint64())
					table.Take(brief, key[:], 1, at)
				}
			})
		}
		all.Wait()
	}
	if s := table.Stats(); s.Evicted != 0 {
		t.Fatalf("%d active keys given up", s.Evicted)
	}
	for i := range admitted {
		if n := admitted[i].Load(); n != 3 {
			t.Errorf("key %d was admitted %d times, want 3", i, n)
		}
	}
}

func TestSweep(t *testing.T) {
	table := testTable(t, minBuckets)
	bucket := mustLimit(t, table, "bucket", Spec{Rate: 1, Per: time.Second, Burst: 10})
	window := mustLimit(t, table, "window", Spec{Algorithm: Sliding, Rate: 10, Per: time.Hour})
	inside := mustLimit(t, table, "inside", Spec{Algorithm: Concurrent, Rate: 1})
	now := table.swept()
	for i := range 20 {
		key := []byte{byte(i)}
		table.Take(bucket, key, 5, now)
		table.Take(window, key, 5, now)
		table.Take(inside, key, 1, now)
	}
	if freed, active := table.Sweep(now + 1); freed != 0 || active != 60 {
		t.Fatalf("freed %d, left %d, want 0 and 60", freed, active)
	}
	if freed, active := table.Sweep(now + int64(6*time.Second)); freed != 20 || active != 40 {
		t.Fatalf("freed %d, left %d, want 20 and 40", freed, active)
	}
	if freed, active := table.Sweep(now + int64(3*time.Hour)); freed != 20 || active != 20 {
		t.Fatalf("freed %d, left %d, want 20 and 20", freed, active)
	}
	for i := range 20 {
		table.Refund(inside, []byte{byte(i)}, 1, now)
	}
	if freed, active := table.Sweep(now); freed != 20 || active != 0 {
		t.Fatalf("freed %d, left %d, want 20 and 0", freed, active)
	}
}

// TestYears lets a key rest for so long that instants wrap: decisions sweep the
// table when it is due.
func TestYears(t *testing.T) {
	table := testTable(t, minBuckets)
	limit := mustLimit(t, table, "years", Spec{Rate: 1, Per: time.Hour, Burst: 2})
	now := table.swept()
	for range 40 {
		for n, want := range []bool{true, true, false} {
			if got := table.Take(limit, []byte("k"), 1, now).Allowed; got != want {
				t.Fatalf("request %d: %v", n, got)
			}
		}
		now += int64(17 * 24 * time.Hour)
	}
}

func TestRefundForgetCharge(t *testing.T) {
	table := testTable(t, minBuckets)
	now := table.swept()
	for _, s := range specs {
		limit := mustLimit(t, table, s.name, s.spec)
		key := []byte("k")
		most := limit.Quota(table.Peek(limit, key, 1, now), 1).Limit
		if !table.Take(limit, key, most, now).Allowed || table.Take(limit, key, 1, now).Allowed && s.spec.Delay == 0 {
			t.Fatalf("%s: does not admit exactly %d", s.name, most)
		}
		table.Refund(limit, key, 1, now)
		if !table.Take(limit, key, 1, now).Allowed {
			t.Errorf("%s: what was given back is not there", s.name)
		}
		if !table.Forget(limit, key) || table.Forget(limit, key) {
			t.Errorf("%s: forgets wrongly", s.name)
		}
		if !table.Take(limit, key, most, now).Allowed {
			t.Errorf("%s: a forgotten key does not start afresh", s.name)
		}
		table.Forget(limit, key)
		table.Charge(limit, key, 1000*most, now)
		if table.Peek(limit, key, 1, now).Allowed {
			t.Errorf("%s: passes with a debt", s.name)
		}
		if q := limit.Quota(table.Peek(limit, key, 1, now), 1); q.Remaining != 0 {
			t.Errorf("%s: %d remain beside a debt", s.name, q.Remaining)
		}
	}
}

func TestNamesApart(t *testing.T) {
	table := testTable(t, minBuckets)
	one := mustLimit(t, table, "one", Spec{Rate: 1, Per: time.Minute})
	two := mustLimit(t, table, "two", Spec{Rate: 1, Per: time.Minute})
	now := table.swept()
	if !table.Take(one, []byte("k"), 1, now).Allowed || !table.Take(two, []byte("k"), 1, now).Allowed {
		t.Fatal("limits share a key")
	}
	again := mustLimit(t, table, "one", Spec{Rate: 2, Per: time.Minute})
	if table.Take(again, []byte("k"), 1, now).Allowed {
		t.Fatal("the limit of the same name forgot")
	}
}

func TestTooManyClasses(t *testing.T) {
	table := testTable(t, minBuckets)
	var err error
	for i := 0; i < classCount && err == nil; i++ {
		_, err = table.Limit("l", Spec{Algorithm: Fixed, Rate: 1, Per: time.Second * time.Duration(i+1)})
	}
	if err == nil {
		t.Fatal("no end of windows")
	}
}

func TestAllocations(t *testing.T) {
	table, err := NewTable(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	clock := NewClock()
	for _, s := range specs {
		limit := mustLimit(t, table, s.name, s.spec)
		var n uint64
		var key [8]byte
		if a := testing.AllocsPerRun(2000, func() {
			n++
			binary.LittleEndian.PutUint64(key[:], n%100)
			r := table.Take(limit, key[:], 1, clock.Now())
			_ = limit.Quota(r, 1)
			table.Refund(limit, key[:], 1, clock.Now())
		}); a != 0 {
			t.Errorf("%s: %v allocations", s.name, a)
		}
	}
}

// TestLargePages: a table that is in use all over gets large pages, one with few
// keys none, and neither forgets anything.
func TestLargePages(t *testing.T) {
	for name, c := range map[string]struct {
		keys  int
		large bool
	}{"in use": {100_000, true}, "few keys": {500, false}} {
		t.Run(name, func(t *testing.T) {
			table, err := NewTable(8 << 20)
			if err != nil {
				t.Fatal(err)
			}
			defer table.Close()
			limit := mustLimit(t, table, "l", Spec{Rate: 1, Per: time.Hour, Burst: 2})
			now := table.swept()
			take := func() (admitted int) {
				var key [8]byte
				for i := range c.keys {
					binary.LittleEndian.PutUint64(key[:], uint64(i))
					if table.Take(limit, key[:], 1, now).Allowed {
						admitted++
					}
				}
				return admitted
			}
			first := take()
			if freed, active := table.Sweep(now); freed != 0 || active != c.keys {
				t.Errorf("freed %d, left %d of %d", freed, active, c.keys)
			}
			if second, third := take(), take(); first != c.keys || second != c.keys || third != 0 {
				t.Errorf("%d, %d and %d of %d keys admitted, each has two", first, second, third, c.keys)
			}
			for i := range table.large {
				if got := table.large[i].Load(); got != c.large {
					t.Errorf("large page %d asked for: %v", i, got)
				}
			}
		})
	}
}

func TestTableSizes(t *testing.T) {
	for _, size := range []int64{0, MinTable - 1, MaxTable + 1} {
		if _, err := NewTable(size); err == nil {
			t.Errorf("size %d is accepted", size)
		}
	}
	for _, size := range []int64{MinTable, 1 << 20, 3 << 20} {
		table, err := NewTable(size)
		if err != nil {
			t.Fatal(err)
		}
		if table.Size() > size+bucketsAt || table.Size() <= size/2 {
			t.Errorf("%d bytes asked, %d mapped", size, table.Size())
		}
		limit := mustLimit(t, table, "l", Spec{Rate: 1, Per: time.Minute})
		now := NewClock().Now()
		for i := range 100 {
			key := fmt.Append(nil, "key ", i)
			if !table.Take(limit, key, 1, now).Allowed || table.Take(limit, key, 1, now).Allowed {
				t.Fatalf("size %d: key %d does not get exactly one", size, i)
			}
		}
		table.Close()
	}
}
