package observe

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
)

// Outcomes of a limit's decision about an exchange.
const (
	LimitNone      uint8 = iota // it was not asked: another refused before
	LimitAllowed                // it passes
	LimitDelayed                // it passes, after a wait
	LimitDenied                 // it is refused
	LimitWouldDeny              // a dry run refuses it, and it passes
	LimitSkipped                // the limit is not for it
	LimitMissing                // it is refused because it has no key
	LimitStoreDown              // the store did not answer; counted beside what its policy decided
	limitOutcomes
)

var limitOutcomeNames = [limitOutcomes]string{"", "allowed", "delayed", "denied", "would_deny", "skipped", "missing", "store_down"}

// LimitOutcome is the name of an outcome in metrics and access lines.
func LimitOutcome(outcome uint8) string {
	if outcome >= limitOutcomes {
		return "unknown"
	}
	return limitOutcomeNames[outcome]
}

// LimitMetrics are the series of one limit on one route.
type LimitMetrics struct {
	outcomes [limitOutcomes]*Counts
	others   atomic.Pointer[func(outcome uint8) int64]
}

type limitKey struct{ route, limit string }

// Limit returns the series of a limit on a route.
func (m *Metrics) Limit(route, limit string) *LimitMetrics {
	return m.limits.get(limitKey{route, limit}, m.generation.building(), func() *LimitMetrics {
		l := new(LimitMetrics)
		for i := range l.outcomes {
			l.outcomes[i] = newCounts(m.shards)
		}
		return l
	})
}

// Count counts a decision.
func (l *LimitMetrics) Count(shard uint32, outcome uint8) { l.outcomes[outcome].Add(shard, 1) }

// Beside says how many decisions others count, who do not call Count.
func (l *LimitMetrics) Beside(others func(outcome uint8) int64) { l.others.Store(&others) }

// Total is how many decisions had an outcome.
func (l *LimitMetrics) Total(outcome uint8) int64 {
	n := l.outcomes[outcome].Value()
	if others := l.others.Load(); others != nil {
		n += (*others)(outcome)
	}
	return n
}

func (m *Metrics) writeLimits(e *exposition) {
	e.family("perigee_limit_decisions_total", "counter", "Decisions of limits by route, limit and outcome.")
	m.limits.each(func(a, b limitKey) int {
		return cmp.Or(cmp.Compare(a.route, b.route), cmp.Compare(a.limit, b.limit))
	}, func(key limitKey, l *LimitMetrics) {
		for outcome := LimitAllowed; outcome < limitOutcomes; outcome++ {
			if n := l.Total(outcome); n > 0 || outcome == LimitAllowed || outcome == LimitDenied {
				e.labels("route", key.route, "limit", key.limit, "outcome", LimitOutcome(outcome))
				e.integer(n)
			}
		}
	})
	src := m.sources.Load()
	if src == nil || src.LimitTable == nil {
		return
	}
	t := src.LimitTable()
	e.family("perigee_limit_table_bytes", "gauge", "Memory of the counters of limits.")
	e.integer(t.Bytes)
	e.family("perigee_limit_keys_evicted_total", "counter", "Active keys that limits forgot because their memory was full: each may have been admitted too often.")
	e.count(t.Evicted)
	e.family("perigee_limit_keys_made_total", "counter", "Keys for which limits made a counter.")
	e.count(t.Claims)
	writeLimitStores(e, src)
}

func writeLimitStores(e *exposition, src *Sources) {
	if src.LimitErrors != nil {
		ratios := src.LimitErrors()
		e.family("perigee_limit_error_ratio", "gauge", "The largest slice that this instance leases of a limit, as a part of one second's limit: what it can add to the error of a second.")
		for _, name := range slices.Sorted(maps.Keys(ratios)) {
			e.labels("limit", name)
			e.float(ratios[name])
		}
	}
	if src.LimitStores == nil {
		return
	}
	stores := src.LimitStores()
	for _, m := range [...]struct {
		name, kind, help string
		value            func(s *LimitStoreInfo) uint64
	}{
		{"perigee_limit_store_up", "gauge", "Whether the store of shared limits answers.", func(s *LimitStoreInfo) uint64 {
			if s.Up {
				return 1
			}
			return 0
		}},
		{"perigee_limit_store_instances", "gauge", "Instances that share limits in the store, as it said last.", func(s *LimitStoreInfo) uint64 { return uint64(s.Instances) }},
		{"perigee_limit_store_commands_total", "counter", "Commands sent to the store.", func(s *LimitStoreInfo) uint64 { return s.Commands }},
		{"perigee_limit_store_errors_total", "counter", "Commands that failed or were late.", func(s *LimitStoreInfo) uint64 { return s.Errors }},
	} {
		e.family(m.name, m.kind, m.help)
		for i := range stores {
			e.labels("redis", stores[i].Name)
			e.count(m.value(&stores[i]))
		}
	}
}

// LimitStoreInfo describes a store in which instances count together.
type LimitStoreInfo struct {
	Name string `json:"name"`
	Up   bool   `json:"up"`
	// Instances is how many there are, as the store said last.
	Instances int64  `json:"instances"`
	Commands  uint64 `json:"commands"`
	Errors    uint64 `json:"errors"`
}

// LimitTableInfo describes the memory of counters.
type LimitTableInfo struct {
	Bytes int64 `json:"bytes"`
	// Slots is how many keys there is room for.
	Slots int64 `json:"slots"`
	// Claims counts counters made for new keys, Idle those of them in the place
	// of idle keys, Evicted those in the place of active keys, which may have been
	// admitted too often.
	Claims  uint64 `json:"claims"`
	Idle    uint64 `json:"idle_replaced"`
	Evicted uint64 `json:"active_evicted"`
}

// LimitInfo describes one limit of a route.
type LimitInfo struct {
	Name      string `json:"name"`
	Route     string `json:"route"`
	Key       string `json:"key"`
	Algorithm string `json:"algorithm"`
	Numbers   string `json:"numbers"`
	DryRun    bool   `json:"dry_run,omitempty"`
	// Decisions are counts by outcome.
	Decisions map[string]int64 `json:"decisions"`
	// Top are the heaviest keys of the limit's name, as far as they were seen:
	// every refusal, and a sample of admissions.
	Top []LimitKeyInfo `json:"top"`
}

// LimitKeyInfo is one key of a limit.
type LimitKeyInfo struct {
	Key string `json:"key"`
	// ID names the key for a reset.
	ID   string `json:"id"`
	Seen uint64 `json:"seen"`
	// Remaining is what is left; null where instances count together.
	Remaining *int64 `json:"remaining"`
}

// LimitsInfo is all of the limits.
type LimitsInfo struct {
	Table  LimitTableInfo   `json:"table"`
	Stores []LimitStoreInfo `json:"stores"`
	Limits []LimitInfo      `json:"limits"`
}
