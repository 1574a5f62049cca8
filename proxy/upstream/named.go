package upstream

import (
	"fmt"
	"sync"
	"time"
)

// maxNamed bounds how many endpoints a group holds that scripts have named. The
// one that was asked for longest ago goes first.
const maxNamed = 1024

// A Peer is an endpoint as a script names it.
type Peer struct {
	// Address is ip:port.
	Address string
	// ServerName is sent and verified in a TLS handshake; empty: as for the
	// group's own endpoints.
	ServerName string
	// IdleTimeout and Requests bound how long and for how many requests a
	// connection is kept; 0: as for the group's own endpoints, and no bound.
	IdleTimeout time.Duration
	Requests    int
}

// named are the endpoints that scripts have named, by address and server name.
type named struct {
	mu    sync.Mutex
	all   map[[2]string]*namedEndpoint
	clock uint64
	// open borrows the endpoint of a peer.
	open func(Peer) (*Endpoint, error)
}

type namedEndpoint struct {
	*Endpoint
	used   uint64
	limits Peer // as Limits were set for
}

// Named gives the endpoint that a script names. It is borrowed until the group
// is closed or many others have been named since; an exchange that is under way
// is not touched by either.
func (g *Group) Named(p Peer) (*Endpoint, error) {
	n := &g.named
	key := [2]string{p.Address, p.ServerName}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clock++
	e := n.all[key]
	if e == nil {
		opened, err := n.open(p)
		if err != nil {
			return nil, err
		}
		if len(n.all) >= maxNamed {
			g.forgetOldest()
		}
		if n.all == nil {
			n.all = make(map[[2]string]*namedEndpoint)
		}
		e = &namedEndpoint{Endpoint: opened}
		n.all[key] = e
	}
	e.used = n.clock
	if e.limits != p {
		e.limits = p
		limits := *e.Endpoint.limits.Load()
		if p.IdleTimeout > 0 {
			limits.IdleTimeout = p.IdleTimeout
		}
		limits.Requests = p.Requests
		e.Endpoint.limits.Store(&limits)
	}
	return e.Endpoint, nil
}

// forgetOldest gives the endpoint back that was not asked for longest; n.mu is
// held.
func (g *Group) forgetOldest() {
	var oldest [2]string
	var first *namedEndpoint
	for key, e := range g.named.all {
		if first == nil || e.used < first.used {
			oldest, first = key, e
		}
	}
	delete(g.named.all, oldest)
	g.registry.giveBack(first.Endpoint)
}

// closeNamed gives all named endpoints back.
func (g *Group) closeNamed() {
	g.named.mu.Lock()
	defer g.named.mu.Unlock()
	for _, e := range g.named.all {
		g.registry.giveBack(e.Endpoint)
	}
	g.named.all = nil
}

// NewOpenGroup builds a group without endpoints of its own: each is named, as
// host:port, http:// or https:// address. t is for the https:// ones; nil: they
// are verified by the system's authorities.
func NewOpenGroup(r *Registry, name string, c *Config, t *TLSConfig) (*Group, error) {
	bare := *c
	bare.TLS = t
	material, err := bare.material()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	bare.TLS = nil
	g := &Group{name: name, registry: r}
	g.named.open = func(p Peer) (*Endpoint, error) {
		return bare.borrow(r, name, EndpointConfig{Address: p.Address}, p.ServerName, material)
	}
	g.replan()
	return g, nil
}
