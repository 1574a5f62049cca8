package luavm

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"perigee/luavm/lualib"
	"perigee/luavm/shim"
)

// What became of a VM.
const (
	vmServing  uint32 = iota
	vmRetired         // takes no new exchanges; closed when the last one left
	vmLost            // abandoned in the middle of a call: never touched again
	vmStarting        // its init_worker runs; new exchanges wait for the lock
)

// A VM is one LuaJIT state with one owner at a time: the thread that holds mu.
type VM struct {
	pool  *Pool
	id    int // ngx.worker.id() - Options.WorkerBase; its place in the pool
	state *shim.State
	refs  []int32 // by Script.index
	stats []scriptStats
	fresh bool // made for one exchange: see fresh.go

	panicked any // by a Filler, in the run under way

	mu sync.Mutex // Lua runs

	conns    conns
	sessions sessions
	sweeper  sweeper

	condition atomic.Uint32 // vmServing, ...
	suspended atomic.Int32  // runs that wait for an op

	seats struct {
		sync.Mutex
		free   *Slot
		made   uint32
		all    []*Slot // by id - 1
		pinned int
		closed bool // nobody takes a seat any more
	}

	timers    timers
	processes processes
	threads   threadStates
	drain     *time.Timer // ends timers of a VM that is to go
}

// openVM makes a VM with lualib, init and all scripts. It has no worker id
// yet: see enter.
func openVM(p *Pool) (*VM, error) {
	state, err := shim.Open(p.options.limits())
	if err != nil {
		return nil, err
	}
	state.Capture(p.ring)
	vm := &VM{pool: p, state: state}
	state.FillBy(vm.fill)
	vm.timers.vm, vm.timers.cut = vm, make(chan struct{})
	view := state.VM()
	view.TimersMaxPending = int32(max(p.options.PendingTimers, 0))
	view.TimersMaxRunning = int32(max(p.options.RunningTimers, 0))
	view.WorkerID = -1
	view.WorkerCount = int32(p.options.WorkerCount)
	view.LogLevel = int32(p.options.LogLevel)
	state.Idle().Sockets = p.options.Sockets.c
	if err := vm.boot(); err != nil {
		if vm.condition.Load() != vmLost {
			state.Close()
		}
		return nil, err
	}
	return vm, nil
}

// libraryFiles are lualib: its first file, and the others compiled.
type libraryFiles struct {
	init    []byte
	modules []shim.Module
}

var library = sync.OnceValues(func() (l libraryFiles, err error) {
	init, files := lualib.Files()
	modules := make([]shim.Module, len(files))
	for i, f := range files {
		modules[i] = shim.Module{Name: f.Name, Text: f.Text}
	}
	modules, err = shim.Compile(modules)
	return libraryFiles{init, modules}, err
})

func (vm *VM) boot() error {
	o := &vm.pool.options
	lib, err := library()
	if err != nil {
		return err
	}
	list := slices.Clip(lib.modules)
	for _, m := range o.Modules {
		list = append(list, shim.Module{Name: m.Name, Text: m.Text})
	}
	if err := vm.state.Provide(shimDicts(o.Dicts)); err != nil {
		return err
	}
	if err := vm.state.Boot(lib.init, list, o.strings()); err != nil {
		return err
	}
	if err := vm.once(o.Init, PhaseInit); err != nil {
		return err
	}
	scripts := vm.pool.scripts
	vm.refs = make([]int32, len(scripts))
	vm.stats = make([]scriptStats, len(scripts))
	for i, sc := range scripts {
		switch sc {
		case vm.pool.timer:
			vm.refs[i] = vm.state.TimerHandler()
			continue
		case vm.pool.worker:
			continue // see enter
		}
		if o.Fresh {
			continue // see handler
		}
		ref, err := vm.compile(sc.source)
		if err != nil {
			return err
		}
		vm.refs[i] = ref
	}
	if !o.Fresh {
		vm.tidy()
	}
	return nil
}

// tidy drops what booting has left behind: garbage, and LuaJIT's own buffer for
// text, which each collection halves.
func (vm *VM) tidy() {
	for range 10 {
		vm.state.Collect()
	}
}

// compile makes a function of src in this VM.
func (vm *VM) compile(src Source) (int32, *ScriptError) {
	text, err := src.text(vm.pool.options.Fresh)
	if err != nil {
		return 0, &ScriptError{Kind: ErrRuntime, Message: "cannot read the script: " + err.Error(), Script: src.Name}
	}
	ref, err := vm.state.Compile(src.Chunk, text, vm.pool.options.policy(src))
	if err != nil {
		return 0, &ScriptError{Kind: ErrSyntax, Message: err.Error(), Script: src.Name}
	}
	return ref, nil
}

