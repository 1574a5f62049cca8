package upstream

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"perigee/proxy/observe"
	"perigee/proxy/wire"
)

// Limits is what a configuration allows an endpoint. A reload replaces it whole.
type Limits struct {
	// Idle is how many connections are kept for later exchanges; 0 keeps none.
	Idle int
	// IdleTimeout closes a connection that waited longer.
	IdleTimeout time.Duration
	// Connections bounds connections in use, tunnels included; 0 is no bound
	// (nginx: max_conns).
	Connections int
	// Requests closes a connection that has served as many; 0 is no bound
	// (nginx: keepalive_requests).
	Requests int
	// Failures within Cooldown make the endpoint avoided for Cooldown (nginx:
	// max_fails and fail_timeout); 0 failures never do.
	Failures int
	Cooldown time.Duration
	// Pipeline is how many requests may be under way on one connection of an
	// event loop; up to 1 it is not shared. Those that have waited for the
	// answers of others for PipelineWait are sent anew.
	Pipeline     int
	PipelineWait time.Duration
	// Head bounds a response head.
	Head wire.Limits
}

// Endpoint is one address of an upstream, with its kept connections and what is
// known of its health. It belongs to a Registry and may be shared by the groups
// of several configurations. Its methods are safe for concurrent use.
type Endpoint struct {
	registry *Registry
	id       identity
	dialer   *dialer
	limits   atomic.Pointer[Limits]
	metrics  atomic.Pointer[observe.EndpointMetrics]
	// borrowers is guarded by the registry's mutex.
	borrowers int

	failures failures
	idle     idlePool
	homes    []idlePool  // of event loops, by number
	trunks   []trunkPool // likewise
	openings []opening   // likewise
	inFlight atomic.Int64
	dialed   atomic.Uint64
	reused   atomic.Uint64
	failed   atomic.Uint64
}

// opening is what a loop knows of the endpoint's heads; it is only its thread's, and
// shares no cache line with another's.
type opening struct {
	wire.Opening
	_ [64]byte
}

// Address is the endpoint as the configuration writes it.
func (e *Endpoint) Address() string { return e.id.address }

// Upstream is the name of the upstream the endpoint belongs to.
func (e *Endpoint) Upstream() string { return e.id.upstream }

// Metrics are the endpoint's series, for who reports a finished attempt; nil
// when the registry has none.
func (e *Endpoint) Metrics() *observe.EndpointMetrics { return e.metrics.Load() }

// Acquire gives a connection for one exchange: the most recently used idle one,
// or a new one. The caller ends its use with Release or Hijack. reused says
// that the connection has served before and may be stale. The error is ErrBusy
// or a *ConnectError.
func (e *Endpoint) Acquire(t Timeouts) (c *Conn, reused bool, err error) {
	if e.id.h2 {
		return e.acquireShared(t)
	}
	limits := e.limits.Load()
	if !e.admit(limits) {
		return nil, false, ErrBusy
	}
	if c := e.idle.take(now(), limits.IdleTimeout); c != nil {
		e.reused.Add(1)
		c.begin(t, limits)
		return c, true, nil
	}
	c, err = e.dial(t, limits)
	return c, false, err
}

// AcquireNew is Acquire without a look at idle connections: for the second
// attempt after ErrStale, when more of them are likely to be stale.
func (e *Endpoint) AcquireNew(t Timeouts) (*Conn, error) {
	if e.id.h2 {
		c, _, err := e.acquireShared(t) // those that have ended are gone
		return c, err
	}
	limits := e.limits.Load()
	if !e.admit(limits) {
		return nil, ErrBusy
	}
	if limits.Connections > 0 && e.inFlight.Load()+int64(e.idle.size()) > int64(limits.Connections) {
		if c := e.idle.take(now(), limits.IdleTimeout); c != nil {
			c.closeIdle()
		}
	}
	return e.dial(t, limits)
}

// admit counts one more connection in use, if the limit allows it. Idle ones
// need no count of their own: Acquire makes no connection while there is one,
// so all together are never more than were once in use.
func (e *Endpoint) admit(limits *Limits) bool {
	if n := e.inFlight.Add(1); limits.Connections > 0 && n > int64(limits.Connections) {
		e.inFlight.Add(-1)
		return false
	}
	return true
}

func (e *Endpoint) dial(t Timeouts, limits *Limits) (*Conn, error) {
	c, err := e.dialer.dial(e, t.Connect)
	if err != nil {
		e.inFlight.Add(-1)
		return nil, err
	}
	e.dialed.Add(1)
	c.begin(t, limits)
	return c, nil
}

// Answered reports that the endpoint answered: it is not down, whatever the
// status code says.
func (e *Endpoint) Answered() {
	if e.failures.answered() {
		e.registry.changes.Add(1)
	}
}

