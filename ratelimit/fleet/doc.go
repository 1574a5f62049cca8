// Package fleet shares limits of package ratelimit among processes, through
// Redis 7: one server, Sentinel or Cluster.
//
// # Strict
//
// Each decision is one EVALSHA; the time is Redis's. Decisions of concurrent
// requests travel in one pipeline. Exact, at the price of a round trip.
//
// # Leased
//
// Redis keeps one token bucket per key. An instance takes slices of it ahead of
// its need and decides on its own from what it holds:
//
//	instance 1   ──ask 160──>  ┌─────────────┐  <──ask 40──   instance 2
//	 holds 23    <─grant 160─  │ Redis: TAT  │  ─grant 31─>    holds 2
//	                           └─────────────┘
//	            what is granted has been charged: all instances together
//	            never hold more than the limit has given
//
// A slice is what the instance will need until it asks again, judged by its
// recent demand: at least AskEvery decisions lie between two asks, at most 50 ms.
// When the bucket has less than was asked, the instance gets what there is and
// refuses, on its own, until it may ask again; so instances that are all short
// of tokens share them evenly, and whoever needs less gets all it needs. Slices
// are void after LeaseTime; what an instance did not use it gives back with its
// next ask, or when it is closed. What a killed instance held is lost: at most
// one slice.
//
// # The error
//
// Everything that is admitted was charged in Redis before, so from any moment
// on no more passes than burst + rate x time + what was held at that moment. In
// one second the admitted differ from the limit by what all instances held at
// its beginning less what they hold at its end, at most the sum of their slices:
// ErrorRatio, the slices as a part of one second's limit. At 20,000/s and more
// that is a few percent at the worst and below one on average, because slices
// are small and begin at different times. Limits below LeaseFrom are strict:
// there a slice would be a large part of them. The burst of a leased limit is at
// least what passes in LeaseTime, so that nothing is lost between two asks.
//
// # When Redis does not answer
//
// No decision waits longer than the budget that it is given. After Failures
// failures in a row the store is taken as down: decisions fail at once, with
// ErrDown, and whoever asked decides by a policy of its own; a probe every
// 200 ms notices when it is back. For a while after that, keys that Redis does
// not know start with an empty bucket instead of a full one, and windows of up to
// a minute as if they had been used evenly until then: neither a restart nor a
// failover gives a second burst of a bucket or a sliding window, and a fixed window
// gives what is left of it in time. Longer windows are quotas; they last as what
// Redis writes to its disk does (appendonly yes).
package fleet