// once runs src outside of any exchange.
func (vm *VM) once(src Source, phase Phase) error {
	if src.Text == "" {
		return nil
	}
	ref, err := vm.compile(src)
	if err != nil {
		return err
	}
	run := shim.NewRun()
	defer vm.state.FreeRun(run)
	run.SetPhase(uint32(phase))
	status := vm.resume(&shim.Call{Slot: vm.state.Idle(), Run: run, Ref: ref, Budget: int64(vm.pool.options.InitBudget)}, &shim.Inputs{})
	vm.heed(nil)
	lines := vm.takeLines()
	defer lines.send(vm.pool, nil)
	switch status {
	case shim.Done, shim.Exit:
		return nil
	case shim.Wait:
		vm.state.DropRun(vm.state.Idle(), run)
		return &ScriptError{Kind: ErrRuntime, Script: src.Name,
			Message: fmt.Sprintf("%s: nothing can be waited for in %s", src.Chunk[1:], phase)}
	case shim.Poisoned:
		vm.condition.Store(vmLost)
		vm.state.Abandon()
		return errors.New("luavm: " + phase.String() + " had to be abandoned: it used more CPU than InitBudget")
	}
	return vm.failure(status, src.Name)
}

// resume enters Lua, by the clock that the host gives.
func (vm *VM) resume(call *shim.Call, in *shim.Inputs) shim.Status {
	clock := vm.pool.options.Clock
	if clock == nil {
		return vm.state.Resume(call, in)
	}
	clock.Running(1)
	defer clock.Running(-1)
	vm.state.VM().Fixed = inSeconds(clock.Now())
	return vm.state.Resume(call, in)
}

func inSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

// failure reads the error of the run that ended with status.
func (vm *VM) failure(status shim.Status, script string) *ScriptError {
	e := &ScriptError{Kind: ErrRuntime, Script: script}
	switch status {
	case shim.Budget:
		e.Kind = ErrBudget
	case shim.Memory:
		e.Kind = ErrMemory
	case shim.Poisoned:
		e.Kind = ErrLost
		e.Message = "the script used more CPU than its budget and had to be abandoned with its VM"
		return e
	}
	e.Message, e.Traceback = vm.state.Failure()
	return e
}

func (vm *VM) lock() {
	if !vm.mu.TryLock() {
		vm.queue()
	}
}

// queue locks mu, which is held.
func (vm *VM) queue() {
	// A run takes a microsecond or two. A goroutine that queues at the mutex
	// costs more, and once it has waited a millisecond the mutex hands itself
	// over from one to the next; other exchanges' work is done meanwhile.
	for range 7 {
		runtime.Gosched()
		if vm.mu.TryLock() {
			return
		}
	}
	vm.mu.Lock()
}

func (vm *VM) unlock() { vm.mu.Unlock() }

// idle tells whether nobody runs Lua in it.
func (vm *VM) idle() bool {
	free := vm.mu.TryLock()
	if free {
		vm.mu.Unlock()
	}
	return free
}

// failed counts a failure and drops the VM if it was abandoned; mu is held.
func (vm *VM) failed(status shim.Status, r *run) *ScriptError {
	err := vm.failure(status, r.script.Name())
	vm.stats[r.script.index].fail(err.Kind)
	if status == shim.Poisoned {
		vm.condition.Store(vmLost)
		vm.state.Abandon()
		vm.timers.end(false)
		vm.pool.replace(vm)
	}
	return err
}

// starved retires the VM if its heap is still large after the collection that
// follows each run into the limit; mu is held.
func (vm *VM) starved() {
	limit := vm.pool.options.MemoryLimit
	if limit == 0 {
		return // it was the run's own bound
	}
	if vm.state.Figures().Memory > limit/2 && vm.retire() {
		vm.state.Allow(limit / 4) // so that those who are still here can finish
	}
}

// retire lets the VM take no new exchange and another take its place; false: it
// does not serve, or not any more. mu is held.
func (vm *VM) retire() bool {
	if !vm.condition.CompareAndSwap(vmServing, vmRetired) {
		return false
	}
	vm.exit()
	vm.pool.replace(vm)
	return true
}

func (vm *VM) lost(sc *Script) *ScriptError {
	return &ScriptError{Kind: ErrLost, Script: sc.Name(), Message: "the VM was abandoned because of another script"}
}

// pin takes a seat for a new exchange; nil when the VM takes none.
func (vm *VM) pin() *Slot {
	if vm.condition.Load() == vmRetired {
		return nil
	}
	return vm.take()
}

