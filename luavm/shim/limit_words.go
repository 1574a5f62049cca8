package shim

import (
	"sync/atomic"
	"unsafe"
)

// LimitWords is the begin of a pg_limit: where a table of limits is and what one
// limit allows. The table's memory is not Go's.
type LimitWords [11]uint64

// LimitAnswer is a pg_limit_out and whether it is allowed; times are in
// nanoseconds.
type LimitAnswer struct {
	Allowed                bool
	Remaining, Wait, Reset float64
}

// limitOutcomes are allowed, delayed and denied.
const limitOutcomes = 3

// LimitCounts counts what scripts were told by one limit, in all VMs.
type LimitCounts struct{ memory *[limitOutcomes]uint64 }

// Counts is how many decisions there were of each outcome.
func (c *LimitCounts) Counts() (allowed, delayed, denied uint64) {
	m := c.memory
	return atomic.LoadUint64(&m[0]), atomic.LoadUint64(&m[1]), atomic.LoadUint64(&m[2])
}

// Address is what pg_limit.counts is; 0 for nil.
func (c *LimitCounts) Address() uint64 {
	if c == nil {
		return 0
	}
	return uint64(uintptr(unsafe.Pointer(c.memory)))
}
