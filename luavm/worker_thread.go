package luavm

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"perigee/luavm/shim"
)

// OpWorkerThread runs a function of a module in a state of its own. Data is
// what lualib/ngx/worker_thread.lua has packed for it, Data2 the names of the
// thread pool and of the module, package.path and package.cpath, with NULs
// between; Reply is packed, too. PG_OP_WORKER_THREAD.
const OpWorkerThread OpKind = 47

// Threads are what ngx.run_worker_thread has to run functions in.
//
//	VM (a worker)                              Pool
//	  threads: idle, at most VMs                 pools by name: places, a queue
//	     | take                                    | enter
//	     v                                         v
//	  threadState { LuaJIT state, dicts held } -> runs, beside everything else
//	     | gather garbage, give back
//
// A function that has begun is not interrupted by the end of who waits for it:
// it may be in a call that blocks. Its state is closed when it comes back, if
// the VM is gone by then; until that it holds the shared dictionaries itself.
type Threads struct {
	Pools  map[string]ThreadPool
	VMs    int           // states per VM; 10 when 0
	Budget time.Duration // CPU time of one function; 0: no bound
}

// A ThreadPool bounds how many functions run at a time, for each VM of the
// pool, and how many more may queue.
type ThreadPool struct{ Threads, Queue int }

// gate lets so many in; the others queue.
type gate struct {
	places  chan struct{}
	queue   int64
	waiting atomic.Int64
}

func (t *Threads) gates(workers int) map[string]*gate {
	all := make(map[string]*gate, len(t.Pools))
	for name, p := range t.Pools {
		all[name] = &gate{places: make(chan struct{}, max(p.Threads, 1)*workers), queue: int64(p.Queue) * int64(workers)}
	}
	return all
}

func (t *Threads) names() string {
	var b strings.Builder
	for name := range t.Pools {
		b.WriteString(name + "\n")
	}
	return b.String()
}

var errQueueFull = errors.New("ngx_thread_task_post failed")

// enter waits for a place; false with no error: nobody wants it any more.
func (g *gate) enter(unwanted <-chan struct{}) (in bool, err error) {
	select {
	case g.places <- struct{}{}:
		return true, nil
	default:
	}
	if g.waiting.Add(1) > g.queue {
		g.waiting.Add(-1)
		return false, errQueueFull
	}
	defer g.waiting.Add(-1)
	select {
	case g.places <- struct{}{}:
		return true, nil
	case <-unwanted:
		return false, nil
	}
}

func (g *gate) leave() { <-g.places }

// threadStates are a VM's.
type threadStates struct {
	mu    sync.Mutex
	idle  []*threadState
	made  int
	ended bool
}

// threadState is a LuaJIT state that runs one function at a time.
type threadState struct {
	owner *VM
	state *shim.State
	slot  *shim.Slot
	run   *shim.Run
	dicts []*Dict
	lost  bool
}

var errNoState = errors.New("no available Lua vm")

// take gives an idle state or a new one.
func (ts *threadStates) take(vm *VM, path, cpath string) (*threadState, error) {
	ts.mu.Lock()
	if n := len(ts.idle); n > 0 {
		t := ts.idle[n-1]
		ts.idle = ts.idle[:n-1]
		ts.mu.Unlock()
		return t, nil
	}
	if ts.made >= vm.pool.options.Threads.VMs || ts.ended {
		ts.mu.Unlock()
		return nil, errNoState
	}
	ts.made++
	ts.mu.Unlock()
	t, err := openThread(vm, path, cpath)
	if err != nil {
		ts.mu.Lock()
		ts.made--
		ts.mu.Unlock()
	}
	return t, err
}

// give takes a state back, unless it is of no more use.
func (ts *threadStates) give(t *threadState) {
	limit := t.owner.pool.options.MemoryLimit
	if !t.lost {
		t.state.Collect()
	}
	used := t.state.Figures().Memory
	ts.mu.Lock()
	keep := !t.lost && !ts.ended && !t.owner.fresh && (limit == 0 || used <= limit/2)
	if keep {
		ts.idle = append(ts.idle, t)
	} else {
		ts.made--
	}
	ts.mu.Unlock()
	if !keep {
		t.close()
	}
}

// end closes the idle ones; the others follow as they come back.
func (ts *threadStates) end() {
	ts.mu.Lock()
	idle := ts.idle
	ts.idle, ts.ended = nil, true
	ts.mu.Unlock()
	for _, t := range idle {
		t.close()
	}
}

func (ts *threadStates) gone() bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.ended
}

