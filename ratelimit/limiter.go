package ratelimit

// Take asks for cost from a key's allowance and charges it if it is there. now
// is nanoseconds of the table's clock. A cost of 0 asks and charges nothing.
func (t *Table) Take(l *Limit, key []byte, cost, now int64) Result {
	return t.TakeHashed(l, Hash(key, l.seed), cost, now)
}

// Hash is what a key is known by under a limit; with it a caller that asks and
// charges separately hashes once.
func (l *Limit) Hash(key []byte) uint64 { return Hash(key, l.seed) }

// TakeHashed is Take for a key that was hashed before. This much of it is what
// nearly every decision of a Bucket is: the key is in its home bucket.
func (t *Table) TakeHashed(l *Limit, h uint64, cost, now int64) Result {
	if l.kind != Bucket || uint64(cost-1) >= l.never {
		return t.takeHome(l, h, uint64(max(cost, 0)), now)
	}
	fp := fingerprint(h, 0)
	p := t.homeOf(h).holder(fp)
	word := p.word.Load()
	if p.fp.Load() != fp || !live(word) || now-t.swept() > sweepEvery {
		return t.takeAnywhere(l, h, uint64(cost), now)
	}
	// As gcra, without a call.
	at := instant(now)
	tat := word
	if int64(word-at) < 0 {
		tat = at
	}
	next := tat + l.interval*uint64(cost)
	if ahead := next - at; ahead > l.tau {
		if ahead > l.tau+l.slack {
			return Result{false, 0, word, now}
		}
	} else if p.word.CompareAndSwap(word, next) {
		return Result{true, 0, next, now}
	} else {
		standBack(0)
	}
	return t.takeAnywhere(l, h, uint64(cost), now)
}

// holder is the slot of a bucket that has a fingerprint; the last one if none
// has.
func (b *bucket) holder(fp uint64) *slot {
	p := &b[0]
	if p.fp.Load() != fp {
		if p = &b[1]; p.fp.Load() != fp {
			if p = &b[2]; p.fp.Load() != fp {
				p = &b[3]
			}
		}
	}
	return p
}

// takeHome is TakeHashed for all algorithms and costs.
func (t *Table) takeHome(l *Limit, h, cost uint64, now int64) Result {
	fp := fingerprint(h, l.class)
	p := t.homeOf(h).holder(fp)
	word := p.word.Load()
	if p.fp.Load() == fp && live(word) && now-t.swept() <= sweepEvery {
		next, delay, allowed := l.decide(word, cost, now)
		if next == word || cost == 0 || p.word.CompareAndSwap(word, next) {
			return Result{allowed, delay, next, now}
		}
		standBack(0)
	}
	return t.takeAnywhere(l, h, cost, now)
}

// standBack is called after a swap was lost, for the lost-th time. Two cores that
// fight for one line are slower together than one of them alone: the loser leaves
// the line to the winner for the time of some hundred decisions, about a
// microsecond, then for longer. Shorter pauses cost more than they save.
func standBack(lost int) {
	for range 4000 << min(lost, 2) {
	}
}

// takeAnywhere is TakeHashed in all its cases.
func (t *Table) takeAnywhere(l *Limit, h, cost uint64, now int64) Result {
	if now-t.swept() > sweepEvery {
		t.Sweep(now)
	}
	fp := fingerprint(h, l.class)
	for lost := 1; ; {
		p := t.find(h, fp)
		if p == nil {
			next, delay, allowed := l.decide(0, cost, now)
			if !allowed || cost == 0 || t.insert(h, fp, next, now) {
				return Result{allowed, delay, next, now}
			}
			continue
		}
		word := p.word.Load()
		if p.fp.Load() != fp {
			continue
		}
		switch {
		case live(word):
			next, delay, allowed := l.decide(word, cost, now)
			if next == word || cost == 0 || p.word.CompareAndSwap(word, next) {
				return Result{allowed, delay, next, now}
			}
			standBack(lost)
			lost++
		case tentative(word):
			// Whoever is making this slot was interrupted: do it for them.
			next, delay, allowed := l.decide(0, cost, now)
			if !allowed || t.settle(h, p, word, next) {
				return Result{allowed, delay, next, now}
			}
		}
	}
}

// decide is the one decision on a word; 0: nothing is known.
func (l *Limit) decide(word, cost uint64, now int64) (next uint64, delay int64, allowed bool) {
	if l.kind == Bucket {
		return gcra(word, instant(now), l.charge(cost), l)
	}
	next, allowed = l.decideCount(word, min(cost, l.never), now)
	return next, 0, allowed
}

