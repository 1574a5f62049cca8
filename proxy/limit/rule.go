package limit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
	"perigee/ratelimit"
)

// rule is a limit of a route, compiled.
type rule struct {
	name     string
	config   Rule
	keys     keys
	grades   []grade // the tiers, then what is for all
	weight   unit.Template
	fixed    int64 // weight, if it has no variables; -1: it has
	charge   charge
	table    *ratelimit.Table
	clock    *ratelimit.Monotonic
	top      *top
	metrics  *observe.LimitMetrics
	inflight bool
	shared   *sharing // nil: this instance counts by itself
}

// grade is a limit for some.
type grade struct {
	limit                 ratelimit.Limit
	unlimited             bool
	consumer, group       string
	claim, claimValue     string
	policy, before, after []byte // of headers
}

// maxWeight bounds what one request counts.
const maxWeight = 1 << 40

func newRule(c *Rule, name string, place int, b Build) (*rule, error) {
	r := &rule{name: name, config: *c, weight: c.Weight, fixed: 1, table: b.Table, clock: b.Table.Clock(),
		top: b.Store.top(name), metrics: b.Metrics.Limit(b.Route, name), inflight: c.Concurrent != 0}
	var err error
	if r.keys, err = newKeys(c, place); err != nil {
		return nil, err
	}
	r.keys.conceal(b.Credentials)
	if r.charge, err = parseCharge(c.Charge); err != nil {
		return nil, err
	}
	if r.charge.failures && c.Headers == "" {
		r.config.Headers = "refused" // how many attempts are left is nobody's business
	}
	if text, literal := c.Weight.Literal(); !literal {
		r.fixed = -1
	} else if !c.Weight.IsZero() {
		if r.fixed, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, fmt.Errorf("weight %q: %w", text, err)
		}
	}
	for i := range c.Tiers {
		t := &c.Tiers[i]
		g := grade{consumer: t.Consumer, group: t.Group, unlimited: t.Unlimited}
		g.claim, g.claimValue, _ = strings.Cut(t.Claim, "=")
		if err := r.addGrade(g, c.spec(t)); err != nil {
			return nil, err
		}
	}
	if err := r.addGrade(grade{}, c.spec(nil)); err != nil {
		return nil, err
	}
	return r, r.share(c, b.Fleets)
}

func (r *rule) addGrade(g grade, s ratelimit.Spec) error {
	if !g.unlimited {
		var err error
		if g.limit, err = r.table.Limit(r.name, s); err != nil {
			return err
		}
		g.policy = appendPolicy(nil, r.name, s)
		g.before = append(strconv.AppendQuote(nil, r.name), ";r="...)
		g.after = []byte(";t=")
	}
	r.grades = append(r.grades, g)
	return nil
}

// grade finds the numbers that are for an exchange.
func (r *rule) grade(ex *exchange.Exchange) int {
	last := len(r.grades) - 1
	for i := range r.grades[:last] {
		g := &r.grades[i]
		switch {
		case g.consumer != "" && g.consumer == ex.Record.Consumer,
			g.group != "" && ex.Identity != nil && slices.Contains(ex.Identity.Groups, g.group),
			g.claim != "" && ex.Identity.Claim(g.claim) == g.claimValue:
			return i
		}
	}
	return last
}

// cost is what the exchange counts.
func (r *rule) cost(ex *exchange.Exchange) int64 {
	if r.fixed >= 0 {
		return r.fixed
	}
	ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], r.weight)
	return number(ex.Scratch, 1)
}

// number reads a whole number, otherwise for what is none.
func number(text []byte, otherwise int64) int64 {
	n := int64(0)
	if len(text) == 0 || len(text) > 13 {
		return otherwise
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return otherwise
		}
		n = n*10 + int64(c-'0')
	}
	return min(n, maxWeight)
}

// note tells who counts the heaviest keys.
func (r *rule) note(ex *exchange.Exchange, d *exchange.LimitDecision) {
	weight := uint64(max(d.Cost, 1))
	if d.Outcome == observe.LimitAllowed {
		if rand.Uint32()%sampled != 0 {
			return
		}
		weight *= sampled
	}
	r.top.note(d.Hash, ex.Limits.Keys[d.From:d.To], weight)
}

// SettleLimit implements exchange.LimitSettler.
func (r *rule) SettleLimit(ex *exchange.Exchange, d exchange.LimitDecision) {
	if r.inflight {
		r.giveBack(ex, &d)
		return
	}
	if r.charge.failures {
		d.Cost = r.cost(ex)
		r.chargeLater(ex, &d, d.Cost)
		r.top.note(d.Hash, ex.Limits.Keys[d.From:d.To], uint64(max(d.Cost, 1)))
		return
	}
	r.chargeLater(ex, &d, r.charge.cost(ex))
}

// charge is what is counted when an exchange has ended.
type charge struct {
	in, out  bool
	header   string
	failures bool // of auth
}

// Guards tells whether the limit counts auth failures.
func (r *Rule) Guards() bool { return r.Charge == authFailure }

const authFailure = "auth_failure"

func parseCharge(text string) (c charge, err error) {
	switch name, header := strings.CutPrefix(text, "header:"); {
	case header && len(unit.CheckHeaderName("", name)) == 0:
		c.header = name
	case text == authFailure:
		c.failures = true
	case text == "bytes_in":
		c.in = true
	case text == "bytes_out":
		c.out = true
	case text == "bytes":
		c.in, c.out = true, true
	case text != "":
		return c, fmt.Errorf("charge %q is nothing that is known of a request that has ended", text)
	}
	return c, nil
}

func (c *charge) later() bool { return c.in || c.out || c.header != "" || c.failures }

func (c *charge) cost(ex *exchange.Exchange) (n int64) {
	if c.header != "" {
		return number(ex.Resp.Peek(c.header), 0)
	}
	if c.in {
		n += ex.Record.BytesIn
	}
	if c.out {
		n += ex.Record.BytesOut
	}
	return n
}

// ceilSeconds rounds up: who comes back after that many seconds is not early.
func ceilSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
