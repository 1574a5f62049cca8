package luavm

// checkExit tells of an ExitWorker that does not compile while it can still be
// refused.
func (p *Pool) checkExit() error {
	src := &p.options.ExitWorker
	if src.Text == "" {
		return nil
	}
	if _, err := p.checker.Compile(src.Chunk, src.Text, ""); err != nil {
		return &ScriptError{Kind: ErrSyntax, Message: err.Error(), Script: src.Name}
	}
	return nil
}

// renew replaces a VM whose script has asked for it, once there is another.
func (p *Pool) renew(vm *VM) {
	p.makeSpare()
	vm.lock()
	defer vm.unlock()
	vm.retire()
}

// leave runs ExitWorker in a VM that nobody uses any more.
func (vm *VM) leave() {
	if vm.fresh || vm.condition.Load() == vmLost {
		return
	}
	vm.lock()
	vm.state.VM().Exiting = 1
	err := vm.once(vm.pool.options.ExitWorker, PhaseExitWorker)
	vm.unlock()
	if err != nil {
		vm.pool.complain("exit_worker_by_lua error: ", err)
	}
}
