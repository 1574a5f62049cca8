package ratelimit

import (
	"sync/atomic"
	"time"
)

// Clock tells the time in nanoseconds since 1970, never going back. All
// decisions of a table must be given times of one clock.
type Clock interface {
	Now() int64
}

// Monotonic is the machine's clock: what the wall clock said when it was made,
// plus the time since. Steps of the wall clock afterwards do not move it.
type Monotonic struct {
	base time.Time
	unix int64
}

// NewClock starts a Monotonic clock.
func NewClock() *Monotonic {
	now := time.Now()
	return &Monotonic{base: now, unix: now.UnixNano()}
}

// Now implements Clock.
func (c *Monotonic) Now() int64 { return c.unix + int64(time.Since(c.base)) }

// Of translates a time that carries a monotonic reading, for callers that have
// looked at the machine's clock already.
func (c *Monotonic) Of(t time.Time) int64 { return c.unix + int64(t.Sub(c.base)) }

// Manual is a clock that tests move by hand. Safe for concurrent use.
type Manual struct{ now atomic.Int64 }

// NewManual makes a clock that stands at unix nanoseconds.
func NewManual(unix int64) *Manual {
	m := new(Manual)
	m.now.Store(unix)
	return m
}

// Now implements Clock.
func (m *Manual) Now() int64 { return m.now.Load() }

// Advance moves the clock and returns its new time.
func (m *Manual) Advance(d time.Duration) int64 { return m.now.Add(int64(d)) }
