package limit

import (
	"context"
	"fmt"
	"time"

	"perigee/luavm"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
	"perigee/ratelimit"
	"perigee/ratelimit/fleet"
)

// Named is a limit that scripts ask: perigee.limit(name, key, cost).
type Named struct {
	// Rate is how much passes: 100/s, 5/10s.
	Rate unit.Rate `yaml:"rate,omitempty"`
	// Burst is how much may come at once when nothing came before. Default: the
	// number in rate. Algorithm bucket alone.
	Burst *int `yaml:"burst,omitempty"`
	// Algorithm is bucket (default), sliding or fixed, as in limit of a route.
	Algorithm Algorithm `yaml:"algorithm,omitempty"`
	// Delay is how long a script may be told to wait instead of being refused.
	Delay unit.Duration `yaml:"delay,omitempty"`
	// Monthly is how much passes in a month, UTC, in the place of rate.
	Monthly int `yaml:"monthly,omitempty"`
	// Redis is the entry of redis in which instances count together. Such a limit
	// can be asked only where a script can wait. Default: each instance counts by
	// itself.
	Redis string `yaml:"redis,omitempty"`
	// Mode is strict or leased, as in limit of a route.
	Mode Mode `yaml:"mode,omitempty"`
	// OnStoreFailure is what scripts are told while the store does not answer, as
	// in limit of a route: local (default), allow or deny.
	OnStoreFailure OnStoreFailure `yaml:"on_store_failure,omitempty"`
	// Budget is how long a script waits for the store at most. Default 5ms.
	Budget unit.Duration `yaml:"budget,omitempty"`
}

func (n *Named) rule() *Rule {
	return &Rule{
		Rate: n.Rate, Burst: n.Burst, Algorithm: n.Algorithm, Delay: n.Delay, Monthly: n.Monthly,
		Redis: n.Redis, Mode: n.Mode, OnStoreFailure: n.OnStoreFailure, Budget: n.Budget,
	}
}

// Spec is the limit's numbers.
func (n *Named) Spec() ratelimit.Spec { return n.rule().spec(nil) }

// Check finds what cannot be.
func (n *Named) Check() (problems []unit.Problem) {
	say := func(path, message, hint string) {
		if path == "" {
			hint = "add rate: 100/s or monthly: 100000"
		}
		problems = append(problems, unit.Problem{Path: path, Message: message, Hint: hint})
	}
	n.rule().checkNumbers(say)
	if len(problems) == 0 {
		n.rule().checkShared(say)
	}
	return problems
}

// ForScripts are the limits that scripts ask. Those that instances share are
// askers, which tell of their leases.
func ForScripts(named map[string]*Named, b Build) (limits []luavm.Limit, askers []*Asker, err error) {
	for name, n := range named {
		l, err := b.Table.Limit(name, n.Spec())
		if err != nil {
			return nil, nil, fmt.Errorf("rate_limits.%s: %w", name, err)
		}
		if n.Redis != "" {
			a, err := newAsker(name, n, l, b)
			if err != nil {
				return nil, nil, fmt.Errorf("rate_limits.%s: %w", name, err)
			}
			askers = append(askers, a)
			limits = append(limits, luavm.Limit{Name: name, Store: a})
			continue
		}
		words, _ := b.Table.Layout(&l)
		limits = append(limits, luavm.Limit{Name: name, Words: words, Keep: b.Table, Counts: b.Store.counted(name, b.Metrics.Limit(b.Route, name))})
	}
	return limits, askers, nil
}

// Asker is a limit of rate_limits that instances share.
type Asker struct {
	name    string
	limit   ratelimit.Limit
	shared  *sharing
	table   *ratelimit.Table
	metrics *observe.LimitMetrics
}

// ofScripts is the shard of what scripts ask: they wait for the store, so that
// nobody meets there.
const ofScripts = 0

func newAsker(name string, n *Named, l ratelimit.Limit, b Build) (*Asker, error) {
	a := &Asker{name: name, limit: l, table: b.Table, metrics: b.Metrics.Limit(b.Route, name)}
	var err error
	a.shared, err = newSharing(n.rule(), b.Fleets)
	if err == nil {
		a.shared.add(n.Mode, &a.limit)
	}
	return a, err
}

// Try implements luavm.LimitStore.
func (a *Asker) Try(key []byte, cost int64) (luavm.LimitAnswer, bool) {
	result, outcome := a.shared.try(0, a.limit.Hash(key), key, cost)
	switch outcome {
	case fleet.Decided:
		return a.answer(result, cost), true
	case fleet.Down:
		return a.without(key, cost), true
	}
	return luavm.LimitAnswer{}, false
}

// Ask implements luavm.LimitStore.
func (a *Asker) Ask(ctx context.Context, key []byte, cost int64) luavm.LimitAnswer {
	ctx, cancel := context.WithTimeout(ctx, a.shared.budget)
	defer cancel()
	result, err := a.shared.ask(ctx, 0, question{&a.limit, a.limit.Hash(key), key, cost})
	if err != nil {
		return a.without(key, cost)
	}
	return a.answer(result, cost)
}

// without decides while the store does not answer.
func (a *Asker) without(key []byte, cost int64) luavm.LimitAnswer {
	a.metrics.Count(ofScripts, observe.LimitStoreDown)
	switch a.shared.policy {
	case "allow":
		a.metrics.Count(ofScripts, observe.LimitSkipped)
		return luavm.LimitAnswer{Allowed: true, Remaining: -1}
	case "deny":
		a.metrics.Count(ofScripts, observe.LimitDenied)
		return luavm.LimitAnswer{Remaining: -1, Wait: float64(time.Second)}
	}
	h, now := a.limit.Hash(key), a.table.Clock().Now()
	cost = a.shared.part(a.table, &a.limit, h, cost)
	return a.answer(a.table.TakeHashed(&a.limit, h, cost, now), cost)
}

func (a *Asker) answer(r ratelimit.Result, cost int64) luavm.LimitAnswer {
	q := a.limit.Quota(r, cost)
	answer := luavm.LimitAnswer{
		Allowed: r.Allowed, Remaining: float64(q.Remaining), Wait: float64(r.Delay), Reset: float64(q.Reset),
	}
	outcome := observe.LimitAllowed
	switch {
	case !r.Allowed:
		answer.Wait, outcome = float64(q.Retry), observe.LimitDenied
	case r.Delay > 0:
		outcome = observe.LimitDelayed
	}
	a.metrics.Count(ofScripts, outcome)
	return answer
}

// ErrorRatios adds what Filter.ErrorRatios adds.
func (a *Asker) ErrorRatios(ratios map[string]float64) { a.shared.errorRatios(a.name, ratios) }
