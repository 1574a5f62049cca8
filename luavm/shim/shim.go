//go:build cgo && luajit

package shim

/*
#cgo CFLAGS: -I${SRCDIR}/../../.deps/luajit/include -O2 -fno-omit-frame-pointer -Wall -Wextra -Wno-unused-parameter -Werror=implicit-function-declaration
#cgo LDFLAGS: -L${SRCDIR}/../../.deps/lib -l:libpcre2-8-text.a -lluajit-5.1 -lm -ldl -rdynamic
#cgo noescape pg_nothing
#cgo nocallback pg_nothing
#include <stdlib.h>
#include "shim.h"

// pg_resume by the addresses of C's memory. Of a pointer to a struct that holds
// pointers Go looks up, at each call, whether it points to Go's memory.
static int pg_resume_at(uintptr_t v, uintptr_t slot, uintptr_t run, int ref,
                        uintptr_t thread, const char *head, uint32_t head_n,
                        const char *resp, uint32_t resp_n, const char *body,
                        uint32_t body_n, const char *data, uint32_t data_n,
                        int64_t budget) {
  return pg_resume((pg_state *)v, (pg_slot *)slot, (pg_run *)run, ref,
                   (pg_thread *)thread, head, head_n, resp, resp_n, body,
                   body_n, data, data_n, budget);
}
*/
import "C"

import (
	_ "embed"
	"errors"
	"fmt"
	"runtime/cgo"
	"strings"
	"sync/atomic"
	"unsafe"
)

//go:embed perigee_ffi.h
var header string

//go:embed metrics_ffi.h
var metricsHeader string

// Declarations are the marked parts of perigee_ffi.h and metrics_ffi.h, for
// ffi.cdef.
func Declarations() string { return marked(header) + marked(metricsHeader) }

func marked(header string) string {
	_, text, _ := strings.Cut(header, "/* PERIGEE FFI BEGIN */")
	text, _, _ = strings.Cut(text, "/* PERIGEE FFI END */")
	return text
}

// A State is one LuaJIT state with its C side.
type State struct {
	lua    *luaState
	c      *C.pg_state
	limits Limits
	filler cgo.Handle
}

// A Run is one coroutine of a slot.
type Run struct{ c C.pg_run }

// Open makes a state with the standard libraries and nothing of ours in Lua
// yet: Boot comes next.
func Open(limits Limits) (*State, error) {
	lua := newLua()
	c := C.pg_open(luaPointer(lua), C.size_t(limits.Memory))
	if c == nil {
		lua.Close()
		return nil, errors.New("luavm: out of memory opening a LuaJIT state")
	}
	if C.pg_watch_add(c) != 0 {
		C.pg_close_begin(c)
		lua.Close()
		C.pg_free(c)
		return nil, errors.New("luavm: more than 4096 LuaJIT states in one process")
	}
	c.run_limit = C.size_t(limits.Run)
	return &State{lua: lua, c: c, limits: limits}, nil
}

// Boot hands init.lua its modules and strings and runs it.
func (s *State) Boot(init []byte, modules []Module, strs map[string]string) error {
	cdef := Declarations()
	C.pg_boot_string(s.c, literal("cdef\x00"), text(cdef), C.size_t(len(cdef)))
	for k, v := range strs {
		key := C.CString(k)
		C.pg_boot_string(s.c, key, text(v), C.size_t(len(v)))
		C.free(unsafe.Pointer(key))
	}
	for _, m := range modules {
		name := C.CString(m.Name)
		bad := C.pg_boot_module(s.c, name, bytes(m.Text), C.size_t(len(m.Text)))
		C.free(unsafe.Pointer(name))
		if bad != 0 {
			return fmt.Errorf("luavm: lualib: %s", s.message())
		}
	}
	if C.pg_boot(s.c, bytes(init), C.size_t(len(init))) != 0 {
		return fmt.Errorf("luavm: lualib: %s", s.message())
	}
	return nil
}

// Close frees the state. All its slots and runs must have been freed.
func (s *State) Close() {
	C.pg_watch_remove(s.c)
	C.pg_close_begin(s.c)
	s.lua.Close()
	C.pg_free(s.c)
	s.c = nil
	s.dropFiller()
}

// Abandon leaks a poisoned state: its Lua heap is in an unknown condition.
func (s *State) Abandon() {
	C.pg_watch_remove(s.c)
	C.pg_ring_drop(s.c.ring)
	s.c.ring = nil
	s.dropFiller()
}

// Compile makes a handler of source text: the body of a function without
// arguments. chunk is its name in Lua's form:
// "@file" or "=shown as is". policy is what sandbox.lua makes the handler's
// environment by; empty: it is trusted.
func (s *State) Compile(chunk, source, policy string) (ref int32, err error) {
	name := C.CString(chunk)
	defer C.free(unsafe.Pointer(name))
	var rules *C.char
	if policy != "" {
		rules = C.CString(policy)
		defer C.free(unsafe.Pointer(rules))
	}
	ref = int32(C.pg_compile(s.c, text(source), C.size_t(len(source)), name, rules))
	if ref < 0 {
		return 0, errors.New(s.message())
	}
	return ref, nil
}

