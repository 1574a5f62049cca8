package exchange

import (
	"testing"
	"time"

	"perigee/ratelimit/clocktest"
)

// TestClockSteps: what an exchange measures does not know that the wall clock was
// set meanwhile.
func TestClockSteps(t *testing.T) {
	for _, step := range []time.Duration{-time.Hour, time.Hour} {
		begin := time.Now()
		end := clocktest.Step(begin.Add(250*time.Millisecond), step)
		ex := New()
		ex.Clock = new(Clock)
		ex.Clock.Set(end)
		if d := ex.Since(MonotonicNS(begin)); d != 250*time.Millisecond {
			t.Errorf("set by %v: %v since the beginning, want 250ms", step, d)
		}
		ex.Clock.Pass(50 * time.Millisecond)
		if d := ex.Since(MonotonicNS(begin)); d != 300*time.Millisecond {
			t.Errorf("set by %v: %v with a script's 50 ms, want 300ms", step, d)
		}
		if d := MonotonicNS(end) - MonotonicNS(begin); d != int64(250*time.Millisecond) {
			t.Errorf("set by %v: scripts see %d ns pass, want 250 ms", step, d)
		}
	}
}
