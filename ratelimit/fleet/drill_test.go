package fleet

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"perigee/ratelimit"
)

// Drills: two instances under load, one limit strict and one leased, while
// something befalls their Redis. Who gets no answer within the budget decides
// alone, as on_store_failure: local does. With DRILL_PLOTS=DIR each drill takes
// longer and leaves a plot there (make drills).

const (
	drillBudget    = 5 * time.Millisecond
	drillBin       = 100 * time.Millisecond
	drillInstances = 2
	strictRate     = 1000
	leasedRate     = 20_000
	strictWorkers  = 16 // of each instance
)

// kind is one of the two limits of a drill.
type kind struct {
	name    string
	rate    int64
	offered float64 // of the limit
}

var kinds = []kind{{"strict, 1,000/s", strictRate, 1.5}, {"leased, 20,000/s", leasedRate, 1.3}}

// sample is one decision.
type sample struct {
	at, wait time.Duration // at: when it came, since the drill began
	admitted bool
	alone    bool // without the store
}

// course is a drill under way and what comes of it.
type course struct {
	begin   time.Time
	stop    chan struct{}
	all     sync.WaitGroup
	mu      sync.Mutex
	samples [2][]sample      // by kind
	late    []time.Duration  // by bin: the most that a timer was late
	fault   [2]time.Duration // from, to
	fleets  [drillInstances]*Fleet
}

// member is an instance with what it decides by when it is alone.
type member struct {
	*Fleet
	table *ratelimit.Table
	limit [2]ratelimit.Limit
}

func newMember(t *testing.T, f *Fleet) *member {
	t.Helper()
	table, err := ratelimit.NewTable(ratelimit.MinTable)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(table.Close)
	m := &member{Fleet: f, table: table}
	for i, k := range kinds {
		if m.limit[i], err = table.Limit("drill "+k.name, ratelimit.Spec{Rate: k.rate, Per: time.Second, Burst: k.rate / 10}); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

var drillKey = []byte("k")

// decide asks the store and, when it has no answer in time, decides alone.
func (m *member) decide(kind int) sample {
	l := &m.limit[kind]
	h := l.Hash(drillKey)
	if kind == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), drillBudget)
		defer cancel()
		if r, err := m.Strict(ctx, l, drillKey, 1); err == nil {
			return sample{admitted: r.Allowed}
		}
	} else {
		leases := m.Leases(l)
		r, outcome := leases.Take(h, drillKey, 1)
		if outcome == Wait {
			ctx, cancel := context.WithTimeout(context.Background(), drillBudget)
			r, outcome = leases.Wait(ctx, h, drillKey, 1)
			cancel()
		}
		if outcome == Decided {
			return sample{admitted: r.Allowed}
		}
	}
	// What all may admit is divided among those that were there last.
	r := m.table.TakeHashed(l, h, min(m.Live(), l.Spec().Burst), m.clock.Now())
	return sample{admitted: r.Allowed, alone: true}
}

// load asks at an even rate, and catches up when it could not.
func (c *course) load(m *member, kind int, rate float64) {
	var mine []sample
	asked := 0
	for running := true; running; {
		select {
		case <-c.stop:
			running = false
		default:
		}
		for since := time.Since(c.begin); float64(asked) < rate*since.Seconds(); asked++ {
			from := time.Now()
			s := m.decide(kind)
			now := time.Now()
			s.at, s.wait = now.Sub(c.begin), now.Sub(from)
			mine = append(mine, s)
		}
		time.Sleep(time.Millisecond / 2)
	}
	c.mu.Lock()
	c.samples[kind] = append(c.samples[kind], mine...)
	c.mu.Unlock()
}

// watch notes how late a timer is: on a machine that is busy decisions are as
// late as that, whatever the budget.
func (c *course) watch() {
	for last := time.Now(); ; {
		select {
		case <-c.stop:
			return
		default:
		}
		time.Sleep(time.Millisecond)
		now := time.Now()
		late := now.Sub(last) - time.Millisecond
		for from := last; ; from = from.Add(drillBin) {
			bin := int(min(from.Sub(c.begin), now.Sub(c.begin)) / drillBin)
			for len(c.late) <= bin {
				c.late = append(c.late, 0)
			}
			c.late[bin] = max(c.late[bin], late)
			if from.After(now) {
				break
			}
		}
		last = now
	}
}

