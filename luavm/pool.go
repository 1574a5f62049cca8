package luavm

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"perigee/luavm/shim"
)

// A Pool is one generation's VMs and scripts.
//
//	NewPool -> Add... -> Start -> Pin/Release... -> Close -> Done
//
// Add and Start are for one thread; after Start everything is safe for any.
type Pool struct {
	options Options
	scripts []*Script
	worker  *Script          // InitWorker
	timer   *Script          // what runs the handlers of ngx.timer
	checker *shim.State      // compiles what Add gets; gone after Start
	gates   map[string]*gate // of thread pools
	ring    *shim.Ring       // log lines for ngx.errlog, or nil

	places  []atomic.Pointer[VM] // by worker
	closed  atomic.Bool
	exiting atomic.Bool
	done    chan struct{}
	work    chan func() // for the keeper goroutine; never blocks: see tell

	mu    sync.Mutex
	spare *VM              // booted, without a worker id
	alive map[*VM]struct{} // all that are not closed, but the spare
	gone  retiredStats
}

var watchdog = sync.OnceValue(func() error {
	grace := 250 * time.Millisecond
	if !Hardened() {
		// Compiled loops ignore stage 1 there: waiting for it gains nothing.
		grace = 10 * time.Millisecond
	}
	return shim.StartWatchdog(int64(time.Millisecond), int64(grace))
})

// NewPool checks options and the linked LuaJIT. It opens no VM yet.
func NewPool(options Options) (*Pool, error) {
	options.defaults()
	if options.WorkerBase < 0 || options.WorkerBase+options.Workers > options.WorkerCount {
		return nil, fmt.Errorf("luavm: workers %d..%d do not fit into a worker count of %d",
			options.WorkerBase, options.WorkerBase+options.Workers-1, options.WorkerCount)
	}
	if err := checkLibrary(); err != nil {
		return nil, err
	}
	if err := watchdog(); err != nil {
		return nil, err
	}
	checker, err := shim.Open(shim.Limits{})
	if err != nil {
		return nil, err
	}
	var ring *shim.Ring
	if options.Capture > 0 {
		if ring = shim.NewRing(options.Capture); ring == nil {
			checker.Close()
			return nil, fmt.Errorf("luavm: no memory to capture %d bytes of log lines", options.Capture)
		}
	}
	return &Pool{
		options: options, checker: checker, ring: ring,
		gates:  options.Threads.gates(options.Workers),
		places: make([]atomic.Pointer[VM], options.Workers),
		alive:  map[*VM]struct{}{},
		done:   make(chan struct{}),
	}, nil
}

// Add takes a script into the pool and compiles it, so that an error is known
// at once: a *ScriptError.
func (p *Pool) Add(src Source) (*Script, error) {
	if p.checker == nil {
		panic("BUG: script added after Start")
	}
	if _, err := p.checker.Compile(src.Chunk, src.Text, ""); err != nil {
		return nil, &ScriptError{Kind: ErrSyntax, Message: err.Error(), Script: src.Name}
	}
	sc := &Script{pool: p, source: src, index: len(p.scripts)}
	p.scripts = append(p.scripts, sc)
	return sc, nil
}

// Start builds the VMs: lualib, init, scripts, init_worker. An error leaves
// nothing behind. One that init_worker raises is logged and no reason not to
// start, as in nginx.
func (p *Pool) Start() error {
	if err := p.checkExit(); err != nil {
		return err
	}
	p.checker.Close()
	p.checker = nil
	p.worker = &Script{pool: p, source: p.options.InitWorker, index: len(p.scripts)}
	p.timer = &Script{pool: p, source: Source{Name: "ngx.timer"}, index: len(p.scripts) + 1}
	p.scripts = append(p.scripts, p.worker, p.timer)
	for id := range p.places {
		vm, err := openVM(p)
		if err == nil {
			vm.id = id
			p.alive[vm] = struct{}{}
			vm.lock()
			err = p.forgive(vm.enter())
			vm.unlock()
		}
		if err != nil {
			for vm := range p.alive {
				vm.close()
			}
			return err
		}
		p.places[id].Store(vm)
	}
	for id := range p.places {
		p.places[id].Load().timers.open()
	}
	p.work = make(chan func(), 4*len(p.places)+4)
	go p.keep()
	return nil
}

