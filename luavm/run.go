package luavm

import (
	"time"

	"perigee/luavm/shim"
)

// run is the one way into Lua for exchanges. ref < 0: the thread that waited
// for done goes on.
func (vm *VM) run(s *Slot, r *run, ref int32, done *Op, in *Input) Outcome {
	var lent shim.Inputs
	var thread *shim.Thread
	if in != nil {
		// One by one: a copy of the whole in wide words waits for the narrow ones
		// that have just been written.
		lent[shim.InHead], lent[shim.InResp] = in.Head, in.Resp
		lent[shim.InBody], lent[shim.InData] = in.Body, in.Data
	}
	if done != nil {
		thread = done.thread
		if len(done.Reply) > 0 {
			lent[shim.InData] = done.Reply
		}
	}
	vm.lock()
	if vm.condition.Load() == vmLost {
		vm.unlock()
		return Outcome{Kind: Failed, Err: vm.lost(r.script)}
	}
	s.used = true
	if ref >= 0 {
		vm.begun(r)
	}
	status := vm.resume(shim.Call{Slot: s.c, Run: r.c, Ref: ref, Thread: thread, Budget: vm.budget(r.script)}, &lent)
	vm.settle()
	out := Outcome{Kind: Failed, Ran: time.Duration(vm.state.RunNS())}
	out.Ran -= s.goneOn(r)
	vm.stats[r.script.index].add(ref >= 0, int64(out.Ran))
	switch status {
	case shim.Done:
		out.Kind = Done
	case shim.Wait:
		out.Kind, out.Op = Wait, s.handAll(r)
	case shim.Exit:
		out.Kind, out.Status = Exit, s.c.ExitCode
	default:
		out.Err = vm.failed(status, r)
	}
	if out.Kind != Wait {
		vm.ended(r)
	}
	if status != shim.Poisoned {
		vm.heed(s)
		vm.sweeper.watch(vm)
		if vm.state.Starved() {
			vm.starved()
		}
	}
	lines := vm.takeLines()
	panicked := vm.panicked
	vm.panicked = nil
	vm.unlock()
	if panicked != nil {
		panic(panicked)
	}
	if lines != nil {
		lines.send(vm.pool, s)
	}
	return out
}

// begun and ended frame a handler; mu is held.
func (vm *VM) begun(r *run) {
	r.active = true
	if r.script == vm.pool.timer {
		vm.state.VM().TimersRunning++
	}
}

func (vm *VM) ended(r *run) {
	if r.active && r.script == vm.pool.timer && vm.condition.Load() != vmLost {
		vm.state.VM().TimersRunning--
	}
	r.active = false
}

// handAll makes the ops of all threads that began to wait, in their order.
func (s *Slot) handAll(r *run) (first *Op) {
	var last *Op
	for t := r.c.TakeFresh(); t != nil; t = t.Next {
		op := s.hand(r, t)
		if last == nil {
			first = op
		} else {
			last.next = op
		}
		last = op
	}
	return first
}

// heed does what runs have noted, those of scripts in s: nil outside of
// exchanges. mu is held.
func (vm *VM) heed(s *Slot) {
	notes := vm.state.Notes()
	if notes == nil {
		return
	}
	for i := range notes {
		n := &notes[i]
		switch n.Kind {
		case shim.NoteCancel:
			if w := vm.waiter(n); w != nil {
				w.interrupt(false, ResultAborted)
			}
		case shim.NotePipe:
			vm.processes.drop(n.A)
		case shim.NoteTimer:
			vm.timers.arm(n.A, n.Num, s)
		case shim.NoteWake:
			// A thread that was killed in the same run has passed its turn on.
			if w := vm.waiter(n); w != nil && w.op.thread.Serial == uint32(n.Num) {
				w.interrupt(true, ResultOK)
			}
		case shim.NoteClose:
			vm.conns.close(n.A)
		case shim.NoteSession:
			vm.sessions.hold(n.A, int(n.Num))
		case shim.NoteRetire:
			vm.pool.tell(func() { vm.pool.renew(vm) })
		case shim.NoteGrant:
			// The thread may have been killed, and its struct be another's now.
			w := vm.waiter(n)
			if w == nil || w.op.thread.Serial != uint32(n.Num) || !w.interrupt(true, ResultOK) {
				vm.timers.arm(mendID, 0, nil)
			}
		}
	}
	vm.state.DropNotes()
}

// waiter is the one of the thread that a note names; nil if it never waited.
func (vm *VM) waiter(n *shim.Note) *waiter {
	vm.seats.Lock()
	all := vm.seats.all
	vm.seats.Unlock()
	if n.A == 0 || int(n.A) > len(all) {
		return nil
	}
	s := all[n.A-1]
	if int(n.B) >= len(s.ops) {
		return nil
	}
	return s.ops[n.B]
}
