package upstream

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"perigee/proxy/observe"
)

// Registry holds the endpoints of the process. Configurations borrow endpoints
// from it, so idle connections and the memory of failures outlive a reload: a
// new configuration that names the same endpoint gets the same *Endpoint, and
// the last one to give it back closes its idle connections.
type Registry struct {
	// changes counts endpoints that began or ceased to be avoided. Groups
	// compare it with the count their plan was made at.
	changes atomic.Uint64
	// swept is set while a sweep is due, so that returning a connection costs
	// one load in the usual case.
	swept atomic.Bool

	// dial is nil for the network.
	dial atomic.Pointer[Dial]

	// metrics is nil when nobody counts.
	metrics atomic.Pointer[observe.Metrics]

	// homes is how many event loops there are; set before the first borrowing.
	homes   int
	buffers []bufferStack // by loop

	mu        sync.Mutex
	endpoints map[identity]*Endpoint
	timer     *time.Timer
	closed    bool
}

// identity is what makes two configurations' endpoints the same one.
type identity struct {
	upstream string
	address  string
	tls      string // digest of all TLS settings; "" for plain
	h2       bool   // HTTP/2
}

// NewRegistry makes an empty registry. It runs no goroutine: sweeps of idle
// connections are timed only while there are some.
func NewRegistry() *Registry {
	return &Registry{endpoints: make(map[identity]*Endpoint)}
}

// SetHomes says how many event loops there are. It comes before the first
// configuration.
func (r *Registry) SetHomes(n int) { r.homes, r.buffers = n, make([]bufferStack, n) }

// SetMetrics makes every endpoint that is borrowed from now on hold its series
// of m: see Endpoint.Metrics.
func (r *Registry) SetMetrics(m *observe.Metrics) { r.metrics.Store(m) }

// Dial makes a connection to an endpoint (host:port) in place of the network.
// It must have a descriptor. HTTP is spoken on it as it is, even where the
// configuration asks for TLS.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// SetDial makes all connections come from dial: for tests, whose upstreams are
// stand-ins.
func (r *Registry) SetDial(dial Dial) { r.dial.Store(&dial) }

// borrow gives the endpoint for id, made by build when it is new. The newest
// borrower's limits hold for all.
func (r *Registry) borrow(id identity, limits *Limits, build func() *Endpoint) (*Endpoint, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	e := r.endpoints[id]
	if e == nil {
		e = build()
		e.registry, e.id = r, id
		e.homes = make([]idlePool, r.homes)
		e.openings = make([]opening, r.homes)
		e.trunks = make([]trunkPool, r.homes+1) // the last one's are goroutines'
		r.endpoints[id] = e
	}
	e.borrowers++
	e.limits.Store(limits)
	if m := r.metrics.Load(); m != nil {
		// Asked for at every borrowing: series that no configuration names
		// expire.
		e.metrics.Store(m.Endpoint(id.upstream, id.address))
	}
	return e, nil
}

// giveBack ends one borrower's use. Exchanges that still hold a connection
// finish; their connection is closed when they release it.
func (r *Registry) giveBack(e *Endpoint) {
	r.mu.Lock()
	e.borrowers--
	last := e.borrowers == 0
	if last {
		delete(r.endpoints, e.id)
	}
	r.mu.Unlock()
	if last {
		e.retire()
	}
}

// Close closes all idle connections and refuses new borrowers. Exchanges in
// flight are not touched.
func (r *Registry) Close() {
	r.mu.Lock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
	all := r.list()
	r.mu.Unlock()
	for _, e := range all {
		e.retire()
	}
}

// list copies the endpoints; the caller holds mu.
func (r *Registry) list() []*Endpoint {
	all := make([]*Endpoint, 0, len(r.endpoints))
	for _, e := range r.endpoints {
		all = append(all, e)
	}
	return all
}

// sweepEvery is how often idle connections are looked over. A connection is
// closed at most this long after its idle timeout, and never handed out after
// it: Acquire checks for itself.
const sweepEvery = time.Second

// expectIdle makes sure that a sweep is due. Called with every connection that
// becomes idle.
func (r *Registry) expectIdle() {
	if r.swept.Load() || r.swept.Swap(true) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if r.timer == nil {
		r.timer = time.AfterFunc(sweepEvery, r.sweep)
		return
	}
	r.timer.Reset(sweepEvery)
}

// sweep closes connections that are idle for too long or were closed by their
// endpoint, and goes on while any are left.
func (r *Registry) sweep() {
	r.mu.Lock()
	all := r.list()
	r.mu.Unlock()
	at := now()
	left := 0
	for _, e := range all {
		left += e.sweep(at)
	}
	r.swept.Store(false)
	if left > 0 {
		r.expectIdle()
	}
}
