package observe

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestSeriesSurviveReloadAndLeaveAfterThree(t *testing.T) {
	m := NewMetrics(BuildInfo{})
	kept, gone := m.Route("kept"), m.Route("gone")
	m.Applied("1")
	gone.Observe(&Record{Status: 200}, nil)
	kept.Observe(&Record{Status: 200}, nil)
	const series = `perigee_requests_total{route="gone",code="200"}`
	for reload := 2; reload <= 4; reload++ {
		if m.Route("kept") != kept {
			t.Fatalf("reload %d: a route that stays got a new series", reload)
		}
		m.Applied(fmt.Sprint(reload))
		_, there := scrapeOf(t, m).series[series]
		if want := reload < 4; there != want {
			t.Errorf("configuration %d: series of a route that left is there: %v, want %v", reload, there, want)
		}
	}
	scrapeOf(t, m).want(t, `perigee_requests_total{route="kept",code="200"}`, 1)
	gone.Observe(&Record{Status: 200}, nil) // an exchange that outlived its series
}

func TestAListenersGaugeComesBackToZeroAfterManyReloads(t *testing.T) {
	m := NewMetrics(BuildInfo{})
	m.Listener(":1").Open.Add(1)
	for range 10 {
		m.Applied("d")
	}
	m.Listener(":1").Open.Add(-1)
	scrapeOf(t, m).want(t, `perigee_connections{listener=":1"}`, 0)
}

func TestRefusedReloadsDropNothing(t *testing.T) {
	m := NewMetrics(BuildInfo{})
	m.Route("a").Observe(&Record{Status: 200}, nil)
	m.Applied("1")
	for range 10 {
		m.Route("of a configuration that is never applied")
	}
	scrapeOf(t, m).want(t, `perigee_requests_total{route="a",code="200"}`, 1)
}

func TestReasonsAreBounded(t *testing.T) {
	var r Reasons
	for i := range 3 * maxReasons {
		r.With(fmt.Sprint("reason", i)).Inc()
	}
	var rows, sum int
	r.each(func(_ string, n uint64) { rows++; sum += int(n) })
	if rows != maxReasons+1 || sum != 3*maxReasons {
		t.Errorf("%d rows with %d counts, want %d with %d", rows, sum, maxReasons+1, 3*maxReasons)
	}
	if got := r.With("other").Value(); got != 2*maxReasons {
		t.Errorf("other = %d, want %d", got, 2*maxReasons)
	}
}

func TestInvalidStatusCountsAs500(t *testing.T) {
	for _, status := range []int{0, -1, 99, 600, 1000} {
		m := NewMetrics(BuildInfo{})
		m.Route("r").Observe(&Record{Status: status}, nil)
		scrapeOf(t, m).want(t, `perigee_requests_total{route="r",code="500"}`, 1)
	}
}

func TestNothingIsLostUnderContention(t *testing.T) {
	m := NewMetrics(BuildInfo{})
	const workers, each = 8, 2000
	done := make(chan struct{})
	go func() {
		defer close(done)
		var before uint64
		for before < workers*each {
			now := m.Route("r").Requests()
			if now < before {
				t.Errorf("counter went back from %d to %d", before, now)
				return
			}
			before = now
		}
	}()
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			rec := &Record{Shard: m.NextShard(), Status: 200, Duration: time.Millisecond}
			for range each {
				m.Route("r").Observe(rec, nil)
			}
		})
	}
	all.Wait()
	<-done
	s := scrapeOf(t, m)
	s.want(t, `perigee_requests_total{route="r",code="200"}`, workers*each)
	s.want(t, `perigee_request_duration_seconds_count{route="r"}`, workers*each)
	s.want(t, `perigee_request_duration_seconds_sum{route="r"}`, workers*each/1000)
}

func TestHistogramBoundsAreInclusive(t *testing.T) {
	h := newHistogram(&exchangeBounds, 1)
	h.Observe(0, -1)
	for _, b := range exchangeBounds {
		h.Observe(0, b)
		h.Observe(0, b+1)
	}
	totals := h.Totals()
	if totals.Buckets[0] != 1 || totals.Buckets[bounds] != 1 || totals.Count != 2*bounds {
		t.Errorf("first %d, +Inf %d, count %d", totals.Buckets[0], totals.Buckets[bounds], totals.Count)
	}
	for i := 1; i < bounds; i++ {
		if totals.Buckets[i] != 2 {
			t.Errorf("bucket %v holds %d, want its bound and the one before plus 1 ns", exchangeBounds[i], totals.Buckets[i])
		}
	}
}

func TestQuantile(t *testing.T) {
	h := newHistogram(&exchangeBounds, 2)
	empty := h.Totals()
	if got := empty.Quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for range 99 {
		h.Observe(0, time.Millisecond)
	}
	h.Observe(1, time.Hour)
	totals := h.Totals()
	for q, want := range map[float64]time.Duration{
		0: time.Millisecond, 0.5: time.Millisecond, 0.99: time.Millisecond, 1: 10 * time.Second,
	} {
		if got := totals.Quantile(q); got != want {
			t.Errorf("quantile %v = %v, want %v", q, got, want)
		}
	}
}

func TestShardsArePowersOfTwo(t *testing.T) {
	if n := shardCount(); n < 1 || n > maxShards || n&(n-1) != 0 {
		t.Errorf("%d shards", n)
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	m := NewMetrics(BuildInfo{})
	route, ep, script := m.Route("r"), m.Endpoint("u", "e"), m.Script("s")
	rec := &Record{Shard: 3, Status: 200, Duration: time.Millisecond}
	attempt := rec.AddAttempt("e")
	m.Refused.With("bare_lf")
	observe := func() {
		m.InFlight.Add(rec.Shard, 1)
		route.Observe(rec, nil)
		ep.Observe(rec.Shard, attempt, nil)
		script.Observe(rec.Shard, time.Microsecond)
		m.Refused.With("bare_lf").Inc()
		m.Listener(":1").Accepted.Inc()
		m.Endpoint("u", "e").Observe(rec.Shard, attempt, nil)
		m.InFlight.Add(rec.Shard, -1)
	}
	observe()
	if n := testing.AllocsPerRun(100, observe); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRouteObserve(b *testing.B) {
	m := NewMetrics(BuildInfo{})
	route := m.Route("r")
	b.Run("alone", func(b *testing.B) {
		rec := &Record{Status: 200, Duration: 3 * time.Millisecond}
		for b.Loop() {
			route.Observe(rec, nil)
		}
	})
	b.Run("all", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			rec := &Record{Shard: m.NextShard(), Status: 200, Duration: 3 * time.Millisecond}
			for pb.Next() {
				route.Observe(rec, nil)
			}
		})
	})
}
