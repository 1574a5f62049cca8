package fleet

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"perigee/ratelimit"
)

func limitOf(t testing.TB, name string, s ratelimit.Spec) *ratelimit.Limit {
	t.Helper()
	table, err := ratelimit.NewTable(ratelimit.MinTable)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(table.Close)
	l, err := table.Limit(name, s)
	if err != nil {
		t.Fatal(err)
	}
	return &l
}

// patient is a wait that no busy machine ends too early.
func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestStrict(t *testing.T) {
	redis := startRedis(t)
	f := connect(t, to(redis))
	for _, c := range []struct {
		name string
		spec ratelimit.Spec
	}{
		{"bucket", ratelimit.Spec{Rate: 10, Per: time.Hour, Burst: 10}},
		{"sliding", ratelimit.Spec{Algorithm: ratelimit.Sliding, Rate: 10, Per: 24 * time.Hour}},
		{"fixed", ratelimit.Spec{Algorithm: ratelimit.Fixed, Rate: 10, Per: 365 * 24 * time.Hour}},
		{"month", ratelimit.Spec{Algorithm: ratelimit.Month, Rate: 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := limitOf(t, c.name, c.spec)
			take := func(cost int64, want bool, left int64) {
				t.Helper()
				r, err := f.Strict(patient(t), l, []byte("k"), cost)
				if err != nil {
					t.Fatal(err)
				}
				if q := l.Quota(r, cost); r.Allowed != want || q.Remaining != left {
					t.Errorf("cost %d: allowed %v, %d left; want %v, %d", cost, r.Allowed, q.Remaining, want, left)
				}
			}
			take(4, true, 6)
			take(5, true, 1)
			take(2, false, 1)
			take(1, true, 0)
			take(1, false, 0)
			take(-3, true, 3)
			take(3, true, 0)
			if ok, err := f.Forget(patient(t), l, []byte("k")); !ok || err != nil {
				t.Errorf("forgotten %v, %v", ok, err)
			}
			f.Later(l, []byte("k"), 14)
			until(t, "what was charged later is there", func() bool {
				r, err := f.Strict(patient(t), l, []byte("k"), 0)
				return err == nil && l.Quota(r, 0).Remaining == 0
			})
			f.Later(l, []byte("k"), -6)
			until(t, "what was given back is there", func() bool {
				r, err := f.Strict(patient(t), l, []byte("k"), 0)
				return err == nil && l.Quota(r, 0).Remaining == 2
			})
			if ttl := redis.cli("pttl", f.keyOf(l, []byte("k"))); ttl == "-1" || ttl == "-2" {
				t.Errorf("the key lives for %s ms", ttl)
			}
		})
	}
}

// TestStrictIsExact has instances and goroutines take all there is: not one too
// many, not one too few.
func TestStrictIsExact(t *testing.T) {
	redis := startRedis(t)
	l := limitOf(t, "exact", ratelimit.Spec{Rate: 10, Per: time.Hour, Burst: 500})
	var admitted atomic.Int64
	var all sync.WaitGroup
	for range 3 {
		f := connect(t, to(redis))
		for range 4 {
			all.Go(func() {
				for range 100 {
					r, err := f.Strict(patient(t), l, []byte("k"), 1)
					if err != nil {
						t.Error(err)
						return
					}
					if r.Allowed {
						admitted.Add(1)
					}
				}
			})
		}
	}
	all.Wait()
	if n := admitted.Load(); n != 500 {
		t.Errorf("%d admitted, want 500", n)
	}
}

