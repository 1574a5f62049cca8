package observe

import (
	"sync/atomic"
	"time"
)

// BuildInfo becomes the labels of perigee_build_info.
type BuildInfo struct {
	Version  string // the release, "dev" outside of one
	Revision string // the commit
	Go       string // runtime.Version()
	LuaJIT   string // what shim reports, "none" without
}

// Metrics owns every number that perigee counts about itself. There is one per
// gateway and it outlives reloads: a series is found again by its labels, so its
// numbers go on, and it is dropped when three applied configurations in a row no
// longer named it (a listener's never). One that returns after that starts at 0
// like any new series.
type Metrics struct {
	build      BuildInfo
	shards     int
	nextShard  atomic.Uint32
	generation generations

	routes    registry[string, RouteMetrics]
	upstreams registry[string, UpstreamMetrics]
	endpoints registry[endpointKey, EndpointMetrics]
	scripts   registry[string, ScriptMetrics]
	listeners registry[string, ListenerMetrics]
	auth      registry[string, AuthMetrics]
	keySets   registry[string, KeySetMetrics]
	authFiles registry[string, AuthFileMetrics]
	limits    registry[limitKey, LimitMetrics]

	// InFlight counts exchanges that started and did not finish. Every exchange
	// adds 1 and -1 with its shard.
	InFlight *Counts
	// GoroutineExchanges counts exchanges that the goroutine driver has begun.
	GoroutineExchanges *Counts
	// ClientAborts counts exchanges whose client left or timed out.
	ClientAborts Counter
	// Panics counts panics that the gateway recovered from.
	Panics Counter
	// Refused counts requests that wire refused, by the error's name.
	Refused Reasons
	// LuaAborts counts runs of Lua that were stopped, by what stopped them:
	// "budget", "memory", "total_time", "jump".
	LuaAborts Reasons
	// Reloads counts reloads by outcome: "applied", "unchanged", "refused".
	Reloads Reasons
	// ConfigStale is 1 while something else runs than what the configuration file
	// says: the last reload was refused, or the last good one was started with.
	ConfigStale Gauge
	// AccessDropped counts access lines lost to a full ring or a failed write,
	// LogDropped the same of the process log.
	AccessDropped Counter
	LogDropped    Counter
	// Spans counts spans of traces by what became of them: "sent", "dropped" (the
	// queue was full), "failed" (the collector did not take them).
	Spans Reasons
	// Saturation feeds perigee_saturation_ratio.
	Saturation Saturation

	digest       atomic.Pointer[string]
	sources      atomic.Pointer[Sources]
	certificates atomic.Pointer[[]Certificate]
}

// Sources are numbers that others own and a scrape asks for. A nil function
// leaves its series out. They are called on the scrape's goroutine and must not
// block.
type Sources struct {
	// LuaMemoryBytes is the memory of all VMs together, LuaVMs their number.
	LuaMemoryBytes func() int64
	LuaVMs         func() int
	// Loops are the event loops.
	Loops func() []LoopInfo
	// Custom are the metrics of scripts.
	Custom func() []Family
	// LimitTable is the memory of limits' counters.
	LimitTable func() LimitTableInfo
	// LimitStores are the stores in which instances count together, LimitErrors
	// what leases can add to the error of a second, by limit.
	LimitStores func() []LimitStoreInfo
	LimitErrors func() map[string]float64
}

// NewMetrics returns the metrics of a gateway that just started.
func NewMetrics(build BuildInfo) *Metrics {
	shards := shardCount()
	return &Metrics{build: build, shards: shards, InFlight: newCounts(shards), GoroutineExchanges: newCounts(shards)}
}

// NextShard returns the shard for a newly built exchange (Record.Shard).
func (m *Metrics) NextShard() uint32 { return m.nextShard.Add(1) }

// SetSources names the numbers that a scrape asks others for.
func (m *Metrics) SetSources(s Sources) { m.sources.Store(&s) }

// Applied tells that the configuration built since the last call now runs, and
// drops the series that have not been named for three configurations.
func (m *Metrics) Applied(digest string) {
	m.digest.Store(&digest)
	current := m.generation.n.Add(1)
	if current < keptGenerations {
		return
	}
	oldest := current - keptGenerations + 1
	m.routes.expire(oldest)
	m.upstreams.expire(oldest)
	m.endpoints.expire(oldest)
	m.scripts.expire(oldest)
	m.auth.expire(oldest)
	m.keySets.expire(oldest)
	m.authFiles.expire(oldest)
	m.limits.expire(oldest)
	// A listener's series stay: their gauge is taken back when the last of its
	// connections closes, however many configurations later that is.
}

