package observe

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestTallyCountsAlike: what goes by way of a Tally is in the end what is counted at
// once, whatever changes from one observation to the next, and nothing is counted
// before Settle but what another kind has pushed out.
func TestTallyCountsAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	type pair struct{ at, by *RouteMetrics }
	at, by := NewMetrics(BuildInfo{}), NewMetrics(BuildInfo{})
	routes := []pair{{at.Route("a"), by.Route("a")}, {at.Route("b"), by.Route("b")}}
	ends := [][2]*EndpointMetrics{
		{at.Endpoint("u", "a"), by.Endpoint("u", "a")}, {at.Endpoint("u", "b"), by.Endpoint("u", "b")},
	}
	durations := []time.Duration{-1, 0, 1, time.Millisecond, time.Millisecond + 1, time.Second, time.Hour}
	statuses := []int{0, 200, 200, 200, 404, 999}
	var tally Tally
	for range 20000 {
		rec := Record{Shard: r.Uint32(), Status: statuses[r.IntN(len(statuses))], Duration: durations[r.IntN(len(durations))]}
		p := routes[r.IntN(2)]
		p.at.Observe(&rec, nil)
		p.by.Observe(&rec, &tally)
		a := Attempt{Status: rec.Status, Response: durations[r.IntN(len(durations))]}
		e := ends[r.IntN(2)]
		e[0].Observe(rec.Shard, &a, nil)
		e[1].Observe(rec.Shard, &a, &tally)
		if r.IntN(50) == 0 {
			tally.Settle()
		}
	}
	tally.Settle()
	for _, p := range routes {
		sameCodes(t, &p.at.codes, &p.by.codes)
		if got, want := p.by.duration.Totals(), p.at.duration.Totals(); got.Buckets != want.Buckets || got.Sum != want.Sum {
			t.Errorf("durations %v, at once %v", got, want)
		}
	}
	for _, e := range ends {
		sameCodes(t, &e[0].codes, &e[1].codes)
	}
	if got, want := ends[0][1].upstream.duration.Totals(), ends[0][0].upstream.duration.Totals(); got.Buckets != want.Buckets || got.Sum != want.Sum {
		t.Errorf("responses took %v, at once %v", got, want)
	}
}

func sameCodes(t *testing.T, at, by *codes) {
	t.Helper()
	read := func(c *codes) (all []uint64) {
		c.each(func(status int, n uint64) { all = append(all, uint64(status), n) })
		return all
	}
	if got, want := read(by), read(at); !slices.Equal(got, want) {
		t.Errorf("statuses %v, at once %v", got, want)
	}
}

// TestTallyHoldsBack: the same is counted by Settle, another kind counts it before.
func TestTallyHoldsBack(t *testing.T) {
	m := NewMetrics(BuildInfo{})
	route := m.Route("a")
	var tally Tally
	for _, step := range []struct {
		status int
		took   time.Duration
		want   uint64
	}{
		{200, time.Millisecond, 0}, {200, time.Millisecond, 0}, {404, time.Millisecond, 2},
		{404, time.Hour, 3}, {404, time.Hour, 3},
	} {
		route.Observe(&Record{Status: step.status, Duration: step.took}, &tally)
		if n := route.Requests(); n != step.want {
			t.Errorf("%d after a %d of %v, want %d", n, step.status, step.took, step.want)
		}
	}
	tally.Settle()
	tally.Settle()
	if n := route.Requests(); n != 5 {
		t.Errorf("%d counted in the end, want 5", n)
	}
}
