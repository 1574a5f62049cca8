package upstream

import "time"

// start anchors the monotonic clock: reading it alone costs half of time.Now.
var start = time.Now()

// monotonic is a time in nanoseconds since the process began. 0 stands for
// "never" in the fields that hold one, so the clock starts at 1.
type monotonic int64

func now() monotonic { return monotonic(time.Since(start)) + 1 }

// monotonicOf is t, which carries a monotonic reading, as one.
func monotonicOf(t time.Time) monotonic { return monotonic(t.Sub(start)) + 1 }

func (m monotonic) add(d time.Duration) monotonic { return m + monotonic(d) }

// wall gives the time that net.Conn's deadlines want.
func (m monotonic) wall() time.Time { return start.Add(time.Duration(m - 1)) }
