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
	// held is what must be settled when the exchange has ended.
	held []heldLimit
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

// Begin makes room for the decisions of another filter. What is held stays.
func (l *Limits) Begin(by Filter) {
	l.By, l.Step, l.Refused = by, 0, -1
	l.Asked = l.Asked[:0]
	if len(l.held) == 0 {
		l.Keys = l.Keys[:0]
	}
}

func (l *Limits) reset() {
	clear(l.held)
	*l = Limits{Asked: l.Asked[:0], Keys: trim(l.Keys), held: l.held[:0]}
}
