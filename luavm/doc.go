// Package luavm runs Lua scripts with OpenResty's API in LuaJIT states, for
// thousands of exchanges at once. It knows phases and slots; of HTTP it knows
// only heads and bodies as bytes. Whoever has those can use it.
//
// # Who owns what
//
//	Pool (one generation of a configuration)
//	 |- Script 0, 1, ...            immutable, compiled in every VM
//	 |- places: worker -> VM        one atomic pointer each
//	 |    VM ----------------------------------------------.
//	 |    | mu: held only while Lua runs                   |
//	 |    | LuaJIT state: heap, handlers by registry ref   |
//	 |    | seats: free list of Slots                      |
//	 |    '------------------------------------------------'
//	 |         ^ pinned to one VM from Pin to Release
//	 |    Slot (an exchange's seat)  --> pg_slot in C memory
//	 |    | run: coroutine + Op it waits for
//	 |    | run: ...                 handlers of one slot may nest
//	 '- spare VM                    built beforehand by the keeper goroutine
//
// A VM has one owner at a time: the thread that holds mu. A Slot has one user
// at a time, its host, and no lock: its C memory (variables, edit log, output)
// may be read and written while other slots of the VM run. While a handler
// waits, the VM serves others. Nothing is allocated in Go, and C is entered
// once, for a handler that does not wait.
//
// # One phase
//
//	s, err := pool.Pin(hint)            a seat, once per exchange
//	out := s.Start(script, phase, in)   lock, run, unlock
//	for out.Kind == Wait {
//		hand out every op from out.Op on; no lock is held
//		out = s.Resume(op, in)      for each that comes back
//	}
//	apply the edits in s                the host's part
//	s.Release()                         after the last phase
//
// # Memory that crosses
//
// The slices of Input are lent to C for one Start or Resume and kept nowhere.
// C memory that Go reads (Slot's edits and output) is the slot's until
// Release. Lua calls Go for a Filler alone; what must wait is an Op.
//
// # When a script misbehaves
//
// An error or a memory limit ends that handler alone. A handler that uses more
// CPU than Options.CPUBudget between two waits is ended by the watchdog as a
// Lua error; if it does not react, the call is abandoned and with it the VM:
// all its slots fail with ErrLost, and the spare takes its place and worker
// id. A VM whose heap stays above half the limit after a collection is
// retired: it finishes its exchanges, takes no new ones, and is replaced too.
package luavm
