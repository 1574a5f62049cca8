package limit

import (
	"fmt"
	"strconv"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/ratelimit"
	"perigee/ratelimit/fleet"
)

// Filter asks a route's limits in the access stage, and tells clients in the
// header stage.
//
// Limits of auth failures have a filter of their own, which stands before auth;
// it takes and gives back, and is told when auth refuses the credential.
//
//	access   keys, weights and tiers of all rules
//	           │
//	           v
//	         would any refuse? ── yes ──> 429, nothing was charged
//	           │ no
//	           v
//	         charge all ── one refuses now, another request was faster
//	           │               └──> what was charged goes back, 429
//	           v
//	         ask those that are shared, where need be as ops ── likewise
//	           v
//	         wait for one's turn (delay), then continue
//	end      what was under way is over; what it turned out to cost is charged
type Filter struct {
	route string
	rules []*rule
}

// skipped is the outcome of a limit that was not asked.
const skipped = observe.LimitSkipped

// Steps of the filter in an exchange.
const (
	stepAsk    uint8 = iota
	stepShared       // the store was asked
	stepDelay
)

// Build is what the filter of a route is made with.
type Build struct {
	Route   string
	Store   *Store
	Table   *ratelimit.Table // of Store.Prepare
	Metrics *observe.Metrics
	Fleets  map[string]*fleet.Fleet // of Store.Fleets
	// Guards makes the filter of the limits of auth failures, which stands before
	// auth; otherwise it is that of the others.
	Guards bool
	// Credentials are names, in small letters, of fields, cookies and arguments
	// that have credentials: their values are shown to nobody.
	Credentials []string
}

// New makes the filter of checked rules; nil: none is of its kind.
func New(rules Rules, b Build) (*Filter, error) {
	f := &Filter{route: b.Route}
	for i := range rules {
		if rules[i].Guards() != b.Guards {
			continue
		}
		r, err := newRule(&rules[i], rules.Name(i, b.Route), rules.place(i), b)
		if err != nil {
			return nil, fmt.Errorf("limit %s: %w", rules.Name(i, b.Route), err)
		}
		f.rules = append(f.rules, r)
	}
	if len(f.rules) == 0 {
		return nil, nil
	}
	return f, nil
}

// Name is the name of the i-th limit of a route.
func (r Rules) Name(i int, route string) string {
	if r[i].Name != "" {
		return r[i].Name
	}
	return fmt.Sprintf("%s.%d", route, i)
}

// Name implements exchange.Filter.
func (f *Filter) Name() string { return "limit" }

// Step implements exchange.Filter.
func (f *Filter) Step(ex *exchange.Exchange, stage exchange.Stage) exchange.Verdict {
	if stage == exchange.Header {
		f.tell(ex)
		return exchange.Continue
	}
	if ex.Limits.By == f {
		switch ex.Limits.Step {
		case stepShared:
			return f.answered(ex)
		case stepDelay:
			if ex.Take(luavm.OpSleep) == nil {
				return exchange.Wait
			}
			ex.Limits.Step = stepAsk
			return exchange.Continue
		}
	}
	return f.ask(ex)
}

// ask decides all of an exchange's limits.
func (f *Filter) ask(ex *exchange.Exchange) exchange.Verdict {
	l := &ex.Limits
	l.Begin(f)
	for _, r := range f.rules {
		d, missing := f.decision(ex, r)
		l.Asked = append(l.Asked, d)
		if missing && r.config.OnMissing == "deny" {
			return f.refuse(ex, len(l.Asked)-1, observe.LimitMissing)
		}
	}
	if len(f.rules) > 1 {
		if i := f.wouldRefuse(ex); i >= 0 {
			return f.refuse(ex, i, observe.LimitDenied)
		}
	}
	for i, r := range f.rules {
		d := &l.Asked[i]
		if d.Outcome == skipped || r.shared != nil {
			continue
		}
		d.Result = r.table.TakeHashed(&r.grades[d.Grade].limit, d.Hash, d.Cost, r.clock.Now())
		if f.decided(ex, i) {
			return f.refuse(ex, i, observe.LimitDenied)
		}
	}
	return f.askShared(ex, 0)
}

// decided notes the i-th limit's decision; true: it refuses, and what others were
// charged has been given back.
func (f *Filter) decided(ex *exchange.Exchange, i int) (refused bool) {
	d := &ex.Limits.Asked[i]
	switch {
	case d.Result.Allowed && d.Result.Delay > 0:
		d.Outcome = observe.LimitDelayed
	case d.Result.Allowed:
		d.Outcome = observe.LimitAllowed
	case f.rules[i].config.DryRun:
		d.Outcome = observe.LimitWouldDeny
	default:
		f.refund(ex)
		return true
	}
	return false
}

