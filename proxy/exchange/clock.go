package exchange

import (
	"time"

	"golang.org/x/sys/unix"
)

// Scripts measure $request_time against CLOCK_MONOTONIC, which package time
// reads too but does not show. The offset between the two never changes.
var clockBase, clockOffset = clockPair()

func clockPair() (base time.Time, offset int64) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return time.Now(), 0
	}
	return time.Now(), ts.Nano()
}

// MonotonicNS is t as a reading of CLOCK_MONOTONIC, as Exchange.StartNS wants it.
func MonotonicNS(t time.Time) int64 { return clockOffset + int64(t.Sub(clockBase)) }

// A Clock is the time as a driver that moves many exchanges on one thread takes
// it: once for all that a wake-up brings, and a little more often when that is
// much. Reading the system's clock takes 40 ns, and an exchange asks eight times.
type Clock struct {
	ns   int64     // as MonotonicNS has it
	at   time.Time // the same time, as of atNS
	atNS int64
}

// Set makes it t.
func (c *Clock) Set(t time.Time) {
	c.at, c.ns = t, MonotonicNS(t)
	c.atNS = c.ns
}

// Now is what it was set to, and what has passed by Pass.
func (c *Clock) Now() time.Time {
	if c.ns != c.atNS {
		c.at, c.atNS = c.at.Add(time.Duration(c.ns-c.atNS)), c.ns
	}
	return c.at
}

// NS is Now as MonotonicNS has it.
func (c *Clock) NS() int64 { return c.ns }

// Pass adds time that is known to have passed: a script's.
func (c *Clock) Pass(d time.Duration) { c.ns += int64(d) }

// Now is the time by the driver's clock, or by the system's where it has none.
func (ex *Exchange) Now() time.Time {
	if ex.Clock != nil {
		return ex.Clock.Now()
	}
	return time.Now()
}

// NowNS is Now as MonotonicNS has it: what intervals are measured with.
func (ex *Exchange) NowNS() int64 {
	if ex.Clock != nil {
		return ex.Clock.ns
	}
	return MonotonicNS(time.Now())
}

// Since is how long ago ns was, which is as NowNS.
func (ex *Exchange) Since(ns int64) time.Duration { return time.Duration(ex.NowNS() - ns) }
