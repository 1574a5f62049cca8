package luavm

import (
	"errors"
	"time"
)

// enter gives the VM its worker id and runs init_worker. mu is held, but while
// init_worker waits.
func (vm *VM) enter() error {
	o := &vm.pool.options
	vm.state.VM().WorkerID = int32(o.WorkerBase + vm.id)
	if o.InitWorkerWaits && o.InitWorker.Text != "" {
		return vm.enterWaiting()
	}
	return vm.once(o.InitWorker, PhaseInitWorker)
}

func (vm *VM) enterWaiting() error {
	sc, limit := vm.pool.worker, vm.pool.options.InitTime
	ref, err := vm.compile(sc.source)
	if err != nil {
		return err
	}
	vm.refs[sc.index] = ref
	vm.unlock()
	defer vm.lock()
	s := vm.take()
	if s == nil {
		return errors.New("luavm: no memory for init_worker")
	}
	defer s.Release()
	s.SetFlags(FlagWaits)
	stop := make(chan struct{})
	defer time.AfterFunc(limit, func() { close(stop) }).Stop()
	out := s.driveUntil(s.Start(sc, PhaseInitWorker, nil), stop)
	switch {
	case out.Kind == Gone:
		return &ScriptError{Kind: ErrRuntime, Script: sc.Name(), Message: "init_worker waited longer than " + limit.String()}
	case out.Kind != Failed:
		return nil
	case out.Err.Kind == ErrLost:
		return errors.New("luavm: " + out.Err.Message)
	}
	return out.Err
}

// budget is the CPU time of a run of sc.
func (vm *VM) budget(sc *Script) int64 {
	if sc == vm.pool.worker {
		return int64(vm.pool.options.InitBudget)
	}
	return int64(vm.pool.options.CPUBudget)
}
