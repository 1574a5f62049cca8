package luavm

import (
	"errors"
	"time"
)

// replace puts the spare where vm was; vm is lost or retired and locked by
// the caller. The spare's init_worker runs on the keeper's thread: exchanges
// that come before it is done wait for the lock, as they would for a script.
func (p *Pool) replace(vm *VM) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() || p.places[vm.id].Load() != vm {
		return
	}
	next := p.spare
	if next == nil || p.options.InitWorkerWaits { // exchanges do not wait for waits
		p.tell(func() { p.refill(vm) })
		return
	}
	p.spare = nil
	p.alive[next] = struct{}{}
	next.id = vm.id
	next.condition.Store(vmStarting)
	next.lock()
	p.places[vm.id].Store(next)
	p.tell(func() {
		p.welcome(next)
		next.unlock()
	})
}

// welcome runs init_worker of a VM that takes another's place; vm.id is set
// and vm locked.
func (p *Pool) welcome(vm *VM) {
	if err := p.forgive(vm.enter()); err != nil {
		p.complain("init_worker of a replaced VM: ", err)
	}
	vm.condition.CompareAndSwap(vmStarting, vmServing)
	vm.timers.open()
	if p.exiting.Load() {
		vm.exit()
	}
	if vm.condition.Load() == vmLost { // by its init_worker: later it may do better
		time.AfterFunc(time.Second, func() { p.tell(func() { p.refill(vm) }) })
	}
}

// forgive logs an error raised in init_worker; others it returns.
func (p *Pool) forgive(err error) error {
	var raised *ScriptError
	if !errors.As(err, &raised) || raised.Kind == ErrSyntax && !p.options.InitWorkerMayBreak {
		return err
	}
	p.options.Log(nil, LevelErr, []byte("init_worker_by_lua error: "+raised.Message+"\n"+raised.Traceback))
	return nil
}

// refill finds a VM for a place that has none.
func (p *Pool) refill(was *VM) {
	if p.closed.Load() || p.places[was.id].Load() != was {
		return
	}
	p.mu.Lock()
	next := p.spare
	p.spare = nil
	p.mu.Unlock()
	if next == nil {
		var err error
		if next, err = openVM(p); err != nil {
			p.complain("cannot replace a VM: ", err)
			return
		}
	}
	next.id = was.id
	next.lock()
	p.mu.Lock()
	p.alive[next] = struct{}{}
	p.mu.Unlock()
	p.welcome(next)
	next.unlock()
	p.places[was.id].Store(next)
}

func (p *Pool) complain(what string, err error) {
	p.options.Log(nil, LevelErr, []byte(what+err.Error()))
}

// tell hands work to the keeper without ever blocking a request.
func (p *Pool) tell(f func()) {
	select {
	case p.work <- f:
	default:
		go func() {
			select {
			case p.work <- f:
			case <-p.done:
			}
		}()
	}
}

// keep builds spares and closes VMs, off the request path, until the pool is
// closed and empty.
func (p *Pool) keep() {
	p.makeSpare()
	for f := range p.work {
		f()
		p.makeSpare()
		if p.finished() {
			close(p.done)
			return
		}
	}
}

func (p *Pool) makeSpare() {
	p.mu.Lock()
	need := p.spare == nil && !p.closed.Load()
	p.mu.Unlock()
	if !need {
		return
	}
	vm, err := openVM(p)
	if err != nil {
		p.complain("cannot build a spare VM: ", err)
		return
	}
	p.mu.Lock()
	p.spare = vm
	p.mu.Unlock()
}

// mayEmpty is told when a VM has lost a user: one that takes no new exchanges
// may have none left.
func (p *Pool) mayEmpty(vm *VM) {
	if vm.condition.Load() != vmServing || p.closed.Load() {
		p.tell(func() { p.dispose(vm) })
	}
}

// dispose closes a VM that is out of use; asked twice it does nothing.
func (p *Pool) dispose(vm *VM) {
	p.mu.Lock()
	_, ours := p.alive[vm]
	serving := p.places[vm.id].Load() == vm && !p.closed.Load()
	if !ours || serving || !vm.quit() {
		p.mu.Unlock()
		return
	}
	delete(p.alive, vm)
	p.gone.add(vm)
	p.mu.Unlock()
	vm.leave()
	vm.close()
}

func (p *Pool) finished() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed.Load() && p.spare == nil && len(p.alive) == 0
}
