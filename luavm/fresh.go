package luavm

// fresh gives an exchange a seat in a VM that is made for it and closed when
// it is released: Options.Fresh. Init has run there, InitWorker has not. The
// error of Init is a *ScriptError.
func (p *Pool) fresh(hint uint64) (*Slot, error) {
	vm, err := openVM(p)
	if err != nil {
		return nil, err
	}
	vm.fresh = true
	vm.id = int(hint % uint64(len(p.places)))
	vm.state.VM().WorkerID = int32(p.options.WorkerBase + vm.id)
	vm.condition.Store(vmRetired)
	p.mu.Lock()
	closed := p.closed.Load()
	if !closed {
		p.alive[vm] = struct{}{}
	}
	p.mu.Unlock()
	if closed {
		vm.close()
		return nil, ErrClosed
	}
	vm.timers.open()
	s := vm.take()
	if s == nil {
		p.mayEmpty(vm)
		return nil, ErrBusy
	}
	return s, nil
}

// handler is the script as a function of this fresh VM, which reads and compiles
// it when it is first wanted, so that an error in one that is being edited
// concerns its own requests alone.
func (vm *VM) handler(sc *Script) (ref int32, why *ScriptError) {
	vm.lock()
	defer vm.unlock()
	if ref = vm.refs[sc.index]; ref != 0 {
		return ref, nil
	}
	if vm.condition.Load() == vmLost {
		return 0, vm.lost(sc)
	}
	ref, err := vm.compile(sc.source)
	if err != nil {
		vm.stats[sc.index].fail(err.Kind)
		return 0, err
	}
	vm.refs[sc.index] = ref
	return ref, nil
}

// text is what a VM that is made now compiles.
func (src *Source) text(fresh bool) (string, error) {
	if fresh && src.Read != nil {
		return src.Read()
	}
	return src.Text, nil
}
