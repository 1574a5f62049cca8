package luavm

import (
	"sync"
	"time"
)

// sweepEvery is how late an unused connection may be closed. A script never
// gets one that has expired or that its peer has left.
const sweepEvery = 500 * time.Millisecond

// A sweeper closes kept connections of a VM that nobody may use any more. It
// sleeps while there are none.
type sweeper struct {
	mu      sync.Mutex
	timer   *time.Timer
	armed   bool
	stopped bool
	kept    uint32 // State.KeptSockets as of the last look
}

// watch arms the sweeper when a run has kept a connection, which makes kept of
// them so far; mu of the VM is held.
func (s *sweeper) watch(vm *VM, kept uint32) {
	s.kept = kept
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.armed {
		s.arm(vm)
	}
}

func (s *sweeper) arm(vm *VM) {
	if s.stopped {
		return
	}
	s.armed = true
	if s.timer == nil {
		s.timer = time.AfterFunc(sweepEvery, vm.sweep)
		return
	}
	s.timer.Reset(sweepEvery)
}

func (s *sweeper) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

func (vm *VM) sweep() {
	vm.lock()
	defer vm.unlock()
	if vm.condition.Load() == vmLost {
		return
	}
	left := vm.state.SweepSockets(vm.pool.closed.Load())
	vm.heed(nil)
	s := &vm.sweeper
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	if left > 0 {
		s.arm(vm)
	}
}

// shutSockets closes what an exchange has left open.
func (vm *VM) shutSockets(s *Slot) {
	vm.lock()
	defer vm.unlock()
	if vm.condition.Load() != vmLost {
		vm.state.ShutSockets(s.c)
		vm.heed(nil)
	}
}
