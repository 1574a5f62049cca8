// Package limit refuses requests that come too often: a route's limits, keyed on
// whatever tells clients apart, decided by package ratelimit.
package limit

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"perigee/proxy/unit"
	"perigee/ratelimit"
)

// Rules are a route's limits. All are asked before any is charged: a request
// that one refuses costs nothing at the others.
type Rules []Rule

// Rule is one limit of a route.
type Rule struct {
	// Name stands in metrics, headers and logs, and owns the counters: routes
	// whose limits have the same name and the same key count together, and
	// counters outlive a reload by it. Default: the route's name, then "." and
	// the limit's place.
	Name string `yaml:"name,omitempty"`
	// Key is what requests are told apart by, all parts together. Default: one
	// count for all.
	Key []KeyPart `yaml:"key,omitempty"`
	// Rate is how many requests pass: 100/s, 5/10s.
	Rate unit.Rate `yaml:"rate,omitempty"`
	// Burst is how many may come at once when none came before. Default: the
	// number in rate. Algorithm bucket alone.
	Burst *int `yaml:"burst,omitempty"`
	// Algorithm is bucket (default: refills evenly), sliding (rate in any span,
	// estimated from two windows) or fixed (rate per span of the clock).
	Algorithm Algorithm `yaml:"algorithm,omitempty"`
	// Delay is how long a request beyond the burst may wait for its turn, instead
	// of being refused. Default 0. Algorithm bucket alone.
	Delay unit.Duration `yaml:"delay,omitempty"`
	// Concurrent is how many requests may be under way at a time, in the place of
	// rate.
	Concurrent int `yaml:"concurrent,omitempty"`
	// Monthly is how many requests pass in a month, UTC, in the place of rate.
	Monthly int `yaml:"monthly,omitempty"`
	// Tiers are other numbers for some: the first that fits counts.
	Tiers []Tier `yaml:"tiers,omitempty"`
	// Weight is what a request counts, a whole number; variables are evaluated,
	// and what is no number counts 1. Default 1.
	Weight unit.Template `yaml:"weight,omitempty"`
	// Charge adds, when the request has ended, what it turned out to cost:
	// bytes_in, bytes_out, bytes, or header:NAME, a number in the response. Then
	// rate counts these, and a request passes as long as anything is left.
	// auth_failure counts credentials that auth refuses with 401: the limit is asked
	// before auth looks at any, and those that are good cost nothing.
	Charge string `yaml:"charge,omitempty"`
	// OnMissing is what becomes of a request of which a part of the key is not
	// there: share (default: all of them have one count), skip or deny.
	OnMissing Missing `yaml:"on_missing,omitempty"`
	// IPv4Prefix and IPv6Prefix are how many bits of an address tell clients
	// apart. Default 32 and 64: who has one IPv6 address has 2^64 of them.
	IPv4Prefix *int `yaml:"ipv4_prefix,omitempty"`
	// IPv6Prefix is the same of IPv6.
	IPv6Prefix *int `yaml:"ipv6_prefix,omitempty"`
	// Redis is the entry of redis in which instances count together. Default: each
	// instance counts by itself.
	Redis string `yaml:"redis,omitempty"`
	// Mode is strict (each decision asks the store) or leased (instances take
	// slices ahead and decide alone). Default: leased for buckets of 1000/s and
	// more without delay, else strict.
	Mode Mode `yaml:"mode,omitempty"`
	// OnStoreFailure is what becomes of requests while the store does not answer:
	// local (default: this instance counts its part by itself), allow or deny.
	OnStoreFailure OnStoreFailure `yaml:"on_store_failure,omitempty"`
	// Budget is how long a request waits for the store at most. Default 5ms.
	Budget unit.Duration `yaml:"budget,omitempty"`
	// DryRun counts and tells metrics and the access log, but refuses nobody.
	DryRun bool `yaml:"dry_run,omitempty"`
	// Headers says when clients are told how much is left, in RateLimit and
	// RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers): always (default),
	// refused (default with charge: auth_failure) or never. Retry-After comes with
	// every refusal.
	Headers Headers `yaml:"headers,omitempty"`
	// Status is the answer to a request that is refused. Default 429.
	Status int `yaml:"status,omitempty"`
	// Body is its body, variables evaluated. Default: the status's error page.
	Body unit.Template `yaml:"body,omitempty"`
	// ContentType is the body's type. Default: default_type of the route.
	ContentType unit.Template `yaml:"content_type,omitempty"`
}

