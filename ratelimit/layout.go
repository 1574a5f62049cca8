package ratelimit

// LayoutWords is the length of a Limit's public layout.
const LayoutWords = 11

// Layout is the limit as 64-bit words, for code in C that decides on the same
// table (pg_limit in luavm/shim/perigee_ffi.h): where the table is, then seed,
// interval, tau, slack, max, never, burst, period; then kind (0 bucket, 1
// sliding, 2 fixed) and class, and whether windows are months, as 32-bit halves
// in the machine's order. Concurrent limits have no such layout: whoever takes
// must also give back.
func (t *Table) Layout(l *Limit) (words [LayoutWords]uint64, ok bool) {
	if l.kind == Concurrent {
		return words, false
	}
	months := uint64(0)
	if l.months {
		months = 1
	}
	return [LayoutWords]uint64{
		uint64(uintptr(t.base)), l.seed, l.interval, l.tau, l.slack, l.max, l.never,
		uint64(max(l.spec.Burst, 1)), uint64(l.period), uint64(l.kind) | uint64(l.class)<<32, months,
	}, true
}

// Clock is the table's clock; all decisions in C are made by it.
func (t *Table) Clock() *Monotonic { return t.clock }
