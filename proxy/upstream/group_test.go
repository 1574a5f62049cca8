package upstream

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// model is nginx's smooth weighted round robin as it is usually written down:
// every pick walks over all peers.
type model struct{ weights, current []int }

func (m *model) pick() int {
	best, total := -1, 0
	for i, w := range m.weights {
		m.current[i] += w
		total += w
		if w > 0 && (best < 0 || m.current[i] > m.current[best]) {
			best = i
		}
	}
	m.current[best] -= total
	return best
}

func TestRoundRobinIsNginxs(t *testing.T) {
	if got := roundRobin([]int{5, 1, 1}); !slices.Equal(got, []uint16{0, 0, 1, 0, 2, 0, 0}) {
		t.Errorf("5:1:1 gives %v", got)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		weights := make([]int, 1+rng.IntN(8))
		total := 0
		for i := range weights {
			weights[i] = rng.IntN(20)
			total += weights[i]
		}
		cycle := roundRobin(weights)
		if total == 0 {
			if len(cycle) != 0 {
				t.Fatalf("weights %v give %v", weights, cycle)
			}
			continue
		}
		m := &model{weights, make([]int, len(weights))}
		counts := make([]int, len(weights))
		for i := range 2 * total {
			want := m.pick()
			if got := int(cycle[i%len(cycle)]); got != want {
				t.Fatalf("weights %v: pick %d is %d, want %d", weights, i, got, want)
			}
			counts[want]++
		}
		for i, n := range counts {
			if n != 2*weights[i] {
				t.Fatalf("weights %v: counts %v of two cycles", weights, counts)
			}
		}
	}
}

func TestRoundRobinScalesLargeWeights(t *testing.T) {
	cycle := roundRobin([]int{65535, 65534, 1, 0})
	counts := make([]int, 4)
	for _, i := range cycle {
		counts[i]++
	}
	if len(cycle) > maxCycle+4 || counts[2] == 0 || counts[3] != 0 || counts[0]-counts[1] > 1 {
		t.Errorf("%d places, counts %v", len(cycle), counts)
	}
	if got := roundRobin([]int{600, 300}); len(got) != 3 {
		t.Errorf("600:300 gives a cycle of %d", len(got))
	}
}

// weighted is a group that nothing is connected to.
func weighted(t *testing.T, weights ...int) *Group {
	c := testConfig()
	for i, w := range weights {
		c.Endpoints = append(c.Endpoints, EndpointConfig{Address: "127.0.0.1:" + strconv.Itoa(i+1), Weight: w})
	}
	return group(t, c)
}

// picks counts n exchanges' first picks per endpoint.
func picks(g *Group, n int) []int {
	counts := make([]int, len(g.members))
	for range n {
		var tried Tried
		e := g.Pick(&tried)
		for i, m := range g.members {
			if m.endpoint == e {
				counts[i]++
			}
		}
	}
	return counts
}

func TestPickDistribution(t *testing.T) {
	g := weighted(t, 3, 0, 2, 1)
	if got := picks(g, 600); !slices.Equal(got, []int{300, 0, 200, 100}) {
		t.Errorf("picks %v", got)
	}
	counts, mu := make([]int, 4), sync.Mutex{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			mine := picks(g, 600)
			mu.Lock()
			defer mu.Unlock()
			for i, n := range mine {
				counts[i] += n
			}
		})
	}
	wg.Wait()
	if !slices.Equal(counts, []int{2400, 0, 1600, 800}) {
		t.Errorf("picks by 8 goroutines: %v", counts)
	}
}

func TestPickSkipsTried(t *testing.T) {
	g := weighted(t, 5, 1, 1, 0)
	for range 20 {
		var tried Tried
		seen := map[*Endpoint]bool{}
		for range 3 {
			e := g.Pick(&tried)
			if e == nil || seen[e] {
				t.Fatalf("pick %d gives %v", tried.Len(), e)
			}
			seen[e] = true
		}
		if e := g.Pick(&tried); e != nil {
			t.Fatalf("fourth pick gives %s", e.Address())
		}
		tried.Reset()
		if g.Pick(&tried) == nil {
			t.Fatal("nothing after Reset")
		}
	}
}

// TestRetriesAreSpread: those who leave a tried endpoint go to the others by
// their weights, not all to its neighbour.
func TestRetriesAreSpread(t *testing.T) {
	g := weighted(t, 1, 1, 1)
	counts := map[string]int{}
	for range 600 {
		var tried Tried
		tried.add(0)
		counts[g.Pick(&tried).Address()]++
	}
	if counts["127.0.0.1:2"] != 300 || counts["127.0.0.1:3"] != 300 {
		t.Errorf("%v", counts)
	}
}