// Tier is other numbers for some consumers.
type Tier struct {
	// Consumer is one consumer's name.
	Consumer string `yaml:"consumer,omitempty"`
	// Group is the name of a group of consumers.
	Group string `yaml:"group,omitempty"`
	// Claim is a token's claim and its value: plan=gold.
	Claim string `yaml:"claim,omitempty"`
	// Rate is the tier's rate.
	Rate unit.Rate `yaml:"rate,omitempty"`
	// Burst is the tier's burst. Default: the number in rate.
	Burst *int `yaml:"burst,omitempty"`
	// Concurrent and Monthly are the tier's numbers where the limit has these.
	Concurrent int `yaml:"concurrent,omitempty"`
	// Monthly is the tier's quota.
	Monthly int `yaml:"monthly,omitempty"`
	// Unlimited lets all pass.
	Unlimited bool `yaml:"unlimited,omitempty"`
}

// Algorithm names how a rate is counted.
type Algorithm string

// Values are the algorithms.
func (Algorithm) Values() []string { return []string{"bucket", "sliding", "fixed"} }

var algorithms = map[Algorithm]ratelimit.Algorithm{
	"": ratelimit.Bucket, "bucket": ratelimit.Bucket, "sliding": ratelimit.Sliding, "fixed": ratelimit.Fixed,
}

// Missing says what becomes of requests without the key.
type Missing string

// Values are the policies.
func (Missing) Values() []string { return []string{"share", "skip", "deny"} }

// Headers says when clients are told what is left.
type Headers string

// Values are the choices.
func (Headers) Values() []string { return []string{"always", "refused", "never"} }

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// maxDelay bounds how long a request is held: clients give up by then.
const maxDelay = time.Minute

// report notes a problem.
type report func(path, message, hint string)

// Check finds what cannot be.
func (r Rules) Check() []unit.Problem {
	var problems []unit.Problem
	names := map[string]int{}
	for i := range r {
		rule, at := &r[i], fmt.Sprintf("[%d]", i)
		say := func(path, message, hint string) {
			if path != "" {
				path = "." + path
			}
			problems = append(problems, unit.Problem{Path: at + path, Message: message, Hint: hint})
		}
		if first, twice := names[rule.Name]; twice && rule.Name != "" {
			say("name", fmt.Sprintf("limit name %q is that of [%d] again: a request would count twice", rule.Name, first), "give each limit of a route a name of its own")
		}
		names[rule.Name] = i
		rule.check(say)
	}
	return problems
}

func (r *Rule) check(say report) {
	if r.Name != "" && !namePattern.MatchString(r.Name) {
		say("name", fmt.Sprintf("limit name %q is not usable in metrics and logs", r.Name), "use letters, digits, _, . and -")
	}
	r.checkNumbers(say)
	r.checkKey(say)
	for i := range r.Tiers {
		r.checkTier(fmt.Sprintf("tiers[%d]", i), &r.Tiers[i], say)
	}
	if text, literal := r.Weight.Literal(); literal && !r.Weight.IsZero() {
		if n, err := strconv.ParseInt(text, 10, 64); err != nil || n < 0 || n > maxWeight {
			say("weight", fmt.Sprintf("weight %q is no whole number from 0 to %d", text, int64(maxWeight)), "write a number, or a text with variables that becomes one")
		}
	}
	if _, err := parseCharge(r.Charge); err != nil {
		say("charge", err.Error(), "write bytes_in, bytes_out, bytes, header:NAME or auth_failure")
	}
	if r.Guards() && len(r.Tiers) > 0 {
		say("tiers", "who asks is not known before auth", "remove tiers: a limit of auth failures is for all")
	}
	for _, p := range [...]struct {
		key  string
		bits *int
		most int
	}{{"ipv4_prefix", r.IPv4Prefix, 32}, {"ipv6_prefix", r.IPv6Prefix, 128}} {
		if p.bits != nil && (*p.bits < 1 || *p.bits > p.most) {
			say(p.key, fmt.Sprintf("prefix %d is not between 1 and %d", *p.bits, p.most), "remove the key for the default")
		}
	}
	r.checkShared(say)
	if r.Status != 0 && (r.Status < 400 || r.Status > 599) {
		say("status", fmt.Sprintf("status %d does not refuse", r.Status), "write 400 to 599; 429 is meant for this")
	}
	if !r.ContentType.IsZero() && r.Body.IsZero() {
		say("content_type", "a type without a body", "add body, or remove content_type")
	}
	for _, p := range unit.CheckHeaderValue("content_type", r.ContentType) {
		say(p.Path, p.Message, p.Hint)
	}
}

