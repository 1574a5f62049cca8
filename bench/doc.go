// Package bench measures the whole path of a request: a raw client, the gateway
// as it is served, and a raw origin in one process, on loopback. What the client
// and the origin cost is in the figures, but neither allocates, so allocations
// are the gateway's alone.
//
// Absolute times of a shared machine mean little; compare benchmarks of one run,
// or allocations and crossings, which are exact. bench/peers has the entry for a
// side-by-side bench with other gateways; README.md has its results.
package bench
