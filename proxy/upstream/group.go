package upstream

import (
	"sync"
	"sync/atomic"
)

// Group is one configuration's upstream: a named group of endpoints and the way
// to choose among them. Its methods are safe for concurrent use.
type Group struct {
	name     string
	registry *Registry
	members  []member
	plan     atomic.Pointer[plan]
	named    named

	mu sync.Mutex // held while a plan is made
}

// member is an endpoint's part in a group.
type member struct {
	endpoint *Endpoint
	weight   int
}

// plan is the order in which endpoints are picked while no endpoint begins or
// ceases to be avoided.
//
//	order  0 1 0 2 0 1 0 2 ...   one cycle of weighted round robin over those
//	           ^                 that may be picked
//	next ------+                 every pick takes one place: an atomic add
type plan struct {
	order   []uint16
	next    *atomic.Uint64
	avoided []bool    // per member
	changes uint64    // Registry.changes when the plan was made
	wake    monotonic // when the first avoided endpoint may be probed; 0: never
}

// maxTried is how many picks of one exchange are told apart. More attempts than
// that for one request is a configuration that the limits refuse.
const maxTried = 16

// Tried are the endpoints that an exchange has picked from one group. The zero
// value is an exchange before its first attempt.
type Tried struct {
	n     int
	index [maxTried]uint16
}

// Len is the number of picks so far.
func (t *Tried) Len() int { return t.n }

// Reset makes t ready for another exchange.
func (t *Tried) Reset() { t.n = 0 }

func (t *Tried) has(i uint16) bool {
	for _, x := range t.index[:min(t.n, maxTried)] {
		if x == i {
			return true
		}
	}
	return false
}

func (t *Tried) add(i uint16) {
	t.index[t.n%maxTried] = i
	t.n++
}

// Name is the upstream's name in the configuration.
func (g *Group) Name() string { return g.name }

// Close gives the endpoints back to the registry. It is called when no exchange
// will pick from the group any more; connections in use may still be released.
func (g *Group) Close() {
	for _, m := range g.members {
		g.registry.giveBack(m.endpoint)
	}
	g.closeNamed()
}

// Info describes the endpoints in the configuration's order.
func (g *Group) Info() []Info {
	infos := make([]Info, len(g.members))
	for i, m := range g.members {
		infos[i] = m.endpoint.Info()
		infos[i].Weight = m.weight
	}
	return infos
}

// Pick gives the endpoint for the next attempt and notes it in tried: weighted
// round robin over the endpoints that failures do not keep away and that this
// exchange has not tried. When all are avoided, none is. nil says that there is
// nothing left to try.
func (g *Group) Pick(tried *Tried) *Endpoint {
	if len(g.members) == 1 {
		// Nothing to choose from, so failures are not looked at, as in nginx.
		if tried.n > 0 || g.members[0].weight == 0 {
			return nil
		}
		tried.add(0)
		return g.members[0].endpoint
	}
	p := g.plan.Load()
	if p.changes != g.registry.changes.Load() || p.wake != 0 && now() >= p.wake {
		var probe int
		if p, probe = g.replan(); probe >= 0 && !tried.has(uint16(probe)) {
			return g.take(uint16(probe), tried)
		}
	}
	n := uint64(len(p.order))
	for range p.order {
		i := p.order[p.next.Add(1)%n]
		if !tried.has(i) {
			return g.take(i, tried)
		}
	}
	// Other exchanges took the places that this one needed.
	for _, i := range p.order {
		if !tried.has(i) {
			return g.take(i, tried)
		}
	}
	return nil
}

func (g *Group) take(i uint16, tried *Tried) *Endpoint {
	tried.add(i)
	return g.members[i].endpoint
}

// replan makes a plan for the endpoints that may be picked now. probe is a
// member that was avoided and that the caller, and nobody else, is to try; -1
// for none.
func (g *Group) replan() (p *plan, probe int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.plan.Load()
	p, probe = g.survey(old)
	g.plan.Store(p)
	return p, probe
}

// survey asks every endpoint's health.
func (g *Group) survey(old *plan) (p *plan, probe int) {
	at := now()
	p = &plan{avoided: make([]bool, len(g.members)), changes: g.registry.changes.Load()}
	probe = -1
	weights := make([]int, len(g.members))
	usable := 0
	for i, m := range g.members {
		f := &m.endpoint.failures
		until := monotonic(f.until.Load())
		if until == 0 {
			weights[i] = m.weight
			usable += m.weight
			continue
		}
		if m.weight > 0 && until <= at && probe < 0 && f.probe(at, m.endpoint.limits.Load().Cooldown) {
			probe = i
			until = monotonic(f.until.Load())
		}
		p.avoided[i] = true
		if p.wake == 0 || until < p.wake {
			p.wake = until
		}
	}
	if usable == 0 {
		for i, m := range g.members {
			m.endpoint.failures.expectAnswer()
			p.avoided[i], weights[i] = false, m.weight
		}
	}
	if old != nil && sameBools(old.avoided, p.avoided) {
		p.order, p.next = old.order, old.next
		return p, probe
	}
	p.order, p.next = roundRobin(weights), new(atomic.Uint64)
	p.next.Store(^uint64(0)) // the first Add gives place 0
	return p, probe
}

func sameBools(a, b []bool) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