// checkNumbers checks that there is one number and that words can hold it.
func (r *Rule) checkNumbers(say report) {
	var given []string
	for _, n := range [...]struct {
		key string
		set bool
	}{{"rate", r.Rate != unit.Rate{}}, {"concurrent", r.Concurrent != 0}, {"monthly", r.Monthly != 0}} {
		if n.set {
			given = append(given, n.key)
		}
	}
	switch {
	case len(given) == 0:
		say("", "a limit says how many", "add rate: 100/s, concurrent: 10 or monthly: 100000")
		return
	case len(given) > 1:
		say(given[1], "a limit counts one thing, not "+strings.Join(given, " and "), "make two limits of them")
		return
	case given[0] != "rate" && r.Algorithm != "":
		say("algorithm", "algorithm has no meaning for "+given[0], "remove it")
		return
	case given[0] == "concurrent" && r.Charge != "":
		say("charge", "what is charged afterwards is not under way any more", "use rate")
		return
	}
	if r.Delay < 0 || r.Delay.Std() > maxDelay {
		say("delay", fmt.Sprintf("duration %q is not between 0 and %v", r.Delay, maxDelay), "clients do not wait longer")
		return
	}
	r.checkSpec("", r.spec(nil), r.Burst, say)
}

func (r *Rule) checkTier(path string, t *Tier, say report) {
	who := 0
	for _, s := range []string{t.Consumer, t.Group, t.Claim} {
		if s != "" {
			who++
		}
	}
	if name, _, found := strings.Cut(t.Claim, "="); t.Claim != "" && (!found || name == "") {
		say(path+".claim", fmt.Sprintf("claim %q has no value", t.Claim), "write plan=gold")
	}
	switch {
	case who != 1:
		say(path, "a tier is for one of consumer, group and claim", "write {group: gold, rate: 1000/s}")
	case t.Unlimited && (t.Rate != unit.Rate{} || t.Concurrent != 0 || t.Monthly != 0 || t.Burst != nil):
		say(path+".unlimited", "a tier has numbers or none", "remove unlimited or the numbers")
	case !t.Unlimited && ((t.Rate != unit.Rate{}) != (r.Rate != unit.Rate{}) || (t.Concurrent != 0) != (r.Concurrent != 0) || (t.Monthly != 0) != (r.Monthly != 0)):
		say(path, "a tier counts what its limit counts", "give it the same of rate, concurrent and monthly")
	case !t.Unlimited:
		r.checkSpec(path+".", r.spec(t), t.Burst, say)
	}
}

// checkSpec checks what ratelimit can hold.
func (r *Rule) checkSpec(path string, s ratelimit.Spec, burst *int, say report) {
	if burst != nil && *burst < 1 {
		say(path+"burst", fmt.Sprintf("burst %d is below 1: nothing would ever pass", *burst), "write at least 1")
		return
	}
	err := s.Check()
	var wrong *ratelimit.SpecError
	if !errors.As(err, &wrong) {
		return
	}
	field := wrong.Field
	switch {
	case field == "rate" && s.Algorithm == ratelimit.Concurrent:
		field = "concurrent"
	case field == "rate" && s.Algorithm == ratelimit.Month:
		field = "monthly"
	case field == "burst" && burst == nil:
		field = "rate"
	}
	say(path+field, field+" "+wrong.Problem, wrong.Fix)
}

// spec is the limit as ratelimit knows it, for a tier or, with nil, for all.
func (r *Rule) spec(t *Tier) ratelimit.Spec {
	rate, burst, concurrent, monthly := r.Rate, r.Burst, r.Concurrent, r.Monthly
	if t != nil {
		rate, burst, concurrent, monthly = t.Rate, t.Burst, t.Concurrent, t.Monthly
	}
	switch {
	case concurrent != 0:
		return ratelimit.Spec{Algorithm: ratelimit.Concurrent, Rate: int64(concurrent)}
	case monthly != 0:
		return ratelimit.Spec{Algorithm: ratelimit.Month, Rate: int64(monthly)}
	}
	s := ratelimit.Spec{Algorithm: algorithms[r.Algorithm], Rate: rate.Events, Per: rate.Per, Delay: r.Delay.Std()}
	switch {
	case burst != nil:
		s.Burst = int64(*burst)
	case s.Algorithm == ratelimit.Bucket:
		s.Burst = rate.Events
	}
	return s
}

// status is the answer to a refused request.
func (r *Rule) status() int {
	if r.Status != 0 {
		return r.Status
	}
	return http.StatusTooManyRequests
}

// Spec is the limit's numbers for those who are in no tier.
func (r *Rule) Spec() ratelimit.Spec { return r.spec(nil) }

// Numbers tells people how many pass.
func (r *Rule) Numbers() string {
	s := r.spec(nil)
	switch s.Algorithm {
	case ratelimit.Concurrent:
		return fmt.Sprintf("%d at a time", s.Rate)
	case ratelimit.Month:
		return fmt.Sprintf("%d a month", s.Rate)
	case ratelimit.Bucket:
		return fmt.Sprintf("%s, burst %d", r.Rate, s.Burst)
	}
	return fmt.Sprintf("%s, %s window", r.Rate, s.Algorithm)
}

// IsName tells whether a limit may be called that.
func IsName(name string) bool { return namePattern.MatchString(name) }
