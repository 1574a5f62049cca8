package exchange

import "perigee/luavm"

// What becomes of an exchange whose client leaves, or that is not wanted any
// more:
//
//	Abort   the client is gone: what is asked of endpoints is cut short
//	  |- EndOnAbort(true): Kill
//	  '- WaitAbort: a script is told instead
//	Kill    all ends: waits of scripts, subrequests, theirs
//
// All but EndOnAbort and WaitAbort may be called by anybody at any time while
// the exchange is not released. Locks are taken from parent to child.

// Abort says that the downstream is gone: what the exchange waits for at the
// upstream is cancelled. It may be called from any thread while the exchange
// is not released.
func (ex *Exchange) Abort() {
	ex.aborted.Store(true)
	ex.mu.Lock()
	cancel := ex.cancel
	waits, ends := ex.onAbort != nil, ex.ends && !ex.told
	for _, f := range ex.families {
		for _, child := range f.children {
			child.Abort()
		}
	}
	ex.mu.Unlock()
	cancel.Cancel()
	switch {
	case waits:
		ex.endWait(luavm.ResultOK)
	case ends && !ex.killed.Load():
		ex.Kill()
	}
}

// EndOnAbort says whether Abort ends the exchange as Kill does, also one that
// has been; unless a script waits for it, has been told of it, or will be.
func (ex *Exchange) EndOnAbort(ends bool) {
	ex.mu.Lock()
	ex.ends = ends
	ex.told = ex.told && ends
	kill := ends && !ex.told && ex.onAbort == nil
	ex.mu.Unlock()
	if kill && ex.Aborted() {
		ex.Kill()
	}
}

// LearnsAbort says that a script learns by itself that the client has left: it
// reads what that sends.
func (ex *Exchange) LearnsAbort() {
	ex.mu.Lock()
	ex.told = true
	ex.mu.Unlock()
}

// WaitAbort makes op, of a stage's script, wait for Abort.
func (ex *Exchange) WaitAbort(op *luavm.Op, stage Stage) {
	ex.scripts.hold(ex, op, stage)
	ex.mu.Lock()
	ex.onAbort = op
	ex.mu.Unlock()
	op.OnCancel(func() { ex.endWait(luavm.ResultAborted) })
	if ex.Aborted() {
		ex.endWait(luavm.ResultOK)
	}
}

// endWait completes the op that waits for Abort, if there is one.
func (ex *Exchange) endWait(result int32) {
	ex.mu.Lock()
	op := ex.onAbort
	ex.onAbort = nil
	ex.told = ex.told || op != nil && result == luavm.ResultOK
	ex.mu.Unlock()
	if op != nil {
		op.Result = result
		ex.Complete(op)
	}
}

// Kill makes the exchange end as soon as it can, its scripts without being
// asked: whatever it waits for is cut short. It may be called from any thread
// while the exchange is not released.
func (ex *Exchange) Kill() {
	ex.killed.Store(true)
	ex.Abort()
	ex.mu.Lock()
	for _, f := range ex.families {
		f.kill()
	}
	ex.mu.Unlock()
	ex.seat.Lock()
	if ex.Lua != nil {
		ex.Lua.Cancel()
	}
	ex.seat.Unlock()
}

// Killed tells whether the exchange is to end without running more scripts than
// those of its log stage.
func (ex *Exchange) Killed() bool { return ex.killed.Load() }

// Aborted tells whether the downstream is gone.
func (ex *Exchange) Aborted() bool { return ex.aborted.Load() }

// SetSeat gives the exchange its seat in a VM.
func (ex *Exchange) SetSeat(slot *luavm.Slot) {
	ex.seat.Lock()
	ex.Lua = slot
	ex.seated = true
	ex.seat.Unlock()
}

// LeaveSeat gives the seat back, if there is one.
func (ex *Exchange) LeaveSeat() {
	slot := ex.Lua
	if slot == nil {
		return
	}
	ex.SetSeat(nil)
	slot.Release()
}