// TimerHandler is lualib's handler for timers that are due; its data is the
// timer's id and whether it is premature, a uint32 each.
func (s *State) TimerHandler() (ref int32) { return int32(s.c.timer_ref) }

// Eval runs source on the main thread, outside of any exchange and watch, and
// returns its first result as text, at most 4096 bytes.
func (s *State) Eval(source string) (string, error) {
	if C.pg_eval(s.c, text(source), C.size_t(len(source))) != 0 {
		return "", errors.New(s.message())
	}
	return s.message(), nil
}

// Collect runs a full garbage collection.
func (s *State) Collect() { C.pg_collect(s.c) }

// Resume makes the call c. in is lent until it returns.
func (s *State) Resume(c *Call, in *Inputs) Status {
	return Status(C.pg_resume_at(address(s.c), address(c.Slot), address(c.Run), C.int(c.Ref), address(c.Thread),
		bytes(in.Head), C.uint32_t(len(in.Head)),
		bytes(in.Resp), C.uint32_t(len(in.Resp)),
		bytes(in.Body), C.uint32_t(len(in.Body)),
		bytes(in.Data), C.uint32_t(len(in.Data)), C.int64_t(c.Budget)))
}

// RunNS is the wall time of the last Resume in ns.
func (s *State) RunNS() int64 { return int64(s.c.run_ns) }

// Failure is the text of the last Error, Budget or Memory.
func (s *State) Failure() (message, traceback string) {
	return s.message(), C.GoStringN(&s.c.trace[0], C.int(s.c.trace_len))
}

func (s *State) message() string { return C.GoStringN(&s.c.err[0], C.int(s.c.err_len)) }

// Lines is the log text of the last runs: for each line a level and a length
// (int32, uint32), the text, padding to 8. The memory is C's; valid until
// DropLines.
func (s *State) Lines() []byte {
	if s.c.lines_len == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(s.c.lines)), int(s.c.lines_len))
}

// DropLines empties the log text and says how many lines did not fit.
func (s *State) DropLines() (lost uint32) {
	lost = uint32(s.c.lines_lost)
	s.c.lines_len, s.c.lines_lost = 0, 0
	return lost
}

// Stirred tells whether runs have left notes or lines, or starved.
func (s *State) Stirred() bool {
	return s.c.notes_n|s.c.lines_len|C.uint32_t(s.c.starved) != 0
}

// Figures reads what a state has used so far. It needs no lock: one thread writes
// each word at a time, and the state must not have been closed.
func (s *State) Figures() Figures {
	word := func(p unsafe.Pointer) uint64 { return atomic.LoadUint64((*uint64)(p)) }
	return Figures{
		Memory: word(unsafe.Pointer(&s.c.used)), Peak: word(unsafe.Pointer(&s.c.peak)),
		RanNS: int64(word(unsafe.Pointer(&s.c.ran_ns))), Crossings: word(unsafe.Pointer(&s.c.crossings)),
	}
}

// Starved says if the last Resume ran into the memory limit, even if the
// script caught the error. A full collection has run since.
func (s *State) Starved() bool { return s.c.starved != 0 }

// Allow raises the memory limit by n bytes.
func (s *State) Allow(n uint64) { s.c.limit += C.size_t(n) }

// VM is what Lua sees of this state.
func (s *State) VM() *VM { return (*VM)(unsafe.Pointer(&s.c.vm)) }

// Idle is the slot that code outside of any exchange (init) runs in.
func (s *State) Idle() *Slot { return (*Slot)(unsafe.Pointer(s.c.vm.slot)) }

// NewSlot makes a slot in C memory; nil when there is none.
func (s *State) NewSlot(id uint32) *Slot {
	return (*Slot)(unsafe.Pointer(C.pg_slot_new(C.uint32_t(id), C.uint32_t(s.limits.Edits), C.uint32_t(s.limits.Output))))
}

// FreeSlot gives a slot back to the heap. It must not run or be released.
func FreeSlot(slot *Slot) { C.pg_slot_free((*C.pg_slot)(unsafe.Pointer(slot))) }

// Shrink gives back the buffers of a slot that grew big.
func (slot *Slot) Shrink() { C.pg_slot_shrink((*C.pg_slot)(unsafe.Pointer(slot))) }

// Print appends to the slot's output; false: there is no room.
func (slot *Slot) Print(p []byte) bool {
	return C.pg_slot_print((*C.pg_slot)(unsafe.Pointer(slot)), bytes(p), C.uint32_t(len(p))) == 0
}

// NewRun makes a run in C memory. The coroutine comes with its first start.
func NewRun() *Run { return (*Run)(unsafe.Pointer(C.pg_run_new())) }

// FreeRun gives a run back; its coroutine becomes garbage.
func (s *State) FreeRun(run *Run) { C.pg_run_free(s.c, &run.c) }

// FreeLostRun gives back a run whose state was abandoned.
func FreeLostRun(run *Run) { C.pg_run_free(nil, &run.c) }

