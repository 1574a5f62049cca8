package exchange

import (
	"time"

	"perigee/proxy/upstream"
)

// Peer is what a balancer script has said of an exchange's attempts.
type Peer struct {
	// Peer is the endpoint of the next attempt; without an address the
	// upstream chooses.
	upstream.Peer
	// Fixed says that there is no other endpoint than Peer.
	Fixed bool
	// More is how many attempts were added to as many as there are endpoints.
	More int
	// Timeouts replace the route's where they are not 0, from the next attempt
	// on.
	Timeouts upstream.Timeouts
}

// Timeouts bound the attempt that is made next.
func (ex *Exchange) Timeouts() upstream.Timeouts {
	t, own := ex.Outlet.Proxy.Timeouts, &ex.Peer.Timeouts
	t.Connect = firstSet(own.Connect, t.Connect)
	t.Send = firstSet(own.Send, t.Send)
	t.Response = firstSet(own.Response, t.Response)
	t.Read = firstSet(own.Read, t.Read)
	return t
}

// firstSet is what a script has set, or else what the configuration says.
func firstSet(script, configured time.Duration) time.Duration {
	if script > 0 {
		return script
	}
	return configured
}

// MayTry tells whether the route's bounds allow another attempt.
func (ex *Exchange) MayTry() bool {
	r := ex.Outlet
	if ex.Peer.Fixed {
		return false
	}
	if r.Balancer != nil {
		return ex.Attempts < min(r.Proxy.Attempts, r.Endpoints+ex.Peer.More)
	}
	return ex.Attempts < r.Proxy.Attempts && ex.Tried.Len() < r.Endpoints
}
