package luavm

import (
	"sync"
	"sync/atomic"
	"time"

	"perigee/luavm/shim"
)

// An OpKind says what an Op waits for.
type OpKind uint32

// Ops that scripts yield; the numbers are PG_OP_* in perigee_ffi.h. Those
// before OpHost that are not the request's (bodies, output) are performed by
// Perform. Kinds from OpHost on are free for the host's own waits: luavm
// neither makes nor reads them.
const (
	OpNone        OpKind = 0
	OpSleep       OpKind = 1 // Seconds
	OpReadBody    OpKind = 2 // then Input.Body is there; Result: 0, or a status such as 413
	OpDiscardBody OpKind = 3
	OpFlush       OpKind = 4 // send head and output; Int 1: complete when it was sent
	OpEOF         OpKind = 5 // send all and end the answer
	OpSendHeaders OpKind = 6
	OpSemaphore   OpKind = 7  // until it is woken, Seconds at most
	OpAbort       OpKind = 8  // until the client is gone
	OpCapture     OpKind = 40 // Data: subrequests, Data2: the request's fields; the host performs it
	OpSpec        OpKind = 56 // Data: what a spec asks its host for; Perform does not know it

	OpHost OpKind = 64
)

// Results of ops that know no better: PG_RES_*.
const (
	ResultOK      int32 = 0
	ResultAborted int32 = -1
	ResultTimeout int32 = -2
)

// An Op is one thing that an exchange waits for: time, I/O, another exchange.
//
// Who waits makes the Op and keeps its memory: a Slot for what its script
// yielded, the host for its own. It is handed to who performs it, who owns it
// until calling Owner.Complete, exactly once, from any thread. Ops of one
// owner may complete in any order; the owner resumes whoever waited for each.
//
// Cancelling: the owner that no longer wants an op still gets its completion.
// It calls Cancel; the performer, who said by OnCancel how to be interrupted,
// then ends early. No op is ever forgotten while somebody may write to it.
type Op struct {
	Kind        OpKind
	Seconds     float64   // op_num: OpSleep: how long
	Number2     float64   // op_num2
	Int, Int2   int32     // arguments of the kind
	Data, Data2 []byte    // arguments of the kind: the Op's own copies
	Until       time.Time // the wait ends then at the latest; zero: no bound

	// The outcome, written by the performer before Complete.
	Result int32   // for the script: its op's result code
	Number float64 // for the script, where a kind has a second result
	Reply  []byte  // for the script: lent to it when it goes on
	Err    error   // for native waits

	// Tag is the host's own: luavm does not read it.
	Tag uint32
	// Owner takes the completed op.
	Owner Owner

	run    *run // the handler whose thread yielded this op; nil for native waits
	thread *shim.Thread
	w      *waiter
	next   *Op
}

// An Owner is who waits for ops.
type Owner interface {
	// Complete takes back an op that has been performed. It may be called
	// from any thread and must not block or run scripts: it notes the op and
	// lets the owner's own thread go on.
	Complete(*Op)
}

// waiter is the memory of a thread's op and what ends it early.
type waiter struct {
	op    Op
	slot  *Slot
	timer *time.Timer
	// signal has an entry after a cancel or a wake.
	signal chan struct{}
	// away: the op was handed out and has not come back.
	away atomic.Bool

	mu       sync.Mutex
	canceled bool
	woken    bool
	result   int32 // of the wake
	end      func()
	told     func() // see OnInterrupt
}

// Next is the op that came up after this one in the same run, or nil.
func (op *Op) Next() *Op { return op.next }

// VM is where the script runs that waits for the op; nil for native waits.
func (op *Op) VM() *VM {
	if op.w == nil {
		return nil
	}
	return op.w.slot.vm
}

// Slot is the exchange's seat whose script waits; nil for native waits.
func (op *Op) Slot() *Slot {
	if op.w == nil {
		return nil
	}
	return op.w.slot
}

// OnCancel says how the performer is interrupted; nil: not any more. end is
// called at most once, from any thread, at once if the op is cancelled
// already. It must not block.
func (op *Op) OnCancel(end func()) {
	if op.w == nil {
		return
	}
	op.w.mu.Lock()
	now := op.w.canceled
	op.w.end = end
	if now {
		op.w.end = nil
	}
	op.w.mu.Unlock()
	if now && end != nil {
		end()
	}
}

// Canceled tells whether nobody wants the op's outcome any more.
func (op *Op) Canceled() bool {
	if op.w == nil {
		return false
	}
	op.w.mu.Lock()
	defer op.w.mu.Unlock()
	return op.w.canceled
}

// Cancel makes the performer end early. The op still completes.
func (op *Op) Cancel() { op.w.interrupt(false, ResultAborted) }

// Wake ends an op that waits for somebody's word (OpSemaphore, OpAbort) with
// result.
func (op *Op) Wake(result int32) { op.w.interrupt(true, result) }

// interrupt ends the op early; false: it has come back already.
func (w *waiter) interrupt(wake bool, result int32) bool {
	if !w.away.Load() {
		return false
	}
	w.mu.Lock()
	end := w.end
	if wake {
		w.woken, w.result = true, result
		end = nil
	} else {
		w.canceled = true
		w.end = nil
	}
	told := w.told
	w.told = nil
	select {
	case w.signal <- struct{}{}:
	default:
	}
	w.mu.Unlock()
	if end != nil {
		end()
	}
	if told != nil {
		told()
	}
	return true
}

// mend sees to it that what a dead thread was woken for goes to another; its op
// has come back.
func (w *waiter) mend() {
	w.mu.Lock()
	lost := w.woken && w.op.Kind == OpSemaphore
	w.mu.Unlock()
	if lost {
		w.slot.vm.timers.arm(mendID, 0, nil)
	}
}

// handOut makes the waiter ready for another op.
func (w *waiter) handOut() {
	w.mu.Lock()
	w.canceled, w.woken, w.end, w.told = false, false, nil, nil
	select {
	case <-w.signal:
	default:
	}
	w.mu.Unlock()
	w.away.Store(true)
}
