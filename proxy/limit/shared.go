package limit

import (
	"context"
	"fmt"
	"time"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
	"perigee/ratelimit"
	"perigee/ratelimit/fleet"
)

// Mode says how instances share a limit.
type Mode string

// Values are the modes.
func (Mode) Values() []string { return []string{"strict", "leased"} }

// OnStoreFailure says what becomes of requests while the store does not answer.
type OnStoreFailure string

// Values are the policies.
func (OnStoreFailure) Values() []string { return []string{"local", "allow", "deny"} }

// defaultBudget is how long a request waits for the store.
const defaultBudget = 5 * time.Millisecond

// checkShared checks what a limit says about its store.
func (r *Rule) checkShared(say report) {
	if r.Redis == "" {
		for _, k := range [...]struct {
			key string
			set bool
		}{{"mode", r.Mode != ""}, {"on_store_failure", r.OnStoreFailure != ""}, {"budget", r.Budget != 0}} {
			if k.set {
				say(k.key, k.key+" has no meaning without a store", "add redis: NAME, or remove "+k.key)
			}
		}
		return
	}
	if r.Concurrent != 0 {
		say("redis", "requests under way are counted by each instance", "remove redis")
		return
	}
	if r.Budget < 0 || r.Budget > unit.Duration(time.Second) {
		say("budget", fmt.Sprintf("duration %q is not between 0 and 1s", r.Budget), "remove it for 5ms")
	}
	if r.Mode != "leased" {
		return
	}
	specs := []ratelimit.Spec{r.spec(nil)}
	for i := range r.Tiers {
		if !r.Tiers[i].Unlimited {
			specs = append(specs, r.spec(&r.Tiers[i]))
		}
	}
	for _, s := range specs {
		if !fleet.Leasable(s) {
			say("mode", fmt.Sprintf("%v cannot be leased: a slice would be a large part of it", s),
				fmt.Sprintf("lease buckets of %d/s and more without delay, or use strict", fleet.LeaseFrom))
			return
		}
	}
}

// sharing is how a rule counts with other instances.
type sharing struct {
	fleet  *fleet.Fleet
	leases []*fleet.Leases // by grade; nil: strict
	budget time.Duration
	policy OnStoreFailure
}

func newSharing(c *Rule, stores map[string]*fleet.Fleet) (*sharing, error) {
	f := stores[c.Redis]
	if f == nil {
		return nil, fmt.Errorf("there is no store redis.%s", c.Redis)
	}
	s := &sharing{fleet: f, budget: c.Budget.Std(), policy: c.OnStoreFailure}
	if s.budget == 0 {
		s.budget = defaultBudget
	}
	return s, nil
}

// add adds another grade; nil: it has no limit.
func (s *sharing) add(mode Mode, l *ratelimit.Limit) {
	var leases *fleet.Leases
	if l != nil && mode != "strict" && fleet.Leasable(l.Spec()) {
		leases = s.fleet.Leases(l)
	}
	s.leases = append(s.leases, leases)
}

func (r *rule) share(c *Rule, stores map[string]*fleet.Fleet) (err error) {
	if c.Redis == "" {
		return nil
	}
	if r.shared, err = newSharing(c, stores); err != nil {
		return err
	}
	for i := range r.grades {
		var l *ratelimit.Limit
		if !r.grades[i].unlimited {
			l = &r.grades[i].limit
		}
		r.shared.add(c.Mode, l)
	}
	return nil
}

// question is what a store is asked.
type question struct {
	limit *ratelimit.Limit
	hash  uint64
	key   []byte
	cost  int64
}

// try decides for a grade if that takes no wait.
func (s *sharing) try(grade int, hash uint64, key []byte, cost int64) (ratelimit.Result, fleet.Outcome) {
	if leases := s.leases[grade]; leases != nil {
		return leases.Take(hash, key, cost)
	}
	if !s.fleet.Up() {
		return ratelimit.Result{}, fleet.Down
	}
	return ratelimit.Result{}, fleet.Wait
}

// ask waits for the store's decision, as long as ctx allows.
func (s *sharing) ask(ctx context.Context, grade int, a question) (ratelimit.Result, error) {
	leases := s.leases[grade]
	if leases == nil {
		return s.fleet.Strict(ctx, a.limit, a.key, a.cost)
	}
	result, outcome := leases.Wait(ctx, a.hash, a.key, a.cost)
	if outcome != fleet.Decided {
		return result, fleet.ErrDown
	}
	return result, nil
}

// part is what a decision costs at this instance while the store is away: what
// all instances may admit is divided among those that were there last.
func (s *sharing) part(table *ratelimit.Table, l *ratelimit.Limit, hash uint64, cost int64) int64 {
	whole := l.Quota(table.PeekHashed(l, hash, 0, table.Clock().Now()), 0).Limit
	return max(min(cost*s.fleet.Live(), whole), cost)
}

