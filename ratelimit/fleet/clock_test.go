package fleet

import (
	"fmt"
	"testing"
	"time"

	"perigee/ratelimit"
)

// TestRedisClockSteps: the clock of limits is Redis's. When it is set, what Redis
// knows lies in its future or far back; then no more pass than a full allowance
// and what accrues, and they do pass again.
func TestRedisClockSteps(t *testing.T) {
	redis := startRedis(t)
	f := connect(t, to(redis))
	const most = 10
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		for _, spec := range []ratelimit.Spec{
			{Rate: most, Per: 2 * time.Second, Burst: most},
			{Algorithm: ratelimit.Sliding, Rate: most, Per: 2 * time.Second},
			{Algorithm: ratelimit.Fixed, Rate: most, Per: 2 * time.Second},
		} {
			t.Run(fmt.Sprintf("%v known %v ahead", spec.Algorithm, ahead), func(t *testing.T) {
				l := limitOf(t, fmt.Sprint("clock", int(spec.Algorithm), ahead), spec)
				key := f.keyOf(l, []byte("k"))
				// All was used, by a clock that differed by so much.
				at := time.Now().Add(ahead)
				if spec.Algorithm == ratelimit.Bucket {
					full := at.Add(spec.Per).Sub(time.Unix(1704067200, 0)).Microseconds()
					redis.cli("set", key, fmt.Sprintf("%d.000", full), "px", "3600000")
				} else {
					n := at.UnixNano() / int64(spec.Per)
					redis.cli("hset", key, "n", fmt.Sprint(n), "c", fmt.Sprint(most), "b", fmt.Sprint(most))
				}
				begin, n := time.Now(), int64(0)
				take := func() bool {
					r, err := f.Strict(patient(t), l, []byte("k"), 1)
					if err != nil {
						t.Fatal(err)
					}
					if r.Allowed {
						n++
					}
					return r.Allowed
				}
				for range 5 * most {
					take()
				}
				// Windows pass twice their maximum around a boundary.
				if bound := 2*most + most*int64(time.Since(begin)/spec.Per+1); n > bound {
					t.Errorf("%d admitted at once, want %d at most", n, bound)
				}
				until(t, "requests pass again", take)
			})
		}
	}
}
