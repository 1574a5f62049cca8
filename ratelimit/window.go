package ratelimit

import "math/bits"

// Windows are numbered from 1970 in steps of the class's length, and a word
// keeps the number's low 23 bits.
//
// Sliding is the sliding-window counter: the requests of the window before are
// taken as spread evenly, and the part of it that a window ending now still
// covers is added to this window's count. Source: "How we built rate limiting
// capable of scaling to millions of domains", Cloudflare, 2017.
//
//	   the window before        this window
//	├──────────────────────┼──────────────────────┤
//	        ├──── one length back from now ───┤now
//	         before x (length - elapsed) / length + this + cost <= max
//
// Fixed counts per window: up to twice the maximum can pass around a boundary,
// which is what quotas of a day or a month are meant to be.
const (
	numberBits = 23
	numberMask = 1<<numberBits - 1
	countBits  = 20
	countMask  = 1<<countBits - 1
	totalBits  = 40
	totalMask  = 1<<totalBits - 1

	numberAt  = 64 - numberBits
	currentAt = 1 + countBits
)

// slidingCounts reads a sliding word as of window number n: the counts of this
// window and of the one before. A word that is one window ahead was written by
// a clock that is a little ahead; it counts as this window.
func slidingCounts(word, n uint64) (current, before uint64) {
	if word == 0 {
		return 0, 0
	}
	current, before = word>>currentAt&countMask, word>>1&countMask
	switch (n - word>>numberAt) & numberMask {
	case 0, numberMask:
		return current, before
	case 1:
		return 0, current
	}
	return 0, 0
}

func sliding(word uint64, now int64, cost uint64, l *Limit) (next uint64, allowed bool) {
	n := uint64(now / l.period)
	current, before := slidingCounts(word, n)
	left := uint64(l.period - now%l.period)
	if word != 0 && (n-word>>numberAt)&numberMask == numberMask {
		n++
		left = uint64(l.period)
	}
	if current+mulDivUp(before, left, uint64(l.period))+cost > l.max {
		return word, false
	}
	next = (n&numberMask)<<numberAt | (current+cost)<<currentAt | before<<1 | liveBit
	return next, true
}

// slidingRetry is how long after now cost would be admitted, if nothing else
// came.
func slidingRetry(word uint64, now int64, cost uint64, l *Limit) int64 {
	n := uint64(now / l.period)
	current, before := slidingCounts(word, n)
	elapsed := uint64(now % l.period)
	period := uint64(l.period)
	if current+cost <= l.max {
		// As of when does the window before weigh no more than what is left?
		weight := mulDiv(l.max-current-cost, period, before)
		return max(int64(period-elapsed)-int64(weight), 0)
	}
	// In the next window, whose window before is this one.
	weight := min(mulDiv(l.max-cost, period, current), period)
	return int64(period-elapsed) + int64(period-weight)
}

// fixed decides in window number n.
func fixed(word, n, cost uint64, l *Limit) (next uint64, allowed bool) {
	count := fixedCount(word, n)
	if count+cost > l.max {
		return word, false
	}
	next = (n&numberMask)<<numberAt | (count+cost)<<1 | liveBit
	return next, true
}

func fixedCount(word, n uint64) uint64 {
	if word == 0 || (word>>numberAt^n)&numberMask != 0 {
		return 0
	}
	return word >> 1 & totalMask
}

// window returns the number of the window that now is in, in steps of the
// class, and when it ends. A calendar month is named by its last day.
func (l *Limit) window(now int64) (n uint64, end int64) {
	if l.months {
		last := lastDay(now / day)
		return uint64(last), (last + 1) * day
	}
	n = uint64(now / l.period)
	return n, int64(n+1) * l.period
}

const day = int64(24 * 3600 * 1e9)

// lastDay is the last day of the month of a day, both counted from 1970.
// Source: "chrono-compatible low-level date algorithms", H. Hinnant, 2021.
func lastDay(days int64) int64 {
	z := days + 719468
	era := z / 146097
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153 // months from March on
	next := (153*(mp+1) + 2) / 5
	if mp == 11 { // February: the year of this calendar ends with it
		next = 365
		if y := yoe + 1; y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			next = 366
		}
	}
	return days + next - 1 - doy
}

// windowIdle tells how many nanoseconds from now a window's word says nothing
// more; kept is for how many windows it speaks.
func windowIdle(word uint64, now, period, kept int64) int64 {
	n := now / period
	ahead := int64((word>>numberAt-uint64(n))<<numberAt) >> numberAt
	if ahead += kept; ahead <= 0 {
		return 0
	}
	return (n+ahead)*period - now
}

// mulDiv is a*b/c in 128 bits; a*b/c must fit into 64. c 0 gives the largest
// number.
func mulDiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	switch {
	case hi >= c:
		return ^uint64(0) >> 1
	case hi == 0:
		return lo / c
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}

// mulDivUp is mulDiv, rounded up.
func mulDivUp(a, b, c uint64) uint64 {
	if a == 0 {
		return 0
	}
	hi, lo := bits.Mul64(a, b)
	lo, carry := bits.Add64(lo, c-1, 0)
	if hi += carry; hi == 0 {
		return lo / c
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}