// take takes a seat; nil when the VM is lost or memory short.
func (vm *VM) take() *Slot {
	vm.seats.Lock()
	s := vm.seats.free
	switch {
	case vm.condition.Load() == vmLost || vm.seats.closed:
		s = nil
	case s != nil:
		vm.seats.free = s.next
		s.next = nil
	default:
		s = vm.newSeat()
	}
	if s == nil {
		vm.seats.Unlock()
		return nil
	}
	vm.seats.pinned++
	vm.seats.Unlock()
	s.c.Gen++
	if clock := vm.pool.options.Clock; clock != nil {
		s.begun = inSeconds(clock.Now())
	}
	s.UseSockets(nil)
	return s
}

// newSeat makes a seat; nil when memory is short. seats is locked.
func (vm *VM) newSeat() *Slot {
	id := vm.seats.made + 1
	c := vm.state.NewSlot(id)
	if c == nil {
		return nil
	}
	vm.seats.made = id
	s := &Slot{c: c, vm: vm}
	vm.seats.all = append(vm.seats.all, s)
	return s
}

// release takes a seat back; the last one closes a retired VM.
func (vm *VM) release(s *Slot) {
	if s.waits > 0 {
		vm.drop(s)
	}
	if vm.state.HasSockets(s.c) {
		vm.shutSockets(s)
	}
	if s.used {
		vm.state.Forget(s.c)
		s.used = false
	}
	s.reset()
	if vm.processes.n.Load() != 0 {
		vm.processes.leave(s)
	}
	vm.seats.Lock()
	s.next = vm.seats.free
	vm.seats.free = s
	vm.seats.pinned--
	last := vm.seats.pinned == 0
	vm.seats.Unlock()
	if last {
		vm.pool.mayEmpty(vm)
	}
}

// exit tells scripts that the VM ends; mu is held.
func (vm *VM) exit() {
	if vm.condition.Load() == vmLost || vm.state.VM().Exiting != 0 {
		return
	}
	vm.state.VM().Exiting = 1
	vm.timers.expire()
	vm.drain = time.AfterFunc(vm.pool.options.Drain, func() {
		vm.timers.end(true)
		vm.pool.mayEmpty(vm)
	})
}

// quit closes the seats if nobody uses the VM and no timer will.
func (vm *VM) quit() bool {
	vm.seats.Lock()
	defer vm.seats.Unlock()
	vm.seats.closed = vm.seats.pinned == 0 && !vm.timers.busy()
	return vm.seats.closed
}

// drop ends handlers that nobody will resume.
func (vm *VM) drop(s *Slot) {
	vm.lock()
	defer vm.unlock()
	for _, w := range s.ops {
		if w != nil && w.away.Swap(false) {
			w.mend()
			vm.suspended.Add(-1)
		}
	}
	for _, r := range s.runs {
		vm.ended(r)
		if vm.condition.Load() != vmLost {
			vm.state.DropRun(s.c, r.c)
		}
	}
	if vm.condition.Load() != vmLost {
		vm.heed(s)
	}
	s.waits = 0
}

const keepBuffer = 16 << 10 // as KEEP in buffers.c

// reset makes a seat as new, but for its gen.
func (s *Slot) reset() {
	c := s.c
	s.Owner, s.until, s.follows = nil, time.Time{}, following{}
	if c.LogCap > keepBuffer || c.OutCap > keepBuffer || c.ArenaCap > keepBuffer {
		c.Shrink()
	}
	if c.ArenaLen > 0 { // all there are point there
		clear(c.Vars[:])
	}
	c.ArenaLen, c.LogLen, c.LogDone, c.OutLen, c.ExtraN = 0, 0, 0, 0, 0
	c.Flags, c.Status, c.ExitCode, c.HasExit = 0, 0, 0, 0
	c.ChunkLast, c.ChunkSet, c.CtxKey, c.Unfilled = 0, 0, 0, 0
}

// close frees the state and all seats; no slot is pinned and no lock held.
func (vm *VM) close() {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	lost := vm.condition.Swap(vmLost) == vmLost
	vm.timers.end(true)
	if vm.drain != nil {
		vm.drain.Stop()
	}
	for s := vm.seats.free; s != nil; s = s.next {
		for _, r := range s.runs {
			if lost {
				shim.FreeLostRun(r.c)
			} else {
				vm.state.FreeRun(r.c)
			}
		}
		if !lost {
			shim.FreeSlot(s.c)
		}
		s.runs = nil
	}
	vm.seats.free = nil
	vm.conns.end()
	vm.threads.end()
	vm.sweeper.stop()
	if !lost {
		vm.state.ShutSockets(vm.state.Idle())
		vm.state.SweepSockets(true)
		vm.state.Close()
	}
}

// eval runs code on the main thread; for tests.
func (vm *VM) eval(code string) (string, error) {
	vm.lock()
	defer vm.unlock()
	return vm.state.Eval(code)
}
