package ratelimit

import "time"

// RemoteBucket is the Result of a Bucket's decision that was made elsewhere, at
// now: the key's theoretical arrival time lies ahead of it by that much.
func (l *Limit) RemoteBucket(allowed bool, ahead time.Duration, now int64) Result {
	units := min(uint64(max(ahead, 0))<<unitShift, maxAhead)
	r := Result{Allowed: allowed, word: instant(now) + units, now: now}
	if allowed && units > l.tau {
		r.Delay = nanoseconds(units - l.tau)
	}
	return r
}

// RemoteWindow is the Result of a window's decision that was made elsewhere, at
// now: the counts of the window and, for Sliding, of the one before.
func (l *Limit) RemoteWindow(allowed bool, current, before, now int64) Result {
	n, _ := l.window(now)
	word := (n&numberMask)<<numberAt | liveBit
	if l.kind == Sliding {
		word |= min(uint64(current), countMask)<<currentAt | min(uint64(before), countMask)<<1
	} else {
		word |= min(uint64(current), totalMask) << 1
	}
	return Result{Allowed: allowed, word: word, now: now}
}

// Interval is the time between two requests of a Bucket, in nanoseconds.
func (l *Limit) Interval() float64 { return float64(l.interval) / (1 << unitShift) }

// Window is when the window of now ends, and its number in steps of the limit;
// both 0 for a Bucket.
func (l *Limit) Window(now int64) (number uint64, end int64) {
	if l.kind == Bucket || l.kind == Concurrent {
		return 0, 0
	}
	return l.window(now)
}