// Pin gives an exchange its seat, in the VM that hint names if it is free,
// else in another that is, else in the first. The seat is kept until
// Slot.Release. ErrBusy: every VM has too many suspended exchanges. With
// Options.Fresh the error may be Init's, a *ScriptError.
func (p *Pool) Pin(hint uint64) (*Slot, error) {
	if p.closed.Load() {
		return nil, ErrClosed
	}
	if p.options.Fresh {
		return p.fresh(hint)
	}
	n := uint64(len(p.places))
	for i := range n {
		vm := p.places[(hint+i)%n].Load()
		if vm.idle() {
			if s := p.seat(vm); s != nil {
				return s, nil
			}
		}
	}
	for i := range n {
		if s := p.seat(p.places[(hint+i)%n].Load()); s != nil {
			return s, nil
		}
	}
	// A VM that is retired serves on while its successor is being built: that is
	// better than to refuse.
	for i := range n {
		vm := p.places[(hint+i)%n].Load()
		if int(vm.suspended.Load()) < p.options.MaxSuspended {
			if s := vm.take(); s != nil {
				return s, nil
			}
		}
	}
	return nil, ErrBusy
}

// PinTo is Pin in the VM of one worker, counted round if there are fewer: for
// event loops, each of which has a VM that others seldom use.
func (p *Pool) PinTo(worker int) (*Slot, error) {
	if p.closed.Load() {
		return nil, ErrClosed
	}
	if p.options.Fresh {
		return p.fresh(uint64(worker))
	}
	at := worker
	if at >= len(p.places) { // a division takes longer than the rest
		at %= len(p.places)
	}
	if s := p.seat(p.places[at].Load()); s != nil {
		return s, nil
	}
	return p.Pin(uint64(worker))
}

// Beside gives a seat for a subrequest, in the same VM; with Options.Fresh in
// one of its own, as in nginx.
func (s *Slot) Beside() (*Slot, error) {
	vm := s.vm
	if vm.fresh {
		return vm.pool.fresh(uint64(vm.id))
	}
	if int(vm.suspended.Load()) < vm.pool.options.MaxSuspended {
		if other := vm.take(); other != nil {
			return other, nil
		}
	}
	return nil, ErrBusy
}

func (p *Pool) seat(vm *VM) *Slot {
	if int(vm.suspended.Load()) >= p.options.MaxSuspended {
		return nil
	}
	return vm.pin()
}

// SetExiting makes ngx.worker.exiting() true in all VMs: the generation ends.
// Pending timers fire at once, as premature; those that still run when
// Options.Drain has passed are dropped.
func (p *Pool) SetExiting() {
	p.exiting.Store(true)
	for _, vm := range p.all() {
		vm.lock()
		vm.exit()
		vm.unlock()
	}
}

// EndTimers drops the handlers of timers that are under way and pending ones:
// the process ends.
func (p *Pool) EndTimers() {
	for _, vm := range p.all() {
		vm.timers.end(true)
		p.mayEmpty(vm)
	}
}

// Timers is how many handlers of timers are pending or under way.
func (p *Pool) Timers() (n int) {
	for _, vm := range p.all() {
		n += vm.timers.count()
	}
	return n
}

// all are the VMs that are not closed.
func (p *Pool) all() []*VM {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*VM, 0, len(p.alive))
	for vm := range p.alive {
		all = append(all, vm)
	}
	return all
}

// Close lets no new exchange in. VMs are closed as their exchanges release
// their slots and timers end (see SetExiting); Done tells when all are. It does
// not wait.
func (p *Pool) Close() {
	if p.checker != nil {
		p.checker.Close()
		p.checker = nil
	}
	if p.closed.Swap(true) {
		return
	}
	if p.work == nil {
		close(p.done)
		return
	}
	p.tell(func() {
		p.mu.Lock()
		spare := p.spare
		p.spare = nil
		p.mu.Unlock()
		if spare != nil {
			spare.close()
		}
	})
	go func() { // not the keeper: a VM that it is to welcome may be locked
		p.SetExiting()
		p.tell(func() {
			for _, vm := range p.all() {
				p.dispose(vm)
			}
		})
	}()
}

// Done is closed when the pool is closed and all its VMs are.
func (p *Pool) Done() <-chan struct{} { return p.done }

// Workers is the number of VMs.
func (p *Pool) Workers() int { return len(p.places) }

func checkLibrary() error {
	if shim.Version() == "" {
		_, err := shim.Open(shim.Limits{})
		return err
	}
	return libraryProblem()
}

var libraryProblem = sync.OnceValue(func() error {
	state, err := shim.Open(shim.Limits{})
	if err != nil {
		return err
	}
	defer state.Close()
	missing, err := state.Eval(`
		local ok, nkeys = pcall(require, "table.nkeys")
		local found = ok and nkeys({ 1, a = 2 }) == 2
		return not jit and "jit" or not found and "table.nkeys" or ""`)
	if err == nil && missing != "" {
		err = errors.New("it lacks " + missing)
	}
	if err != nil {
		return fmt.Errorf("luavm: the linked Lua is not OpenResty's LuaJIT: %w (run `make deps`)", err)
	}
	return nil
})
