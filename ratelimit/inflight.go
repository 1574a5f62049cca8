package ratelimit

// inflight admits while fewer than max are inside; each admission is given back
// with Refund when it has ended. The word is the count.
func inflight(word, cost uint64, l *Limit) (next uint64, allowed bool) {
	count := word >> 1
	if count+cost > l.max {
		return word, false
	}
	next = (count+cost)<<1 | liveBit
	return next, true
}

// countRefund takes cost off a count that stands at the given bit of a word and
// is at most mask.
func countRefund(word uint64, at uint, mask, cost uint64) uint64 {
	count := word >> at & mask
	return word - min(cost, count)<<at
}
