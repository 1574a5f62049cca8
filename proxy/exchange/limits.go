package exchange

import "perigee/ratelimit"

// Limits is what the limits of a route know of an exchange.
type Limits struct {
	// By is the filter whose answers these are.
	By Filter
	// Step is where that filter stands: what it has posted ops for.
	Step uint8
	// At is the index in Asked of the limit that the step is about.
	At int
	// Refused is the index in Asked of the limit that refused, -1 for none.
	Refused int
	// Asked are the decisions, one per limit of the route.
	Asked []LimitDecision
	// Keys is the memory of Asked's keys.
	Keys []byte
	// Computed are the parts of keys that scripts have returned, by their places
	// among the route's.
	Computed [][]byte
	// held is what must be settled when the exchange has ended, guards what is
	// charged if who asks cannot show it.
	held, guards []heldLimit
}

// Compute notes the part of a key that a script has returned.
func (l *Limits) Compute(place int, text []byte) {
	for len(l.Computed) <= place {
		if cap(l.Computed) > len(l.Computed) {
			l.Computed = l.Computed[:len(l.Computed)+1] // with the memory of an earlier exchange
			l.Computed[len(l.Computed)-1] = l.Computed[len(l.Computed)-1][:0]
			continue
		}
		l.Computed = append(l.Computed, nil)
	}
	l.Computed[place] = append(l.Computed[place][:0], text...)
}

// LimitDecision is one limit's decision about an exchange.
type LimitDecision struct {
	Result   ratelimit.Result
	Hash     uint64
	Cost     int64
	From, To int // of the key in Limits.Keys
	Grade    int // which of the limit's tiers
	Outcome  uint8
	Shared   bool // the store decided, not this instance
}

// LimitSettler is who is told that an exchange has ended: a limit that counts
// what is under way, or that charges what a request turned out to cost.
type LimitSettler interface {
	SettleLimit(ex *Exchange, d LimitDecision)
}

type heldLimit struct {
	settler  LimitSettler
	decision LimitDecision
}

// HoldLimit has settler called when the exchange has ended, whatever becomes of
// it. The decision's key is kept in Limits.Keys until then.
func (ex *Exchange) HoldLimit(settler LimitSettler, d LimitDecision) {
	ex.Limits.held = append(ex.Limits.held, heldLimit{settler, d})
}

// SettleLimits calls those that HoldLimit has named, once.
func (ex *Exchange) SettleLimits() {
	l := &ex.Limits
	for i := range l.held {
		l.held[i].settler.SettleLimit(ex, l.held[i].decision)
	}
	clear(l.held)
	l.held = l.held[:0]
}

// GuardLimit has settler called if the credential that the exchange shows turns
// out to be bad. The decision's key is kept in Limits.Keys until then.
func (ex *Exchange) GuardLimit(settler LimitSettler, d LimitDecision) {
	ex.Limits.guards = append(ex.Limits.guards, heldLimit{settler, d})
}

// ChargeGuards calls those that GuardLimit has named: the credential is bad.
func (ex *Exchange) ChargeGuards() {
	for _, g := range ex.Limits.guards {
		g.settler.SettleLimit(ex, g.decision)
	}
	ex.DropGuards()
}

// DropGuards forgets those that GuardLimit has named.
func (ex *Exchange) DropGuards() {
	l := &ex.Limits
	clear(l.guards)
	l.guards = l.guards[:0]
}

// Begin makes room for the decisions of another filter. What is held stays.
func (l *Limits) Begin(by Filter) {
	l.By, l.Step, l.Refused = by, 0, -1
	l.Asked = l.Asked[:0]
	if len(l.held) == 0 && len(l.guards) == 0 {
		l.Keys = l.Keys[:0]
	}
}

func (l *Limits) reset() {
	if l.By == nil && len(l.held)+len(l.guards)+len(l.Computed) == 0 {
		return // no limit was asked
	}
	clear(l.held)
	clear(l.guards)
	for i := range l.Computed {
		trim(&l.Computed[i])
	}
	trim(&l.Keys)
	*l = Limits{Asked: l.Asked[:0], Keys: l.Keys, Computed: l.Computed[:0], held: l.held[:0], guards: l.guards[:0]}
}