// Failed reports that the endpoint could not be reached, broke the connection
// or kept silent. A canceled exchange is no failure of the endpoint, nor is a
// stale connection.
func (e *Endpoint) Failed() {
	e.failed.Add(1)
	limits := e.limits.Load()
	if e.failures.failed(now(), limits.Failures, limits.Cooldown) {
		e.registry.changes.Add(1)
	}
}

// Info is an endpoint's state for people and for /upstreams.
type Info struct {
	Upstream string `json:"upstream"`
	Address  string `json:"address"`
	TLS      bool   `json:"tls"`
	Weight   int    `json:"weight"`
	// Avoided says that failures keep requests away at this moment.
	Avoided  bool  `json:"avoided"`
	InFlight int64 `json:"in_flight"`
	Idle     int   `json:"idle"`
	// Shared is how many connections are, or can be, used by several exchanges
	// at a time; each counts once in InFlight.
	Shared int    `json:"shared"`
	Dialed uint64 `json:"dialed_total"`
	Reused uint64 `json:"reused_total"`
	Failed uint64 `json:"failed_total"`
}

// Info gives a copy of the counters; Weight is the group's to fill in.
func (e *Endpoint) Info() Info {
	return Info{
		Upstream: e.id.upstream,
		Address:  e.id.address,
		TLS:      e.id.tls != "",
		Avoided:  e.failures.until.Load() > int64(now()),
		InFlight: e.inFlight.Load(),
		Idle:     e.idleConns(),
		Shared:   e.sharedConns(),
		Dialed:   e.dialed.Load(),
		Reused:   e.reused.Load(),
		Failed:   e.failed.Load(),
	}
}

func (e *Endpoint) idleConns() int {
	n := e.idle.size()
	for i := range e.homes {
		n += e.homes[i].size()
	}
	return n
}

// giveUp ends one use of a connection that is not kept.
func (e *Endpoint) giveUp() { e.inFlight.Add(-1) }

// keep takes a connection back; it is closed when the pool is full or retired.
func (e *Endpoint) keep(c *Conn) (kept bool) {
	pool := &e.idle
	if r := c.link.resident; r != nil {
		pool = &e.homes[r.home]
		c.idleSince = monotonicOf(r.who.Now())
	} else {
		c.idleSince = now()
	}
	if kept = pool.put(c, e.limits.Load().Idle); kept {
		e.registry.expectIdle()
	} else {
		c.closeIdle()
	}
	e.inFlight.Add(-1)
	return kept
}

func (e *Endpoint) sweep(at monotonic) (left int) {
	timeout := e.limits.Load().IdleTimeout
	dead, left := e.idle.sweep(func(c *Conn) bool { return at < c.idleSince.add(timeout) && c.quiet() })
	for i := range e.homes {
		// Their loops see what comes on them.
		more, n := e.homes[i].sweep(func(c *Conn) bool { return at < c.idleSince.add(timeout) })
		dead, left = append(dead, more...), left+n
	}
	for _, c := range dead {
		c.closeIdle()
	}
	return left
}

// retire closes idle connections, now and whenever one comes back.
func (e *Endpoint) retire() {
	for _, c := range e.idle.retire() {
		c.closeIdle()
	}
	for i := range e.homes {
		for _, c := range e.homes[i].retire() {
			c.closeIdle()
		}
	}
	for i := range e.trunks {
		e.trunks[i].retire()
	}
}

// idlePool is a stack of idle connections: the most recent one is taken first,
// so that under falling load the oldest reach their timeout and go.
type idlePool struct {
	mu      sync.Mutex
	stack   []*Conn
	retired bool
}

// take gives a connection idle for less than timeout, or nil.
func (p *idlePool) take(at monotonic, timeout time.Duration) *Conn {
	for {
		p.mu.Lock()
		n := len(p.stack)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.stack[n-1]
		p.stack[n-1] = nil
		p.stack = p.stack[:n-1]
		p.mu.Unlock()
		if at < c.idleSince.add(timeout) {
			return c
		}
		c.closeIdle()
	}
}

// put keeps c unless limit connections are kept or the pool is retired.
func (p *idlePool) put(c *Conn, limit int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired || len(p.stack) >= limit {
		return false
	}
	p.stack = append(p.stack, c)
	return true
}

func (p *idlePool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.stack)
}

// remove takes c out, if it is there.
func (p *idlePool) remove(c *Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.stack, c)
	if i < 0 {
		return false
	}
	p.stack = slices.Delete(p.stack, i, i+1)
	return true
}

// sweep takes out the connections that are not good any more.
func (p *idlePool) sweep(good func(*Conn) bool) (dead []*Conn, left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.stack[:0]
	for _, c := range p.stack {
		if good(c) {
			kept = append(kept, c)
		} else {
			dead = append(dead, c)
		}
	}
	clear(p.stack[len(kept):])
	p.stack = kept
	return dead, len(kept)
}

func (p *idlePool) retire() []*Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.stack
	p.stack, p.retired = nil, true
	return all
}