// DropRun ends a suspended handler that nobody will resume. None of its ops is
// with a performer.
func (s *State) DropRun(slot *Slot, run *Run) {
	C.pg_run_drop(s.c, (*C.pg_slot)(unsafe.Pointer(slot)), &run.c)
}

// TakeFresh takes the threads that began to wait in the last Resume, linked by
// Next, in their order.
func (r *Run) TakeFresh() *Thread {
	t := (*Thread)(unsafe.Pointer(r.c.fresh))
	r.c.fresh, r.c.fresh_last = nil, nil
	return t
}

// Entry is the thread that the run's handler is started in; it is there from
// the first Resume on, or from Prepare.
func (r *Run) Entry() *Thread { return (*Thread)(unsafe.Pointer(r.c.entry)) }

// Prepare makes the run's entry, so that its fields can be set before the
// first Resume; nil when memory is short.
func (s *State) Prepare(slot *Slot, run *Run) *Thread {
	return (*Thread)(unsafe.Pointer(C.pg_entry(s.c, (*C.pg_slot)(unsafe.Pointer(slot)), &run.c)))
}

// Recycle takes back a killed thread whose op was given back. The slot must be
// the caller's and not run.
func Recycle(slot *Slot, t *Thread) {
	C.pg_thread_recycle((*C.pg_seat)(unsafe.Pointer(slot)), (*C.pg_thread)(unsafe.Pointer(t)))
}

// Notes are what the last runs noted; C's memory, valid until DropNotes.
func (s *State) Notes() []Note {
	if s.c.notes_n == 0 {
		return nil
	}
	return unsafe.Slice((*Note)(unsafe.Pointer(s.c.notes)), int(s.c.notes_n))
}

// DropNotes empties the notes.
func (s *State) DropNotes() { s.c.notes_n = 0 }

// SetPhase says in which phase the run's handler is. PG_PHASE_*.
func (r *Run) SetPhase(phase uint32) { r.c.phase = C.uint32_t(phase) }

// Follow names the handler that is to follow the run's own in the same Resume, if
// that just returns. It holds for the next Resume alone.
func (r *Run) Follow(ref int32, phase uint32) {
	r.c.then_ref, r.c.then_phase = C.uint32_t(ref), C.uint32_t(phase)
}

// WentOn tells whether it did in the last Resume: how long the first handler ran,
// in ns, and where in the slot's log its edits end.
func (r *Run) WentOn() (first int64, log uint32, ok bool) {
	return int64(r.c.first_ns), uint32(r.c.then_log), r.c.went_on != 0
}

// Forget says that the exchange in slot has ended: its ngx.ctx, if it had one, is
// dropped at the state's next run. It needs no lock.
//
// The list of such slots is a stack in C memory: Forget pushes, pg_resume
// takes all of it at once, so a compare-and-swap on its head is enough. A slot
// that is still on the list is not pushed again.
func (s *State) Forget(slot *Slot) {
	if slot.CtxRef|slot.CtxLeftN == 0 {
		return
	}
	seat := (*C.pg_seat)(unsafe.Pointer(slot))
	if !atomic.CompareAndSwapUint32((*uint32)(unsafe.Pointer(&seat.freed)), 0, 1) {
		return
	}
	head := (*unsafe.Pointer)(unsafe.Pointer(&s.c.freed))
	for {
		first := atomic.LoadPointer(head)
		seat.next_freed = (*C.pg_seat)(first)
		if atomic.CompareAndSwapPointer(head, first, unsafe.Pointer(seat)) {
			return
		}
	}
}

// StartWatchdog starts the thread that ends runaway scripts; once per
// process. tick and grace in ns.
func StartWatchdog(tick, grace int64) error {
	if errno := C.pg_watch_start(C.int64_t(tick), C.int64_t(grace)); errno != 0 {
		return fmt.Errorf("luavm: cannot start the watchdog thread: error %d", int(errno))
	}
	return nil
}

// RegexJIT says if the linked PCRE2 has a JIT compiler.
func RegexJIT() bool { return C.pg_regex_jit() != 0 }

// Hardened says if compiled loops of the linked LuaJIT obey the watchdog's
// hook. It runs a short probe: ask once.
func Hardened() bool { return C.pg_hardened() != 0 }

// Jumps says if the watchdog can abandon a call: on amd64 and arm64, with the
// libraries that make deps has prepared.
func Jumps() bool { return C.pg_can_leap() != 0 }

// Nothing is an empty crossing, to compare others with.
func Nothing() { C.pg_nothing() }

// address is where C's memory lies.
func address[T any](p *T) C.uintptr_t { return C.uintptr_t(uintptr(unsafe.Pointer(p))) }

func bytes(b []byte) *C.char { return (*C.char)(unsafe.Pointer(unsafe.SliceData(b))) }
func text(s string) *C.char  { return (*C.char)(unsafe.Pointer(unsafe.StringData(s))) }

// literal is a constant that ends in NUL.
func literal(s string) *C.char { return text(s) }
