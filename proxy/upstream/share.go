package upstream

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Exchanges of an event loop come to a shared connection by
//
//	Share -----------> a Conn on a trunk that has room
//	  | none
//	  v
//	AdmitTrunk -- no: max_conns connections are in use; wait for room
//	  | yes
//	  v
//	DialTrunk, on a goroutine --> Join: exchanges may share it, until Leave
//	                                    or its end; then Close

// trunkPool is the trunks of one home to one endpoint. The mutex is for retire
// and counts; the trunks themselves are the home's thread's.
type trunkPool struct {
	mu      sync.Mutex
	trunks  []*Trunk
	retired bool

	// For goroutines: one of them dials, the others wait for a change.
	dialing bool
	changed chan struct{}
}

func (p *trunkPool) remove(t *Trunk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.trunks, t); i >= 0 {
		p.trunks = slices.Delete(p.trunks, i, i+1)
	}
}

func (p *trunkPool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.trunks)
}

// retire has trunks end with their exchanges.
func (p *trunkPool) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	for _, t := range p.trunks {
		t.who.Retire()
	}
}

func (e *Endpoint) sharedConns() (n int) {
	for i := range e.trunks {
		n += e.trunks[i].size()
	}
	return n
}

// Shares tells whether an exchange of an event loop is to share a connection.
// safe says that its request may stand behind others: it has no body, and can be
// sent again (RFC 9112 §9.3.2); with HTTP/2 any may.
func (e *Endpoint) Shares(safe bool) bool {
	return e.dialer.tls == nil && (e.id.h2 || safe && e.limits.Load().Pipeline > 1)
}

// Patient tells whether exchanges share connections that only goroutines can
// move, because they speak TLS: also those of an event loop come to them by
// Acquire.
func (e *Endpoint) Patient() bool { return e.id.h2 && e.dialer.tls != nil }

// Share gives a place on a shared connection of a home for one exchange; nil:
// there is none. The first one with room is taken, so that as many exchanges as
// possible come together.
func (e *Endpoint) Share(home int, t Timeouts) *Conn {
	p := &e.trunks[home]
	p.mu.Lock()
	var found *Trunk
	for _, trunk := range p.trunks {
		if trunk.Room() {
			found = trunk
			break
		}
	}
	p.mu.Unlock()
	if found == nil {
		return nil
	}
	if found.served > 0 {
		e.reused.Add(1)
	}
	return found.open(t, e.limits.Load())
}

// Trunks is how many shared connections a home has.
func (e *Endpoint) Trunks(home int) int { return e.trunks[home].size() }

// TrunkDepth is about how many exchanges a new shared connection has room for.
func (e *Endpoint) TrunkDepth() int {
	if e.id.h2 {
		return mostStreams
	}
	return e.limits.Load().Pipeline
}

// AdmitTrunk counts one more connection in use, if max_conns allows it. DialTrunk
// is to follow.
func (e *Endpoint) AdmitTrunk() bool { return e.admit(e.limits.Load()) }

// DialTrunk makes a connection for the exchanges of a home to share. It blocks.
// The error is a *ConnectError.
func (e *Endpoint) DialTrunk(home int, t Timeouts) (*Trunk, error) {
	c, err := e.dialer.dial(e, t.Connect)
	if err == nil {
		if err = c.link.settle(home); err != nil {
			err = e.dialer.failure(err, ConnectOther)
		}
	}
	if err != nil {
		e.giveUp()
		return nil, err
	}
	e.dialed.Add(1)
	trunk := &Trunk{endpoint: e, home: home, fd: c.link.resident.fd, nc: c.link.Conn}
	if e.id.h2 {
		p := newStreams(trunk)
		p.h2.Hold()
		trunk.proto = p
	} else {
		trunk.proto = &pipeline{Trunk: trunk}
	}
	return trunk, nil
}

// Join lets exchanges share the trunk; who is told of it.
func (t *Trunk) Join(who TrunkResident) {
	t.who = who
	p := &t.endpoint.trunks[t.home]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trunks = append(p.trunks, t)
	t.closing = t.closing || p.retired
}

// Close ends a trunk that is Over, or did not Join, and its descriptor.
func (t *Trunk) Close() {
	t.endpoint.trunks[t.home].remove(t)
	t.endpoint.giveUp()
	_ = unix.Close(t.fd)
}

// Behind tells whether an answer can only come after those to others on the same
// connection, and how long is waited for them.
func (c *Conn) Behind() bool {
	l := c.lane()
	return l != nil && l.trunk.proto.behind(c)
}

// IdleTimeout is how long a trunk without exchanges is kept; 0: it is not.
func (t *Trunk) IdleTimeout() time.Duration {
	limits := t.endpoint.limits.Load()
	if limits.Idle == 0 {
		return 0
	}
	return limits.IdleTimeout
}

// BehindWait is how long an exchange that is Behind waits.
func (c *Conn) BehindWait() time.Duration { return c.limits.PipelineWait }