// askShared asks the limits that are shared, from the i-th on. Those that need an
// answer of the store are asked one after another, each as an op.
func (f *Filter) askShared(ex *exchange.Exchange, i int) exchange.Verdict {
	l := &ex.Limits
	for ; i < len(f.rules); i++ {
		r, d := f.rules[i], &l.Asked[i]
		if r.shared == nil || d.Outcome == skipped {
			continue
		}
		result, outcome := r.shared.try(d.Grade, d.Hash, l.Keys[d.From:d.To], d.Cost)
		switch outcome {
		case fleet.Decided:
			d.Result = result
			if refused := f.settleShared(ex, i); refused {
				return f.refuse(ex, i, observe.LimitDenied)
			}
			continue
		case fleet.Down:
			if refused := f.withoutStore(ex, i); refused {
				return f.refuse(ex, i, observe.LimitDenied)
			}
			continue
		}
		l.Step, l.At = stepShared, i
		ex.Task = f
		ex.Post(exchange.OpTask)
		return exchange.Wait
	}
	return f.admit(ex)
}

// SpanName implements exchange.Traced.
func (f *Filter) SpanName() string { return "redis" }

// Run implements exchange.Task: it asks the store, for as long as the limit's
// budget allows.
func (f *Filter) Run(ex *exchange.Exchange, op *luavm.Op) {
	r, d := f.rules[ex.Limits.At], &ex.Limits.Asked[ex.Limits.At]
	ctx, cancel := context.WithTimeout(context.Background(), r.shared.budget)
	defer cancel()
	key := ex.Limits.Keys[d.From:d.To]
	d.Result, op.Err = r.shared.ask(ctx, d.Grade, question{&r.grades[d.Grade].limit, d.Hash, key, d.Cost})
}

// answered goes on with what the store has said about the limit at At.
func (f *Filter) answered(ex *exchange.Exchange) exchange.Verdict {
	op := ex.Take(exchange.OpTask)
	if op == nil {
		return exchange.Wait
	}
	i := ex.Limits.At
	ex.Limits.Step = stepAsk
	refused := false
	if op.Err != nil {
		refused = f.withoutStore(ex, i)
	} else {
		refused = f.settleShared(ex, i)
	}
	if refused {
		return f.refuse(ex, i, observe.LimitDenied)
	}
	return f.askShared(ex, i+1)
}

// settleShared notes the store's decision about the i-th limit; true: it refuses.
func (f *Filter) settleShared(ex *exchange.Exchange, i int) (refused bool) {
	d := &ex.Limits.Asked[i]
	d.Shared = true
	return f.decided(ex, i)
}

// withoutStore decides on the i-th limit as its policy says; true: it refuses.
func (f *Filter) withoutStore(ex *exchange.Exchange, i int) (refused bool) {
	r, d := f.rules[i], &ex.Limits.Asked[i]
	r.metrics.Count(ex.Record.Shard, observe.LimitStoreDown)
	switch r.shared.policy {
	case "allow":
		d.Outcome = skipped
		return false
	case "deny":
		d.Result = ratelimit.Result{}
		return f.decided(ex, i)
	}
	limit := &r.grades[d.Grade].limit
	d.Cost = r.shared.part(r.table, limit, d.Hash, d.Cost)
	d.Result = r.table.TakeHashed(limit, d.Hash, d.Cost, r.clock.Now())
	return f.decided(ex, i)
}

// giveBack returns what a limit was charged.
func (r *rule) giveBack(ex *exchange.Exchange, d *exchange.LimitDecision) {
	limit := &r.grades[d.Grade].limit
	switch {
	case !d.Shared:
		r.table.RefundHashed(limit, d.Hash, d.Cost, r.clock.Now())
	case r.shared.leases[d.Grade] != nil:
		r.shared.leases[d.Grade].Refund(d.Hash, d.Cost)
	default:
		r.shared.fleet.Later(limit, ex.Limits.Keys[d.From:d.To], -d.Cost)
	}
}

// chargeLater charges what a request turned out to cost.
func (r *rule) chargeLater(ex *exchange.Exchange, d *exchange.LimitDecision, cost int64) {
	limit := &r.grades[d.Grade].limit
	switch {
	case !d.Shared:
		r.table.ChargeHashed(limit, d.Hash, cost, r.clock.Now())
	case r.shared.leases[d.Grade] != nil:
		r.shared.leases[d.Grade].Charge(d.Hash, ex.Limits.Keys[d.From:d.To], cost)
	default:
		r.shared.fleet.Later(limit, ex.Limits.Keys[d.From:d.To], cost)
	}
}
