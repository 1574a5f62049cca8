// Package shim is the only package of perigee that speaks to C: it opens
// LuaJIT states, runs coroutines in them and reads what scripts left in C
// memory.
//
// It has no policy. Who locks a state, when it is replaced and what an op
// means is decided in luavm. A State and everything reached from it has one
// user at a time; a Slot may be read and written by its owner while other
// slots of the same state run.
//
// The contract between Go, C and Lua is perigee_ffi.h. Slot and VM here are
// its structs written again with exported names, because Go cannot reach
// another package's C fields; the compiler checks every offset in shim.go.
//
// What more than one thread reaches without the state's lock, and by what order,
// written for arm64, where a plain store may be seen after a later one:
//
//	shdict.h      a dictionary      under its lock: acquired by compare-and-swap,
//	                                released by an exchange that also tells if
//	                                somebody sleeps
//	limit.c       limiter tables    sequentially consistent, all of them, as the
//	                                same tables in Go are: claims of one key store
//	                                their own slot, then load the others'
//	metrics.c     lists of series   grown under a lock, published by a release
//	                                store, walked by acquire loads; their values
//	                                are relaxed, each by itself
//	vm.c          slots to forget   a stack: Go pushes by compare-and-swap, C takes
//	                                all by one exchange
//	ring.c        captured lines    under a mutex; the last user frees it, by a
//	                                decrement that acquires
//	watchdog.c    pg_state.call     even and odd, stored after what the watchdog's
//	                                thread reads with it; a call that begins and
//	                                the thread that parks store, then load, both
//	                                sequentially consistent. kill_stage comes
//	                                before kill_call (release, acquire). The signal
//	                                handler decides by what its own thread has
//	                                stored, which needs no order
//	ranges.c      compiled code     a sequence lock
//
// Everything else of a state is the lock's. Flags for the handler of the same
// thread (crit, matching, hooked) are volatile or kept in place by fences for the
// compiler; the processor shows a thread its own stores in their order.
//
// Without cgo or without the build tag luajit the package compiles to a stub
// whose Open refuses.
package shim