func (l *Limit) decideCount(word, cost uint64, now int64) (next uint64, allowed bool) {
	switch l.kind {
	case Sliding:
		return sliding(word, now, cost, l)
	case Fixed:
		n, _ := l.window(now)
		return fixed(word, n, cost, l)
	}
	return inflight(word, cost, l)
}

// Peek asks without charging: Allowed says whether cost would pass now.
func (t *Table) Peek(l *Limit, key []byte, cost, now int64) Result {
	return t.PeekHashed(l, Hash(key, l.seed), cost, now)
}

// PeekHashed is Peek for a key that was hashed before.
func (t *Table) PeekHashed(l *Limit, h uint64, cost, now int64) Result {
	c := uint64(max(cost, 0))
	before := t.word(h, fingerprint(h, l.class))
	_, delay, allowed := l.decide(before, c, now)
	return Result{allowed, delay, before, now}
}

// word is what is known of a key, 0 for nothing.
func (t *Table) word(h, fp uint64) uint64 {
	for {
		p := t.find(h, fp)
		if p == nil {
			return 0
		}
		word := p.word.Load()
		if p.fp.Load() != fp {
			continue
		}
		if live(word) {
			return word
		}
		if tentative(word) {
			return 0
		}
	}
}

// Refund gives cost back: of a request that was charged and then refused by
// another limit, or of one in flight that has ended.
func (t *Table) Refund(l *Limit, key []byte, cost, now int64) {
	t.RefundHashed(l, Hash(key, l.seed), cost, now)
}

// RefundHashed is Refund for a key that was hashed before.
func (t *Table) RefundHashed(l *Limit, h uint64, cost, now int64) {
	fp := fingerprint(h, l.class)
	c := min(uint64(max(cost, 0)), l.never)
	for c > 0 {
		p := t.find(h, fp)
		if p == nil {
			return
		}
		word := p.word.Load()
		if p.fp.Load() != fp {
			continue
		}
		if tentative(word) {
			return // nothing has been charged here
		}
		if live(word) && p.word.CompareAndSwap(word, l.refund(word, c, now)) {
			return
		}
	}
}

func (l *Limit) refund(word, cost uint64, now int64) uint64 {
	switch l.kind {
	case Bucket:
		if int64(word-instant(now)) <= 0 {
			return word // full already
		}
		return gcraRefund(word, l.charge(cost))
	case Sliding:
		if n := uint64(now / l.period); (word>>numberAt^n)&numberMask != 0 {
			return word
		}
		return countRefund(word, currentAt, countMask, cost)
	case Fixed:
		if n, _ := l.window(now); (word>>numberAt^n)&numberMask != 0 {
			return word
		}
		return countRefund(word, 1, totalMask, cost)
	}
	return countRefund(word, 1, 1<<63-1, cost)
}

// Charge adds cost to a key whatever its allowance says: for what is known only
// afterwards, such as bytes or tokens. What goes beyond the allowance is a debt
// that later requests wait for, up to one whole allowance.
func (t *Table) Charge(l *Limit, key []byte, cost, now int64) {
	t.ChargeHashed(l, Hash(key, l.seed), cost, now)
}

// ChargeHashed is Charge for a key that was hashed before.
func (t *Table) ChargeHashed(l *Limit, h uint64, cost, now int64) {
	deep := *l
	deep.tau, deep.slack = 2*(l.tau+l.slack), 0
	deep.never = 2 * l.never
	switch l.kind {
	case Sliding:
		deep.max = min(2*l.max, countMask)
	case Fixed:
		deep.max = min(2*l.max, totalMask)
	default:
		deep.max = 2 * l.max
	}
	for cost > 0 {
		r := t.TakeHashed(&deep, h, cost, now)
		if r.Allowed {
			return
		}
		cost = min(cost-1, deep.room(r))
	}
}

// room is how much of a refused cost would have passed.
func (l *Limit) room(r Result) int64 {
	if l.kind != Bucket {
		return l.Quota(r, 0).Remaining
	}
	at, ahead := instant(r.now), uint64(0)
	if r.word != 0 && int64(r.word-at) > 0 {
		ahead = r.word - at
	}
	return int64((l.tau - min(ahead, l.tau)) / l.interval)
}

// Forget drops what is known of a key: it starts afresh. It tells whether there
// was anything.
func (t *Table) Forget(l *Limit, key []byte) bool {
	return t.ForgetHashed(l, Hash(key, l.seed))
}

// ForgetHashed is Forget for a key that was hashed before.
func (t *Table) ForgetHashed(l *Limit, h uint64) bool {
	fp := fingerprint(h, l.class)
	for {
		p := t.find(h, fp)
		if p == nil {
			return false
		}
		word := p.word.Load()
		if p.fp.Load() != fp || !live(word) {
			continue
		}
		if p.word.CompareAndSwap(word, sweptDead) {
			return true
		}
	}
}
