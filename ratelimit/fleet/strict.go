package fleet

import (
	"context"
	"strconv"
	"time"

	"perigee/ratelimit"
)

// Strict asks the store for cost from a key's allowance; ctx bounds the wait. A
// negative cost gives back. On an error nothing is known: the store may have
// charged, or not.
func (f *Fleet) Strict(ctx context.Context, l *ratelimit.Limit, key []byte, cost int64) (ratelimit.Result, error) {
	if f.down.Load() {
		return ratelimit.Result{}, ErrDown
	}
	if l.Spec().Algorithm == ratelimit.Bucket {
		n, err := f.numbers(ctx, bucketScript, f.keyOf(l, key), f.bucketArgs(l, cost, false))
		if err != nil {
			return ratelimit.Result{}, err
		}
		return l.RemoteBucket(n[0] == cost, time.Duration(n[1])*time.Microsecond, n[2]*1e9+n[3]*1e3), nil
	}
	n, err := f.numbers(ctx, windowScript, f.keyOf(l, key), f.windowArgs(l, cost))
	if err != nil {
		return ratelimit.Result{}, err
	}
	return l.RemoteWindow(n[0] == 1, n[1], n[2], n[3]*1e9+n[4]*1e3), nil
}

func (f *Fleet) bucketArgs(l *ratelimit.Limit, cost int64, partial bool) []string {
	grant := "0"
	if partial {
		grant = "1"
	}
	s := l.Spec()
	interval := l.Interval() / 1e3
	tau := interval * float64(max(s.Burst, 1))
	if partial {
		// Between two asks of one instance nothing must be lost.
		tau = max(tau, float64(LeaseTime.Microseconds()))
	}
	return []string{
		strconv.FormatFloat(interval, 'f', 6, 64), strconv.FormatFloat(tau, 'f', 6, 64),
		strconv.FormatInt(s.Delay.Microseconds(), 10),
		strconv.FormatInt(cost, 10), f.cold(), grant,
	}
}

func (f *Fleet) windowArgs(l *ratelimit.Limit, cost int64) []string {
	s := l.Spec()
	slides, number, left := "0", uint64(0), int64(0)
	switch s.Algorithm {
	case ratelimit.Sliding:
		slides = "1"
	case ratelimit.Month:
		// Redis knows no calendar. A month's end by this machine's clock.
		now := time.Now().UnixNano()
		var end int64
		number, end = l.Window(now)
		left = (end - now) / 1e6
	}
	return []string{
		strconv.FormatInt(max(s.Per, time.Second).Microseconds(), 10), strconv.FormatInt(s.Rate, 10),
		strconv.FormatInt(cost, 10), slides, strconv.FormatUint(number, 10), strconv.FormatInt(left, 10),
	}
}
