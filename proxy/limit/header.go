package limit

import (
	"strconv"
	"time"

	"perigee/proxy/exchange"
	"perigee/ratelimit"
)

// Fields of draft-ietf-httpapi-ratelimit-headers-10, structured fields (RFC
// 9651) each:
//
//	RateLimit-Policy: "orders";q=200;w=2
//	RateLimit: "orders";r=157;t=1
//
// q is what may come in w seconds, r what of it is left, t in how many seconds
// all of it is there again. A bucket's q is its burst and w the time in which
// that comes back. What counts requests under way has no window, and no field.
const (
	fieldLimit  = "RateLimit"
	fieldPolicy = "RateLimit-Policy"
	fieldRetry  = "Retry-After"
)

func appendPolicy(dst []byte, name string, s ratelimit.Spec) []byte {
	quota, window := s.Rate, s.Per
	switch s.Algorithm {
	case ratelimit.Bucket:
		quota = max(s.Burst, 1)
		window = time.Duration(float64(s.Per) * float64(quota) / float64(s.Rate))
	case ratelimit.Month:
		window = 31 * 24 * time.Hour
	}
	dst = strconv.AppendQuote(dst, name)
	dst = append(dst, ";q="...)
	dst = strconv.AppendInt(dst, quota, 10)
	dst = append(dst, ";w="...)
	return strconv.AppendInt(dst, max(ceilSeconds(window), 1), 10)
}

// tell writes what is left into the answer's head.
func (f *Filter) tell(ex *exchange.Exchange) {
	l := &ex.Limits
	if l.By != f {
		return
	}
	ex.Scratch = ex.Scratch[:0]
	for i := range l.Asked {
		if g := f.told(ex, i); g != nil {
			ex.Scratch = append(separated(ex.Scratch), g.policy...)
		}
	}
	if len(ex.Scratch) == 0 {
		return
	}
	ex.Resp.Set(fieldPolicy, ex.Scratch)
	ex.Scratch = ex.Scratch[:0]
	for i := range l.Asked {
		d := &l.Asked[i]
		if g := f.told(ex, i); g != nil {
			q := g.limit.Quota(d.Result, d.Cost)
			ex.Scratch = append(separated(ex.Scratch), g.before...)
			ex.Scratch = strconv.AppendInt(ex.Scratch, q.Remaining, 10)
			ex.Scratch = append(ex.Scratch, g.after...)
			ex.Scratch = strconv.AppendInt(ex.Scratch, ceilSeconds(q.Reset), 10)
		}
	}
	ex.Resp.Set(fieldLimit, ex.Scratch)
}

// told is the i-th limit as the client is told of it; nil: it is not.
func (f *Filter) told(ex *exchange.Exchange, i int) *grade {
	r, d := f.rules[i], &ex.Limits.Asked[i]
	switch {
	case d.Outcome == skipped || !d.Result.Known() || r.inflight || r.config.DryRun || r.config.Headers == "never",
		r.config.Headers == "refused" && ex.Limits.Refused != i:
		return nil
	}
	return &r.grades[d.Grade]
}

func separated(dst []byte) []byte {
	if len(dst) > 0 {
		dst = append(dst, ", "...)
	}
	return dst
}
