package ratelimit

// GCRA, the generic cell rate algorithm, is a token bucket told as a time: the
// theoretical arrival time (TAT) at which the bucket would be full again.
// Source: ITU-T I.371 (2004), annex A, "virtual scheduling"; ATM Forum Traffic
// Management 4.0, section 4.4.2.
//
//	      now                       TAT' = max(TAT, now) + cost x interval
//	───────┼───────────────┬─────────┼────────┬──────────> time
//	       │<── burst x interval ──>│<- delay >│
//	         TAT' here: go            here: wait     beyond: refused
//
// Times are counted in units of 1/2048 ns, the lowest bit being the live flag,
// and wrap: two of them are compared by the sign of their difference, as serial
// numbers are (RFC 1982). That holds while no two lie further apart than 52
// days, which sweeping sees to (evict.go).
const (
	unitShift = 11
	liveBit   = 1
	// maxAhead is how far into the future a TAT may lie: 6.5 days.
	maxAhead = 1 << 60
)

// instant is a time as a GCRA word.
func instant(now int64) uint64 { return uint64(now)<<unitShift | liveBit }

// nanoseconds rounds units up to whole nanoseconds.
func nanoseconds(units uint64) int64 {
	return int64((units + 1<<unitShift - 1) >> unitShift)
}

// gcra decides one request of cost x interval = charge units. word is 0 for a
// key that is not known.
func gcra(word, at, charge uint64, l *Limit) (next uint64, delay int64, allowed bool) {
	tat := word
	if word == 0 || int64(word-at) < 0 {
		tat = at
	}
	next = tat + charge
	ahead := next - at
	if ahead <= l.tau {
		return next, 0, true
	}
	if ahead <= l.tau+l.slack {
		return next, nanoseconds(ahead - l.tau), true
	}
	return word, 0, false
}

// gcraRefund takes a charge back. A TAT in the past says the same as none.
func gcraRefund(word, charge uint64) uint64 { return word - charge }

// gcraIdle tells how many nanoseconds from now the word says nothing more.
func gcraIdle(word, at uint64) int64 {
	d := int64(word - at)
	if d <= 0 {
		return 0
	}
	return nanoseconds(uint64(d))
}