func TestSingleEndpointIsNeverAvoided(t *testing.T) {
	g := weighted(t, 1)
	e := g.members[0].endpoint
	e.Failed()
	var tried Tried
	if g.Pick(&tried) != e {
		t.Error("the only endpoint is avoided")
	}
	if g.Pick(&tried) != nil {
		t.Error("the only endpoint is given twice")
	}
}

// setCooldown replaces the limits that failures are judged by.
func setCooldown(g *Group, failures int, cooldown time.Duration) {
	for _, m := range g.members {
		l := *m.endpoint.limits.Load()
		l.Failures, l.Cooldown = failures, cooldown
		m.endpoint.limits.Store(&l)
	}
}

func TestFailuresAreAvoided(t *testing.T) {
	g := weighted(t, 1, 1, 2)
	setCooldown(g, 1, 100*time.Millisecond)
	bad := g.members[1].endpoint
	bad.Failed()
	if got := picks(g, 90); !slices.Equal(got, []int{30, 0, 60}) {
		t.Errorf("while avoided: picks %v", got)
	}
	if !g.Info()[1].Avoided || g.Info()[0].Avoided || g.Info()[1].Failed != 1 {
		t.Errorf("info %+v", g.Info())
	}
	bad.Answered() // to a request from before the failure
	if got := picks(g, 4)[1]; got != 0 {
		t.Error("an old answer brought the endpoint back")
	}
	time.Sleep(110 * time.Millisecond)
	if got := picks(g, 400); got[1] != 1 {
		t.Errorf("after the cooldown one request probes: picks %v", got)
	}
	bad.Answered()
	if got := picks(g, 400); !slices.Equal(got, []int{100, 100, 200}) {
		t.Errorf("after the probe's answer: picks %v", got)
	}
}

func TestFailedProbeIsAvoidedAgain(t *testing.T) {
	g := weighted(t, 1, 1)
	setCooldown(g, 1, 50*time.Millisecond)
	bad := g.members[0].endpoint
	bad.Failed()
	for range 2 {
		time.Sleep(60 * time.Millisecond)
		if got := picks(g, 1); got[0] != 1 {
			t.Fatalf("no probe: %v", got)
		}
		bad.Failed()
		if got := picks(g, 10); got[0] != 0 {
			t.Fatalf("picks after a failed probe: %v", got)
		}
	}
}

func TestFailuresNeedTheirNumber(t *testing.T) {
	g := weighted(t, 1, 1)
	setCooldown(g, 3, 50*time.Millisecond)
	e := g.members[0].endpoint
	e.Failed()
	e.Failed()
	time.Sleep(60 * time.Millisecond) // the window is over
	e.Failed()
	e.Failed()
	if got := picks(g, 10); got[0] != 5 {
		t.Errorf("2 failures of 3 keep requests away: %v", got)
	}
	e.Failed()
	if got := picks(g, 10); got[0] != 0 {
		t.Errorf("3 failures of 3: picks %v", got)
	}
	setCooldown(g, 0, 50*time.Millisecond)
	g.members[1].endpoint.Failed()
	if g.Info()[1].Avoided {
		t.Error("with no limit a failure keeps requests away")
	}
}

func TestAllAvoidedIsNoneAvoided(t *testing.T) {
	g := weighted(t, 1, 1)
	for _, m := range g.members {
		m.endpoint.Failed()
	}
	if got := picks(g, 10); !slices.Equal(got, []int{5, 5}) {
		t.Errorf("picks %v", got)
	}
	g.members[0].endpoint.Answered()
	if got := picks(g, 10); !slices.Equal(got, []int{10, 0}) {
		t.Errorf("one answered: picks %v", got)
	}
}

func TestTriedForgetsTheOldest(t *testing.T) {
	var tried Tried
	for i := range uint16(maxTried + 1) {
		tried.add(i)
	}
	if tried.has(0) || !tried.has(1) || !tried.has(maxTried) || tried.Len() != maxTried+1 {
		t.Errorf("%+v", tried)
	}
}

func BenchmarkPick(b *testing.B) {
	c := testConfig()
	for i := range 5 {
		c.Endpoints = append(c.Endpoints, EndpointConfig{Address: "127.0.0.1:" + strconv.Itoa(i+1), Weight: i + 1})
	}
	g := group(b, c)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var tried Tried
			if g.Pick(&tried) == nil {
				b.Error("nothing")
			}
		}
	})
}
