package ratelimit

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// One decision, against what else one might use. Run with -cpu 1,2:
//
//	go test -run '^$' -bench Decision -cpu 1,2 ./ratelimit

// decider asks for one request of key n.
type decider func(n uint64) bool

const benchKeys = 100_000

var deciders = []struct {
	name string
	make func(b *testing.B) decider
}{
	{"cas", func(*testing.B) decider { // a bare swap: the yardstick
		words := make([][8]atomic.Uint64, 1<<17)
		return func(n uint64) bool {
			w := &words[n%(1<<17)][0]
			for {
				if v := w.Load(); w.CompareAndSwap(v, v+1) {
					return true
				}
			}
		}
	}},
	{"atomic_add", func(*testing.B) decider { // naive: counts, never refills
		words := make([][8]atomic.Uint64, 1<<17)
		return func(n uint64) bool { return words[n%(1<<17)][0].Add(1) < 1<<60 }
	}},
	{"table", func(b *testing.B) decider {
		table, limit := benchTable(b)
		clock := NewClock()
		now := clock.Now()
		return func(n uint64) bool {
			var key [8]byte
			binary.LittleEndian.PutUint64(key[:], n)
			return table.Take(limit, key[:], 1, now).Allowed
		}
	}},
	{"table_clock", func(b *testing.B) decider {
		table, limit := benchTable(b)
		clock := NewClock()
		return func(n uint64) bool {
			var key [8]byte
			binary.LittleEndian.PutUint64(key[:], n)
			return table.Take(limit, key[:], 1, clock.Now()).Allowed
		}
	}},
	{"x_time_rate_sync_map", func(*testing.B) decider {
		var m sync.Map
		return func(n uint64) bool {
			l, ok := m.Load(n)
			if !ok {
				l, _ = m.LoadOrStore(n, rate.NewLimiter(1_000_000, 1_000_000))
			}
			return l.(*rate.Limiter).Allow()
		}
	}},
	{"mutex_sharded_map", func(*testing.B) decider {
		type shard struct {
			sync.Mutex
			tats map[uint64]int64
			_    [40]byte
		}
		shards := make([]shard, 64)
		for i := range shards {
			shards[i].tats = map[uint64]int64{}
		}
		clock := NewClock()
		return func(n uint64) bool {
			s := &shards[n%64]
			now := clock.Now()
			s.Lock()
			defer s.Unlock()
			tat := max(s.tats[n], now) + 1000
			if tat-now > int64(time.Second) {
				return false
			}
			s.tats[n] = tat
			return true
		}
	}},
}

func benchTable(b *testing.B) (*Table, *Limit) {
	table, err := NewTable(16 << 20)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(table.Close)
	return table, mustLimit(b, table, "bench", Spec{Rate: 1_000_000, Per: time.Second, Burst: 1_000_000_000})
}

func BenchmarkDecision(b *testing.B) {
	for _, keys := range []uint64{1, benchKeys} {
		for _, d := range deciders {
			b.Run(fmt.Sprintf("keys=%d/%s", keys, d.name), func(b *testing.B) {
				decide := d.make(b)
				for n := range keys {
					decide(n)
				}
				var seat atomic.Uint64
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(p *testing.PB) {
					for n := seat.Add(1) << 40; p.Next(); n += 0x9e3779b97f4a7c15 {
						decide(n >> 17 % keys)
					}
				})
			})
		}
	}
}

// BenchmarkTenMillion fills half a GiB with ten million active keys.
func BenchmarkTenMillion(b *testing.B) {
	if testing.Short() {
		b.Skip("512 MiB")
	}
	for b.Loop() {
		table, err := NewTable(512 << 20)
		if err != nil {
			b.Fatal(err)
		}
		limit := mustLimit(b, table, "many", Spec{Rate: 1, Per: time.Hour, Burst: 2})
		now := table.swept()
		const keys = 10_000_000
		var key [8]byte
		start := time.Now()
		for n := range uint64(keys) {
			binary.LittleEndian.PutUint64(key[:], n)
			table.Take(limit, key[:], 1, now)
		}
		if evicted := table.Stats().Evicted; evicted != 0 {
			b.Fatalf("%d active keys given up", evicted)
		}
		b.ReportMetric(float64(time.Since(start))/keys, "ns/key")
		b.ReportMetric(float64(table.Size())/keys, "B/key")
		table.Close()
	}
}
