package luavm

import (
	"time"

	"perigee/luavm/shim"
)

// run is the one way into Lua for exchanges. ref < 0: the thread that waited
// for done goes on.
func (vm *VM) run(s *Slot, r *run, ref int32, done *Op, in *Input) Outcome {
	call := shim.Call{Slot: s.c, Run: r.c, Ref: ref, Budget: vm.budget(r.script)}
	if in == nil {
		in = &Input{}
	}
	if done != nil {
		call.Thread = done.thread
		if len(done.Reply) > 0 {
			with := *in
			with.Data = done.Reply
			in = &with
		}
	}
	vm.lock()
	if vm.condition.Load() == vmLost {
		vm.unlock()
		return Outcome{End: End{Kind: Failed}, Err: vm.lost(r.script)}
	}
	s.used = true
	if ref >= 0 {
		vm.begun(r)
	}
	var (
		status = vm.resume(&call, in)
		end    = End{Kind: Failed}
		op     *Op
		err    *ScriptError
		ran    = time.Duration(vm.state.RunNS())
	)
	if s.follows.script != nil {
		ran -= s.goneOn(r)
	}
	vm.stats[r.script.index].add(ref >= 0, int64(ran))
	switch status {
	case shim.Done:
		end.Kind = Done
	case shim.Wait:
		end.Kind, op = Wait, s.handAll(r)
	case shim.Exit:
		end = End{Exit, s.c.ExitCode}
	default:
		err = vm.failed(status, r)
	}
	if end.Kind != Wait {
		vm.ended(r)
	}
	if status != shim.Poisoned {
		if kept := vm.state.KeptSockets(); kept != vm.sweeper.kept {
			vm.sweeper.watch(vm, kept)
		}
	}
	if vm.panicked != nil || vm.state.Stirred() {
		vm.clear(s, status)
	} else {
		vm.unlock()
	}
	return Outcome{end, op, err, ran}
}

// clear takes in what a run has left beside its outcome, and unlocks the VM.
func (vm *VM) clear(s *Slot, status shim.Status) {
	if status != shim.Poisoned {
		vm.heed(s)
		if vm.state.Starved() {
			vm.starved()
		}
	}
	lines, panicked := vm.takeLines(), vm.panicked
	vm.panicked = nil
	vm.unlock()
	lines.send(vm.pool, s)
	if panicked != nil {
		panic(panicked)
	}
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
