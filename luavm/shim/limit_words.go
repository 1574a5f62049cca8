package shim

// LimitWords is a pg_limit: where a table of limits is and what one limit
// allows. The table's memory is not Go's.
type LimitWords [11]uint64

// LimitAnswer is a pg_limit_out and whether it is allowed; times are in
// nanoseconds.
type LimitAnswer struct {
	Allowed                bool
	Remaining, Wait, Reset float64
}