// run loads the fleets of a store, lets fault happen to it and waits until all
// is well again.
func run(t *testing.T, o Options, fault func(c *course)) *course {
	t.Helper()
	c := &course{stop: make(chan struct{})}
	var members [drillInstances]*member
	for i := range members {
		c.fleets[i] = connect(t, o)
		members[i] = newMember(t, c.fleets[i])
	}
	for _, f := range c.fleets {
		until(t, "all instances know of each other", func() bool { return f.Live() == drillInstances })
	}
	c.begin = time.Now()
	c.all.Go(c.watch)
	for _, m := range members {
		for range strictWorkers {
			c.all.Go(func() { c.load(m, 0, strictRate*kinds[0].offered/drillInstances/strictWorkers) })
		}
		c.all.Go(func() { c.load(m, 1, leasedRate*kinds[1].offered/drillInstances) })
	}
	before, after := time.Second, 3*time.Second
	if plots() != "" {
		before, after = 3*time.Second, 6*time.Second
	}
	time.Sleep(before)
	c.fault[0] = time.Since(c.begin)
	fault(c)
	for _, f := range c.fleets {
		until(t, "the store is used again", f.Up)
	}
	time.Sleep(after)
	close(c.stop)
	c.all.Wait()
	return c
}

// over says that what befell the store has ended.
func (c *course) over() { c.fault[1] = time.Since(c.begin) }

func plots() string { return os.Getenv("DRILL_PLOTS") }