// hammer takes from leases until stop is closed and tells how many were
// admitted and asked.
func hammer(f *Fleet, l *ratelimit.Limit, key string, stop <-chan struct{}) (admitted, asked int64) {
	leases, k := f.Leases(l), []byte(key)
	h := l.Hash(k)
	for {
		select {
		case <-stop:
			return admitted, asked
		default:
		}
		for range 50 {
			r, outcome := leases.Take(h, k, 1)
			if outcome == Wait {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				r, outcome = leases.Wait(ctx, h, k, 1)
				cancel()
			}
			asked++
			if outcome == Decided && r.Allowed {
				admitted++
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// TestLeasedNeverMore: what instances admit together was charged before.
func TestLeasedNeverMore(t *testing.T) {
	redis := startRedis(t)
	const rate, burst = 20_000, 4_000
	l := limitOf(t, "leased", ratelimit.Spec{Rate: rate, Per: time.Second, Burst: burst})
	if !Leasable(l.Spec()) {
		t.Fatal("20,000/s is not leased")
	}
	fleets := []*Fleet{connect(t, to(redis)), connect(t, to(redis)), connect(t, to(redis))}
	start, stop := time.Now(), make(chan struct{})
	var admitted, asked atomic.Int64
	var all sync.WaitGroup
	for _, f := range fleets {
		all.Go(func() {
			a, n := hammer(f, l, "k", stop)
			admitted.Add(a)
			asked.Add(n)
		})
	}
	time.Sleep(1500 * time.Millisecond)
	close(stop)
	all.Wait()
	took := time.Since(start)
	most := int64(float64(rate)*took.Seconds()) + burst + 1
	t.Logf("%d of %d admitted in %v, at most %d", admitted.Load(), asked.Load(), took, most)
	if n := admitted.Load(); n > most || n < min(asked.Load(), most)/3 {
		t.Errorf("%d of %d admitted in %v, at most %d are allowed", n, asked.Load(), took, most)
	}
	var commands uint64
	for _, f := range fleets {
		sent, _ := f.Commands()
		commands += sent
	}
	t.Logf("%d commands", commands)
	if fleets[0].Leases(l).ErrorRatio() > 0.1 {
		t.Errorf("error ratio %v", fleets[0].Leases(l).ErrorRatio())
	}
	until(t, "all instances are counted", func() bool { return fleets[0].Live() == 3 })
}

// TestClosingGivesBack: what an instance did not use is there for others.
func TestClosingGivesBack(t *testing.T) {
	redis := startRedis(t)
	l := limitOf(t, "back", ratelimit.Spec{Rate: 1000, Per: time.Second, Burst: 10_000})
	f := connect(t, to(redis))
	leases, k := f.Leases(l), []byte("k")
	if _, outcome := leases.Take(l.Hash(k), k, 1); outcome != Wait {
		t.Fatalf("outcome %d for a new key", outcome)
	}
	if r, outcome := leases.Wait(patient(t), l.Hash(k), k, 1); outcome != Decided || !r.Allowed {
		t.Fatalf("%+v, %d", r, outcome)
	}
	held := leases.find(l.Hash(k)).tokens.Load()
	if held < 1 {
		t.Fatalf("%d held after one ask", held)
	}
	f.Close()
	other := connect(t, to(redis))
	until(t, "all but one are there again", func() bool {
		r, err := other.Strict(patient(t), l, k, 0)
		return err == nil && l.Quota(r, 0).Remaining >= 9_999
	})
	if n := redis.cli("zcard", "perigee:instances"); n != "1" {
		t.Errorf("%s instances are known", n)
	}
}

// TestStoreStops: a store that hangs costs nobody more than the budget, is
// noticed, and is used again when it goes on.
func TestStoreStops(t *testing.T) {
	redis := startRedis(t)
	reports := make(chan bool, 100)
	o := to(redis)
	o.Report = func(up bool, _ error) { reports <- up }
	f := connect(t, o)
	l := limitOf(t, "stops", ratelimit.Spec{Rate: 1000, Per: time.Second, Burst: 100})
	if _, err := f.Strict(patient(t), l, []byte("k"), 1); err != nil {
		t.Fatal(err)
	}
	redis.signal(syscall.SIGSTOP)
	until(t, "the store is taken as down", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		defer cancel()
		_, err := f.Strict(ctx, l, []byte("k"), 1)
		return err != nil && !f.Up()
	})
	k := []byte("other")
	if _, outcome := f.Leases(l).Take(l.Hash(k), k, 1); outcome != Down {
		t.Errorf("a lease from a store that is down: %d", outcome)
	}
	redis.signal(syscall.SIGCONT)
	until(t, "the store is used again", func() bool {
		_, err := f.Strict(patient(t), l, []byte("k"), 1)
		return err == nil
	})
	for _, up := range []bool{false, true} {
		if got := <-reports; got != up {
			t.Errorf("reported %v", got)
		}
	}
}

// TestStoreRestarts: a store that comes back without its memory gives nobody
// another burst.
func TestStoreRestarts(t *testing.T) {
	redis := startRedis(t)
	f := connect(t, to(redis))
	limits := []*ratelimit.Limit{
		limitOf(t, "bucket", ratelimit.Spec{Rate: 1, Per: time.Minute, Burst: 50}),
		limitOf(t, "sliding", ratelimit.Spec{Algorithm: ratelimit.Sliding, Rate: 50, Per: time.Minute}),
		limitOf(t, "fixed", ratelimit.Spec{Algorithm: ratelimit.Fixed, Rate: 50, Per: time.Minute}),
	}
	take := func(l *ratelimit.Limit) (bool, error) {
		r, err := f.Strict(patient(t), l, []byte("k"), 1)
		return r.Allowed, err
	}
	minute := func() int64 { return time.Now().Unix() / 60 }
	this := minute()
	for _, l := range limits {
		for range 50 {
			if ok, err := take(l); !ok || err != nil {
				t.Fatal(l.Name(), ok, err)
			}
		}
	}
	if minute() != this {
		this = minute() - 1 // nothing is known of windows: they are not judged
	}
	redis.kill()
	until(t, "the store is taken as down", func() bool {
		_, err := take(limits[0])
		return err != nil && !f.Up()
	})
	redis.start()
	until(t, "the store is used again", f.Up)
	begin := time.Now()
	for _, l := range limits {
		admitted := 0
		for range 60 {
			ok, err := take(l)
			if err != nil {
				t.Fatal(l.Name(), err)
			}
			if ok {
				admitted++
			}
		}
		// What a minute gives in the time that this took, rounded up. A fixed
		// window has its even share of the minute left.
		most := 1 + int(time.Since(begin).Minutes()*50)
		if l.Name() == "fixed" {
			most += int(60-begin.Unix()%60) * 50 / 60
		}
		if admitted > most && minute() == this {
			t.Errorf("%s: %d admitted after the restart, at most %d", l.Name(), admitted, most)
		}
	}
}

// TestQuotasPersist: quotas of a day and a month outlive the instances and the
// store, which writes what it knows to its disk.
func TestQuotasPersist(t *testing.T) {
	redis := startRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	quotas := []*ratelimit.Limit{
		limitOf(t, "day", ratelimit.Spec{Algorithm: ratelimit.Fixed, Rate: 1000, Per: 24 * time.Hour}),
		limitOf(t, "month", ratelimit.Spec{Algorithm: ratelimit.Month, Rate: 1000}),
	}
	take := func(f *Fleet, l *ratelimit.Limit, cost int64) int64 {
		t.Helper()
		r, err := f.Strict(patient(t), l, []byte("k"), cost)
		if err != nil || !r.Allowed {
			t.Fatalf("%s: allowed %v, %v", l.Name(), r.Allowed, err)
		}
		return l.Quota(r, cost).Remaining
	}
	days := func() int64 { return time.Now().Unix() / 86400 }
	today := days()
	f := connect(t, to(redis))
	for _, l := range quotas {
		take(f, l, 700)
	}
	f.Close()
	redis.kill()
	redis.start()
	f = connect(t, to(redis))
	for _, l := range quotas {
		if left := take(f, l, 100); left != 200 && days() == today {
			t.Errorf("%s: %d left, want 200", l.Name(), left)
		}
	}
}

// TestNoStoreAtStart: a fleet opens without its store and finds it later.
func TestNoStoreAtStart(t *testing.T) {
	redis := startRedis(t)
	redis.kill()
	f, err := Open(to(redis))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	until(t, "it is down", func() bool { return !f.Up() })
	l := limitOf(t, "late", ratelimit.Spec{Rate: 1000, Per: time.Second, Burst: 1})
	if _, err := f.Strict(patient(t), l, nil, 1); err != ErrDown {
		t.Errorf("%v", err)
	}
	redis.start()
	until(t, "it is up", func() bool {
		_, err := f.Strict(patient(t), l, nil, 0)
		return err == nil
	})
}

func TestSentinelFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	master := startRedis(t)
	_, port, _ := cutAddr(master.addr)
	replica := startRedis(t, "--replicaof", "127.0.0.1 "+port)
	sentinel := startSentinel(t, master)
	until(t, "the sentinel knows the replica", func() bool {
		return len(sentinel.cli("sentinel", "replicas", "main")) > 0
	})
	f := connect(t, Options{Addresses: []string{sentinel.addr}, Sentinel: "main"})
	l := limitOf(t, "failover", ratelimit.Spec{Rate: 1000, Per: time.Second, Burst: 1000})
	if _, err := f.Strict(patient(t), l, []byte("k"), 1); err != nil {
		t.Fatal(err)
	}
	master.kill()
	until(t, "the replica is asked", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := f.Strict(ctx, l, []byte("k"), 1)
		return err == nil
	})
	if role := replica.cli("role"); len(role) < 6 || role[:6] != "master" {
		t.Errorf("the replica is a %s", role)
	}
}

func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	nodes := startCluster(t)
	f := connect(t, Options{Addresses: []string{nodes[0].addr}, Cluster: true})
	l := limitOf(t, "cluster", ratelimit.Spec{Rate: 1, Per: time.Hour, Burst: 20})
	admitted := map[int]int{}
	ask := func() {
		for k := range 30 {
			until(t, "a node answers", func() bool {
				r, err := f.Strict(patient(t), l, fmt.Append(nil, k), 1)
				if err == nil && r.Allowed {
					admitted[k]++
				}
				return err == nil
			})
		}
	}
	for range 10 {
		ask()
	}
	// A third of the slots moves while requests go on.
	moved := make(chan string)
	from, to := nodes[0].cli("cluster", "myid"), nodes[1].cli("cluster", "myid")
	go func() {
		moved <- nodes[0].cli("--cluster", "reshard", nodes[0].addr, "--cluster-from", from, "--cluster-to", to, "--cluster-slots", "2000", "--cluster-yes")
	}()
	for done := false; !done; {
		select {
		case <-moved:
			done = true
		default:
			ask()
		}
	}
	for range 15 {
		ask()
	}
	for k, n := range admitted {
		if n != 20 {
			t.Errorf("key %d was admitted %d times, want 20", k, n)
		}
	}
}
