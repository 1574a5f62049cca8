// Package clocktest makes the times that package time gives after somebody has
// set the machine's clock, which a test must not do.
package clocktest

import (
	"fmt"
	"time"
	"unsafe"
)

// Step is t as time.Now would have given it at that instant, had the wall clock
// been set by d before: another time of day, the same monotonic reading. t must
// have one. It writes to the fields of time.Time, and panics if Go has changed
// what they mean.
func Step(t time.Time, d time.Duration) time.Time {
	stepped := t
	// The first word is a flag, 33 bits of seconds, and 30 bits of nanoseconds
	// (time.go: "the representation of a Time value").
	*(*uint64)(unsafe.Pointer(&stepped)) += uint64(d/time.Second) << 30
	if d%time.Second != 0 || stepped.UnixNano()-t.UnixNano() != int64(d) || stepped.Sub(t) != 0 {
		panic(fmt.Sprintf("clocktest: %v stepped by %v is %v", t, d, stepped))
	}
	return stepped
}
