package observe

import (
	"testing"
	"time"

	"perigee/ratelimit/clocktest"
)

// TestKeySetAgeClockSteps: an age is no difference of wall clocks, or setting one
// would raise the alert of a stale key set, or hide one.
func TestKeySetAgeClockSteps(t *testing.T) {
	for _, step := range []time.Duration{-time.Hour, time.Hour} {
		m := NewMetrics(BuildInfo{})
		m.KeySet("u").SetFetched(clocktest.Step(time.Now().Add(-10*time.Minute), step))
		age := scrapeOf(t, m).series[`perigee_jwks_age_seconds{url="u"}`]
		if age < 600 || age > 900 {
			t.Errorf("fetched 10 min ago, the clock set by %v since: %v s old", step, age)
		}
	}
}
