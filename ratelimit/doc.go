// Package ratelimit decides how often something may happen: exactly on one
// machine, without a lock and without an allocation.
//
// It knows nothing of requests or gateways. A Table holds what is known of
// millions of keys in one fixed piece of memory outside Go's heap; a Limit says
// what one key may do; Table.Take asks and charges in one step.
//
//	table, err := ratelimit.NewTable(64 << 20)
//	limit, err := table.Limit("api", ratelimit.Spec{Rate: 100, Per: time.Second, Burst: 200})
//	clock := ratelimit.NewClock()
//	if r := table.Take(&limit, key, 1, clock.Now()); !r.Allowed {
//		q := limit.Quota(r, 1)        // q.Retry, q.Remaining, q.Reset
//	}
//
// # One decision
//
//	key ── xxhash64 with the limit's seed ──> h
//	        │ high bits                        │ low 56 bits, and a class
//	        v                                  v
//	   home bucket: one cache line        fingerprint
//	   ┌────────┬────────┬────────┬────────┐
//	   │fp│word │fp│word │fp│word │fp│word │   four slots of 16 bytes
//	   └────────┴────────┴────────┴────────┘
//	        │ the slot with this fingerprint, or one of the next buckets
//	        v
//	   next = decide(word, now, cost)         a pure function on 64 bits
//	   CAS(word, next)                        lost: decide again
//
// All that a limit remembers of a key is that one word, so a decision is one
// compare-and-swap and nothing can be half done. A refused request writes
// nothing: a flood of them only reads a shared cache line.
//
// # Algorithms
//
//	Bucket      GCRA, which is a token bucket told as a time   gcra.go
//	Sliding     the sliding-window counter                     window.go
//	Fixed       a count per window; quotas of a day or month   window.go
//	Concurrent  how many are in flight                         inflight.go
//
// # What can go wrong, and in which direction
//
// Two keys share a word when 64 bits of hash are the same: with ten million
// keys that happens to any two of them with a probability of about 1 in
// 100,000, and then these two get one allowance between them. The seed is drawn
// at start, so that nobody outside can choose such keys.
//
// Memory is fixed. A new key takes, in the WindowBuckets buckets where it may
// live, a slot that was never used or whose key is idle: idle means that the
// word says the same as no word at all (the bucket is full again, the window is
// over), so forgetting it changes no decision. Only when all slots are of active
// keys one of them is given up, the one that would have been idle soonest. That
// key starts afresh: it may be admitted more than allowed, by no more than what
// it had used at that moment, and never less. Stats.Evicted counts these; while
// it stands still every decision was exact.
//
// Rates are exact to one part in a million up to 1,000,000 a second: an
// interval is rounded up to 1/1024 of a nanosecond, so that never more is
// admitted than the rate says.
//
// # Rows
//
//	limit.go    Spec, checked and compiled to a Limit; Quota for people and headers
//	limiter.go  Take, Peek, Refund, Forget
//	gcra.go, window.go, inflight.go   pure functions on words
//	slot.go     the memory, byte by byte, which C reads too
//	table.go    finding a key's slot
//	claim.go    making one, when many try at once
//	evict.go    idle keys, sweeping, statistics
//	pages.go    where the memory comes from
//	hash.go, clock.go
//	layout.go   a Limit for code in C, which decides on the same table
package ratelimit