func openThread(vm *VM, path, cpath string) (*threadState, error) {
	o := &vm.pool.options
	state, err := shim.Open(o.limits())
	if err != nil {
		return nil, err
	}
	t := &threadState{owner: vm, state: state}
	for _, d := range o.Dicts {
		d.hold()
		t.dicts = append(t.dicts, d)
	}
	strs := o.strings()
	strs["path"], strs["cpath"], strs["kind"] = path, cpath, "thread"
	if err = t.boot(strs); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *threadState) boot(strs map[string]string) error {
	lib, err := library()
	if err != nil {
		return err
	}
	o := &t.owner.pool.options
	view := t.state.VM()
	view.WorkerID = int32(o.WorkerBase + t.owner.id)
	view.WorkerCount = int32(o.WorkerCount)
	view.LogLevel = int32(o.LogLevel)
	if err := t.state.Provide(shimDicts(o.Dicts)); err != nil {
		return err
	}
	if err := t.state.Boot(lib.init, lib.modules, strs); err != nil {
		return err
	}
	if t.slot = t.state.NewSlot(1); t.slot == nil {
		return errors.New("luavm: no memory for the slot of a thread")
	}
	t.run = shim.NewRun()
	t.run.SetPhase(uint32(PhaseInitWorker)) // no request, and no warning of globals
	return nil
}

func (t *threadState) close() {
	if t.lost {
		t.state.Abandon()
		return // and what it may still reach
	}
	if t.run != nil {
		t.state.FreeRun(t.run)
	}
	if t.slot != nil {
		shim.FreeSlot(t.slot)
	}
	t.state.Close()
	for _, d := range t.dicts {
		d.Release()
	}
}

// do runs a function; packed says which one and with what.
func (t *threadState) do(packed []byte) (reply []byte, err error) {
	p := t.owner.pool
	if clock := p.options.Clock; clock != nil {
		t.state.VM().Fixed = inSeconds(clock.Now())
	}
	call := shim.Call{Slot: t.slot, Run: t.run, Ref: t.state.TimerHandler(), Budget: int64(p.options.Threads.Budget)}
	status := t.state.Resume(&call, &shim.Inputs{Data: packed})
	switch status {
	case shim.Done:
		reply = slices.Clone(t.slot.Printed())
	case shim.Wait:
		t.state.DropRun(t.slot, t.run)
		err = errors.New("attempt to yield across C-call boundary")
	case shim.Poisoned:
		t.lost = true
		return nil, errors.New("the function used more CPU than lua.threads.cpu_budget and had to be abandoned")
	default:
		message, _ := t.state.Failure()
		err = errors.New(message)
	}
	t.slot.OutLen = 0
	t.slot.Shrink()
	t.state.DropNotes()
	if text := t.state.Lines(); text != nil {
		l := &lines{text: slices.Clone(text)}
		l.lost = t.state.DropLines()
		if !t.owner.threads.gone() {
			l.send(p, nil)
		}
	}
	return reply, err
}

// performThread waits for a function on a goroutine of its own, which goes on
// if the wait is cut short.
func performThread(op *Op) {
	vm, packed := op.VM(), op.Data
	op.Data = nil
	where := strings.SplitN(string(op.Data2), "\x00", 4)
	if only := op.run.script.source.Modules; only != nil && !slices.Contains(only, where[1]) {
		op.fail("module '" + where[1] + "' is not among lua.modules of this route")
		return
	}
	if clock := vm.pool.options.Clock; clock != nil {
		clock.Running(1)
		defer clock.Running(-1)
	}
	var reply []byte
	var err error
	done, unwanted := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		reply, err = vm.runThread(packed, where, unwanted)
	}()
	var late <-chan time.Time
	if !op.Until.IsZero() {
		timer := time.NewTimer(time.Until(op.Until))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-done:
		if err != nil {
			op.fail(err.Error())
			return
		}
		op.Reply = append(op.Reply[:0], reply...)
		return
	case <-op.w.signal:
	case <-late:
	}
	close(unwanted)
	op.fail("aborted")
}

func (op *Op) fail(why string) {
	op.Result, op.Reply = ResultAborted, append(op.Reply[:0], why...)
}

// runThread runs a function in the place that where says, once there is one.
func (vm *VM) runThread(packed []byte, where []string, unwanted <-chan struct{}) ([]byte, error) {
	t, err := vm.threads.take(vm, where[2], where[3])
	if err != nil {
		return nil, err
	}
	defer vm.threads.give(t)
	gate := vm.pool.gates[where[0]]
	if in, err := gate.enter(unwanted); !in {
		return nil, err
	}
	defer gate.leave()
	return t.do(packed)
}
