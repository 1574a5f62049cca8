package ratelimit

import (
	"testing"
	"time"

	"perigee/ratelimit/clocktest"
)

// steps are what becomes of a wall clock: summer time by mistake, a dead battery,
// a first synchronization.
var steps = map[string]time.Duration{
	"back an hour": -time.Hour, "on an hour": time.Hour, "back years": -3 * 365 * 24 * time.Hour, "on years": 3 * 365 * 24 * time.Hour,
}

// TestClockSteps has the wall clock set between requests: as many pass as would
// have passed without it, at once and later.
func TestClockSteps(t *testing.T) {
	specs := map[string]Spec{
		"bucket":  {Rate: 10, Per: time.Minute, Burst: 10},
		"delay":   {Rate: 10, Per: time.Minute, Burst: 5, Delay: 30 * time.Second},
		"sliding": {Algorithm: Sliding, Rate: 10, Per: time.Minute},
		"fixed":   {Algorithm: Fixed, Rate: 10, Per: time.Minute},
		"month":   {Algorithm: Month, Rate: 10},
	}
	for stepName, step := range steps {
		for name, spec := range specs {
			t.Run(name+" "+stepName, func(t *testing.T) {
				clock := NewClock()
				begin := clock.base
				admitted := func(step time.Duration) (n [4]int) {
					table := testTable(t, minBuckets)
					limit := mustLimit(t, table, name, spec)
					for phase, at := range []time.Duration{0, 0, 20 * time.Second, 5 * time.Minute} {
						now := begin.Add(at)
						if phase > 0 {
							now = clocktest.Step(now, step)
						}
						for range 30 {
							if table.Take(limit, []byte("k"), 1, clock.Of(now)).Allowed {
								n[phase]++
							}
						}
					}
					return n
				}
				want, got := admitted(0), admitted(step)
				if got != want || want[0] != 10 || want[1] != 0 {
					t.Errorf("admitted before the step, after it, 20 s and 5 min later: %v, want %v", got, want)
				}
			})
		}
	}
}

// TestClockContract: a clock that does go back, which Clock forbids, costs no more
// than what it went back by, and lets nobody have more.
func TestClockContract(t *testing.T) {
	for name, spec := range map[string]Spec{
		"bucket":  {Rate: 10, Per: time.Minute, Burst: 10},
		"sliding": {Algorithm: Sliding, Rate: 10, Per: time.Minute},
		"fixed":   {Algorithm: Fixed, Rate: 10, Per: time.Minute},
		"month":   {Algorithm: Month, Rate: 10},
	} {
		t.Run(name, func(t *testing.T) {
			table := testTable(t, minBuckets)
			limit := mustLimit(t, table, name, spec)
			// The middle of a month, so that an hour is not in another one.
			clock := NewManual(time.Date(2030, 5, 15, 12, 0, 0, 0, time.UTC).UnixNano())
			take := func() (n int) {
				for range 50 {
					if table.Take(limit, []byte("k"), 1, clock.Now()).Allowed {
						n++
					}
				}
				return n
			}
			if n := take(); n != 10 {
				t.Fatalf("%d admitted, want 10", n)
			}
			clock.Advance(-time.Hour)
			if n := take(); n > 10 {
				t.Errorf("%d admitted after an hour back, want 10 at most", n)
			}
			clock.Advance(time.Hour + 2*time.Minute)
			want := 10
			if spec.Algorithm == Month {
				want = 0
			}
			if n := take(); n != want {
				t.Errorf("%d admitted once the time had come again, want %d", n, want)
			}
		})
	}
}
