package luavm

import (
	"sync/atomic"

	"perigee/luavm/shim"
)

// Parts are what a host may fill in of a slot when a script first reads it.
type Parts uint32

// The parts.
const (
	PartRequest Parts = shim.PartRequest // all variables but those named below
	PartTries   Parts = shim.PartTries   // VarUpstreamAddr and the two behind it
)

// A Filler fills parts in, by SetVar and its like. It may be called in the middle
// of a run, by the thread that is in Start or Resume; it must not run scripts, wait,
// or change what Input lends.
type Filler interface {
	Fill(s *Slot, p Parts) error
}

// Defer leaves p to by: called when a script first reads one of p, or writes one.
// What a script of a pool reads is learned by that, once: see Script.Reads. It
// replaces what the slot has of p.
func (s *Slot) Defer(p Parts, by Filler) {
	s.filler = by
	s.c.Unfilled |= uint32(p)
}

// Deferred are the parts that are to be filled in.
func (s *Slot) Deferred() Parts { return Parts(s.c.Unfilled) }

// Filled says that p need not be filled in any more: the slot has them.
func (s *Slot) Filled(p Parts) { s.c.Unfilled &^= uint32(p) }

// Reads are the parts that the script, or what it called, was seen to read or
// write where they had been deferred. A host does well to fill these in before it
// starts the script.
func (s *Script) Reads() Parts { return Parts(s.reads.Load()) }

// learned is Script.reads.
type learned struct{ atomic.Uint32 }

func (l *learned) add(p Parts) { l.Or(uint32(p)) }

// fill is the VM's shim.Filler; mu is held by the run that is under way.
func (vm *VM) fill(id, parts uint32) (ok bool) {
	vm.seats.Lock()
	s := vm.seats.all[id-1]
	vm.seats.Unlock()
	p := Parts(parts) & s.Deferred()
	if sc := s.running(); sc != nil {
		sc.reads.add(p)
	}
	defer func() {
		if why := recover(); why != nil { // it must not unwind C's frames
			vm.panicked, ok = why, false
		}
	}()
	if s.filler.Fill(s, p) != nil {
		return false
	}
	s.Filled(p)
	return true
}

// running is the script whose thread runs now.
func (s *Slot) running() *Script {
	thread := s.vm.state.VM().Thread
	for _, r := range s.runs {
		if thread == nil || r.c != (*shim.Run)(thread.Run) {
			continue
		}
		if _, _, ok := r.c.WentOn(); ok && s.follows.script != nil {
			return s.follows.script
		}
		return r.script
	}
	return nil
}
