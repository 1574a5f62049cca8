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
		n, err := f.numbers(ctx, bucketScript, f.keyOf(l, key), f.bucketArgs(l, cost, grantWhole))
		if err != nil {
			return ratelimit.Result{}, err
		}
		return l.RemoteBucket(n[0] == cost, time.Duration(n[1])*time.Microsecond, n[2]*1e9+n[3]*1e3), nil
	}
	n, err := f.numbers(ctx, windowScript, f.keyOf(l, key), f.windowArgs(l, cost, grantWhole))
	if err != nil {
		return ratelimit.Result{}, err
	}
	return l.RemoteWindow(n[0] == 1, n[1], n[2], n[3]*1e9+n[4]*1e3), nil
}

// How much of a cost the scripts grant.
const (
	grantWhole = "0" // all of it or nothing
	grantSome  = "1" // what there is
	grantAll   = "2" // all of it, there or not
)

func (f *Fleet) bucketArgs(l *ratelimit.Limit, cost int64, grant string) []string {
	s := l.Spec()
	interval := l.Interval() / 1e3
	tau := interval * float64(max(s.Burst, 1))
	if grant == grantSome {
		// Between two asks of one instance nothing must be lost.
		tau = max(tau, float64(LeaseTime.Microseconds()))
	}
	return []string{
		strconv.FormatFloat(interval, 'f', 6, 64), strconv.FormatFloat(tau, 'f', 6, 64),
		strconv.FormatInt(s.Delay.Microseconds(), 10),
		strconv.FormatInt(cost, 10), f.cold(), grant,
	}
}

func (f *Fleet) windowArgs(l *ratelimit.Limit, cost int64, grant string) []string {
	s := l.Spec()
	slides, number, left, cold := "0", uint64(0), int64(0), f.cold()
	if s.Algorithm == ratelimit.Month || s.Per > coldFor {
		cold = "0" // who is new would pay for all of the window
	}
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
		strconv.FormatInt(cost, 10), slides, strconv.FormatUint(number, 10), strconv.FormatInt(left, 10), grant, cold,
	}
}

// later is a charge that nobody waits for.
type later struct {
	limit *ratelimit.Limit
	key   string
	cost  int64
}

// Later charges cost whether it is there or not, or gives it back if it is below
// 0, soon: it does not block. While the store is down, and when more is waiting
// than the store can take, it is dropped.
func (f *Fleet) Later(l *ratelimit.Limit, key []byte, cost int64) {
	if f.down.Load() {
		return
	}
	select {
	case f.laters <- later{l, f.keyOf(l, key), cost}:
	default:
		f.errors.Add(1)
	}
}

// charge does what Later has put off.
func (f *Fleet) charge(c later) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	if c.limit.Spec().Algorithm == ratelimit.Bucket {
		_, _ = f.numbers(ctx, bucketScript, c.key, f.bucketArgs(c.limit, c.cost, grantAll))
		return
	}
	_, _ = f.numbers(ctx, windowScript, c.key, f.windowArgs(c.limit, c.cost, grantAll))
}

// Forget drops what is known of a key, in the store and of this instance's
// lease. It blocks until ctx is done at most.
func (f *Fleet) Forget(ctx context.Context, l *ratelimit.Limit, key []byte) (found bool, err error) {
	p := f.client.Load()
	if p == nil || f.down.Load() {
		return false, ErrDown
	}
	n, err := (*p).Do(ctx, (*p).B().Del().Key(f.keyOf(l, key)).Build()).AsInt64()
	if held := f.Leases(l).find(l.Hash(key)); held != nil {
		held.refused.Store(0)
	}
	return n > 0, err
}