// RouteMetrics are the series of one route.
type RouteMetrics struct {
	codes    codes
	duration *Histogram
}

// Route returns the series of the named route; "" is for requests that match
// none. Ask when the snapshot is built, keep the handle.
func (m *Metrics) Route(name string) *RouteMetrics {
	return m.routes.get(name, m.generation.building(), func() *RouteMetrics {
		return &RouteMetrics{
			codes:    codes{shards: m.shards},
			duration: newHistogram(&exchangeBounds, m.shards),
		}
	})
}

// Observe counts a finished exchange: its status and its duration, at once or by way
// of its thread's Tally.
func (r *RouteMetrics) Observe(rec *Record, t *Tally) {
	if t != nil && rec.Duration >= 0 {
		t.route.add(&r.codes, r.duration, rec.Shard, rec.Status, rec.Duration)
		return
	}
	r.codes.add(rec.Shard, rec.Status, 1)
	r.duration.Observe(rec.Shard, rec.Duration)
}

// Requests returns how many exchanges finished on the route.
func (r *RouteMetrics) Requests() uint64 { return r.codes.total() }

// UpstreamMetrics are the series of one upstream as a whole.
type UpstreamMetrics struct {
	duration *Histogram
}

// EndpointMetrics are the series of one endpoint of an upstream.
type EndpointMetrics struct {
	codes    codes
	upstream *UpstreamMetrics
}

type endpointKey struct{ upstream, endpoint string }

// Endpoint returns the series of one endpoint of an upstream.
func (m *Metrics) Endpoint(upstream, endpoint string) *EndpointMetrics {
	building := m.generation.building()
	up := m.upstreams.get(upstream, building, func() *UpstreamMetrics {
		return &UpstreamMetrics{duration: newHistogram(&exchangeBounds, m.shards)}
	})
	return m.endpoints.get(endpointKey{upstream, endpoint}, building, func() *EndpointMetrics {
		return &EndpointMetrics{codes: codes{shards: m.shards}, upstream: up}
	})
}

// Observe counts a finished attempt: its status (0 counts as 502) and, when it
// got that far, its response time; at once or by way of its thread's Tally.
func (e *EndpointMetrics) Observe(shard uint32, a *Attempt, t *Tally) {
	status := a.Status
	if status == 0 {
		status = 502
	}
	if t != nil && a.Response >= 0 {
		t.attempt.add(&e.codes, e.upstream.duration, shard, status, a.Response)
		return
	}
	e.codes.add(shard, status, 1)
	e.upstream.duration.Observe(shard, a.Response)
}

// Requests returns how many attempts the endpoint got.
func (e *EndpointMetrics) Requests() uint64 { return e.codes.total() }

// ScriptMetrics are the series of one script.
type ScriptMetrics struct {
	runs *Histogram
	// Errors counts by kind: "runtime", "budget", "memory", "total_time", ...
	Errors Reasons
}

// Script returns the series of the script with that chunk name.
func (m *Metrics) Script(name string) *ScriptMetrics {
	return m.scripts.get(name, m.generation.building(), func() *ScriptMetrics {
		return &ScriptMetrics{runs: newHistogram(&luaBounds, m.shards)}
	})
}

// Observe counts one run of a phase: the time Lua ran, its waits excluded.
func (s *ScriptMetrics) Observe(shard uint32, ran time.Duration) { s.runs.Observe(shard, ran) }

// Runs returns the histogram's totals, for the status of scripts.
func (s *ScriptMetrics) Runs() Totals { return s.runs.Totals() }

// ListenerMetrics are the series of one listener.
type ListenerMetrics struct {
	// Open is how many connections are open, Accepted how many ever were.
	Open     Gauge
	Accepted Counter
}

// Listener returns the series of the listener with that configured address.
func (m *Metrics) Listener(address string) *ListenerMetrics {
	return m.listeners.get(address, m.generation.building(), func() *ListenerMetrics {
		return new(ListenerMetrics)
	})
}