// decision is what one limit is asked about an exchange.
func (f *Filter) decision(ex *exchange.Exchange, r *rule) (d exchange.LimitDecision, missing bool) {
	d.From = len(ex.Limits.Keys)
	ex.Limits.Keys, missing = r.keys.append(ex.Limits.Keys, ex)
	d.To = len(ex.Limits.Keys)
	d.Grade = r.grade(ex)
	g := &r.grades[d.Grade]
	if g.unlimited || missing && r.config.OnMissing == "skip" {
		d.Outcome = skipped
		return d, missing
	}
	d.Hash = g.limit.Hash(ex.Limits.Keys[d.From:d.To])
	if d.Cost = r.cost(ex); r.charge.later() {
		d.Cost = 1 // room for anything: what it costs is known at its end
	}
	return d, missing
}

// wouldRefuse finds the limit that would refuse and makes the client wait the
// longest, -1 if none would.
func (f *Filter) wouldRefuse(ex *exchange.Exchange) (refused int) {
	refused = -1
	longest := int64(-1)
	for i, r := range f.rules {
		d := &ex.Limits.Asked[i]
		if d.Outcome == skipped || r.config.DryRun || r.shared != nil {
			continue
		}
		limit := &r.grades[d.Grade].limit
		if d.Result = r.table.PeekHashed(limit, d.Hash, d.Cost, r.clock.Now()); d.Result.Allowed {
			continue
		}
		if retry := int64(limit.Quota(d.Result, d.Cost).Retry); retry > longest || refused < 0 {
			refused, longest = i, retry
		}
	}
	return refused
}

// refund gives back what limits were charged.
func (f *Filter) refund(ex *exchange.Exchange) {
	for i, r := range f.rules {
		if d := &ex.Limits.Asked[i]; d.Outcome == observe.LimitAllowed || d.Outcome == observe.LimitDelayed {
			r.giveBack(ex, d)
			d.Outcome = observe.LimitNone
		}
	}
}

// admit lets an exchange pass, after the longest delay.
func (f *Filter) admit(ex *exchange.Exchange) exchange.Verdict {
	delay := int64(0)
	for i, r := range f.rules {
		d := &ex.Limits.Asked[i]
		r.metrics.Count(ex.Record.Shard, d.Outcome)
		if d.Outcome == skipped {
			continue
		}
		if !r.charge.failures {
			r.note(ex, d)
		}
		switch {
		case d.Outcome == observe.LimitWouldDeny:
			ex.Record.Limit, ex.Record.LimitOutcome = r.name, d.Outcome
		case r.charge.failures:
			r.giveBack(ex, d)
			ex.GuardLimit(r, *d)
		case r.charge.later():
			r.giveBack(ex, d)
			ex.HoldLimit(r, *d)
		case r.inflight:
			ex.HoldLimit(r, *d)
		}
		if d.Outcome == observe.LimitDelayed && d.Result.Delay > delay {
			delay = d.Result.Delay
			ex.Record.Limit, ex.Record.LimitOutcome = r.name, d.Outcome
		}
	}
	if delay == 0 {
		return exchange.Continue
	}
	ex.Limits.Step = stepDelay
	ex.Post(luavm.OpSleep).Seconds = float64(delay) / 1e9
	return exchange.Wait
}

// refuse answers for the i-th limit.
func (f *Filter) refuse(ex *exchange.Exchange, i int, outcome uint8) exchange.Verdict {
	r, d := f.rules[i], &ex.Limits.Asked[i]
	d.Outcome = outcome
	ex.Limits.Refused = i
	ex.Record.Limit, ex.Record.LimitOutcome = r.name, outcome
	r.metrics.Count(ex.Record.Shard, outcome)
	if outcome == observe.LimitDenied {
		r.note(ex, d)
		if q := r.grades[d.Grade].limit.Quota(d.Result, d.Cost); q.Retry > 0 && d.Result.Known() {
			ex.Scratch = strconv.AppendInt(ex.Scratch[:0], ceilSeconds(q.Retry), 10)
			ex.Early().Set(fieldRetry, ex.Scratch)
		}
	}
	h := &ex.Resp
	h.SetStatusCode(r.config.status())
	ex.Out = ex.AppendTemplate(ex.Out[:0], r.config.Body)
	switch {
	case len(ex.Out) == 0:
		ex.Bare = true
	case r.config.ContentType.IsZero():
		h.SetType(ex.Route.DefaultType)
	default:
		ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], r.config.ContentType)
		h.SetTypeBytes(ex.Scratch)
	}
	return exchange.Respond
}
