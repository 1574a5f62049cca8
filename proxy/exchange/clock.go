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