func TestDrill(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	for _, d := range []struct {
		name string
		run  func(t *testing.T) *course
	}{
		{"kill", drillKill},
		{"stop", drillStop},
		{"sentinel", drillSentinel},
		{"cluster", drillCluster},
	} {
		t.Run(d.name, func(t *testing.T) {
			c := d.run(t)
			c.judge(t)
			if dir := plots(); dir != "" {
				if err := os.WriteFile(filepath.Join(dir, d.name+".svg"), []byte(c.svg(captions[d.name])), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

var captions = map[string]string{
	"kill":     "SIGKILL, and a restart without its memory 2 s later",
	"stop":     "SIGSTOP for 2 s",
	"sentinel": "SIGKILL of the master; Sentinel makes the replica one",
	"cluster":  "a cluster of 3 moves 4,000 slots, one by one",
}

func drillKill(t *testing.T) *course {
	redis := startRedis(t)
	return run(t, to(redis), func(c *course) {
		redis.kill()
		time.Sleep(2 * time.Second)
		redis.start()
		c.over()
	})
}

func drillStop(t *testing.T) *course {
	redis := startRedis(t)
	return run(t, to(redis), func(c *course) {
		redis.signal(syscall.SIGSTOP)
		time.Sleep(2 * time.Second)
		redis.signal(syscall.SIGCONT)
		c.over()
	})
}

func drillSentinel(t *testing.T) *course {
	master := startRedis(t)
	_, port, _ := cutAddr(master.addr)
	replica := startRedis(t, "--replicaof", "127.0.0.1 "+port)
	sentinel := startSentinel(t, master)
	until(t, "the sentinel knows the replica", func() bool {
		return len(sentinel.cli("sentinel", "replicas", "main")) > 0
	})
	return run(t, Options{Addresses: []string{sentinel.addr}, Sentinel: "main"}, func(c *course) {
		master.kill()
		until(t, "the replica is the master", func() bool { return contains(replica.cli("role"), "master") })
		c.over()
	})
}

func drillCluster(t *testing.T) *course {
	nodes := startCluster(t)
	from, to := nodes[0].cli("cluster", "myid"), nodes[1].cli("cluster", "myid")
	return run(t, Options{Addresses: []string{nodes[0].addr}, Cluster: true}, func(c *course) {
		nodes[0].cli("--cluster", "reshard", nodes[0].addr, "--cluster-from", from, "--cluster-to", to, "--cluster-slots", "4000", "--cluster-yes")
		c.over()
	})
}

// judge holds a course to what is promised. The store never gives more than the
// limit and one burst in a second (leases: and the slices that were held), nor do
// those who decide alone, who divide the limit among them; after the store is back
// it gives no second burst; and no decision is later than the budget, where the
// machine itself was not. How many decisions were made alone depends on the
// machine, too: on a busy one the budget ends before an answer is read.
func (c *course) judge(t *testing.T) {
	for k, kind := range kinds {
		burst := 1.1
		if k == 1 {
			burst += fleetSlices
		}
		for _, alone := range []bool{false, true} {
			who := "the store"
			if alone {
				who = "instances alone"
			}
			n, worst := c.worstSecond(k, alone)
			t.Logf("%s: %s admitted %d, at most %.1f %% of the limit in a second", kind.name, who, n, 100*worst)
			if worst > burst+0.005 {
				t.Errorf("%s: %s admitted %.1f %% of the limit in one second", kind.name, who, 100*worst)
			}
		}
		c.judgeWaits(t, k)
		n, seconds := c.givenFrom(k, c.fault[1]+time.Second)
		t.Logf("%s: from 1 s after the end on the store admitted %.1f %% of the limit", kind.name, 100*float64(n)/seconds/float64(kind.rate))
		if most := float64(kind.rate) * (seconds + burst - 1); float64(n) > most+1 {
			t.Errorf("%s: recovers with a burst, %d in %.1f s, at most %.0f", kind.name, n, seconds, most)
		}
	}
}

// fleetSlices is what instances may hold of a leased limit, in seconds of it.
const fleetSlices = 1.25 * float64(mostPeriod) / float64(time.Second)

// worstSecond counts what was admitted, by the store or by instances alone, and
// the most of it that began and ended within one second: those were decided in
// it, however busy the machine was.
func (c *course) worstSecond(kind int, alone bool) (n int, worst float64) {
	change := make([]int, c.length()/drillBin+2)
	for _, s := range c.samples[kind] {
		if !s.admitted || s.alone != alone {
			continue
		}
		n++
		// Seconds that begin with the bins first to last hold all of it.
		first := max(int((s.at-time.Second+drillBin-1)/drillBin), 0)
		if last := int((s.at - s.wait) / drillBin); first <= last {
			change[first]++
			change[last+1]--
		}
	}
	count, most := 0, 0
	for _, d := range change {
		count += d
		most = max(most, count)
	}
	return n, float64(most) / float64(kinds[kind].rate)
}

// givenFrom counts what the store admitted of what was asked from an instant on,
// and the seconds since.
func (c *course) givenFrom(kind int, from time.Duration) (n int, seconds float64) {
	for _, s := range c.samples[kind] {
		if s.admitted && !s.alone && s.at-s.wait >= from {
			n++
		}
	}
	return n, (c.length() - from).Seconds()
}

// judgeWaits compares waits with the budget and with how late timers were.
func (c *course) judgeWaits(t *testing.T, kind int) {
	var worst time.Duration
	var over []time.Duration
	for _, s := range c.samples[kind] {
		worst = max(worst, s.wait)
		late := time.Duration(0)
		for at := s.at - s.wait; at <= s.at+drillBin; at += drillBin {
			if bin := int(max(at, 0) / drillBin); bin < len(c.late) {
				late = max(late, c.late[bin])
			} else {
				late = time.Hour // nobody watched any more
			}
		}
		if late <= 2*time.Millisecond {
			over = append(over, s.wait-drillBudget)
		}
	}
	t.Logf("%s: of %d decisions %d came while no timer was late; the longest wait was %v", kinds[kind].name, len(c.samples[kind]), len(over), worst)
	if worst > 5*time.Second {
		t.Errorf("%s: a decision took %v", kinds[kind].name, worst)
	}
	if len(over) < 1000 {
		t.Logf("%s: the machine was too busy to compare waits with the budget", kinds[kind].name)
		return
	}
	slices.Sort(over)
	if late := over[len(over)*999/1000]; late > 20*time.Millisecond {
		t.Errorf("%s: one in 1,000 decisions came %v after its budget, and the machine was not busy", kinds[kind].name, late)
	}
}
