package luavm

import "sync/atomic"

// scriptStats counts one script in one VM. One writer, who holds the VM's
// lock; readers need none.
type scriptStats struct {
	runs, resumes atomic.Uint64
	ns            atomic.Int64
	errors        [len(ErrorKinds)]atomic.Uint64
}

func (s *scriptStats) add(start bool, ns int64) {
	if start {
		s.runs.Store(s.runs.Load() + 1)
	} else {
		s.resumes.Store(s.resumes.Load() + 1)
	}
	s.ns.Store(s.ns.Load() + ns)
}

func (s *scriptStats) fail(kind ErrorKind) {
	for i, k := range ErrorKinds {
		if k == kind {
			s.errors[i].Store(s.errors[i].Load() + 1)
		}
	}
}

// ScriptStats are the counts of one script over all VMs of its pool.
type ScriptStats struct {
	Name    string
	Runs    uint64  // handlers started
	Resumes uint64  // continuations after waits
	Seconds float64 // wall time in Lua
	Errors  [len(ErrorKinds)]uint64
}

// VMStats describe one VM.
type VMStats struct {
	Worker        int     // ngx.worker.id()
	Memory, Peak  uint64  // bytes of Lua heap
	Slots         int     // exchanges that are pinned
	Suspended     int     // handlers that wait
	LockedSeconds float64 // time spent in Lua so far: its growth over time is the locked share
	Crossings     uint64  // entries from Go into C
}

// Stats describe a pool. Counters include VMs that are gone.
type Stats struct {
	Scripts []ScriptStats
	VMs     []VMStats
	Retired uint64 // VMs replaced because their heap stayed large
	Lost    uint64 // VMs abandoned by the watchdog
}

// retiredStats is what is left of VMs that were replaced; Pool.mu guards it.
type retiredStats struct {
	retired, lost uint64
	scripts       []ScriptStats
}

func (g *retiredStats) add(vm *VM) {
	switch vm.condition.Load() {
	case vmRetired:
		if !vm.fresh {
			g.retired++
		}
	case vmLost:
		g.lost++
	}
	if g.scripts == nil {
		g.scripts = make([]ScriptStats, len(vm.stats))
	}
	vm.addTo(g.scripts)
}

func (vm *VM) addTo(to []ScriptStats) {
	for i := range vm.stats {
		from := &vm.stats[i]
		to[i].Runs += from.runs.Load()
		to[i].Resumes += from.resumes.Load()
		to[i].Seconds += float64(from.ns.Load()) / 1e9
		for k := range from.errors {
			to[i].Errors[k] += from.errors[k].Load()
		}
	}
}

// Stats reads the counters. It locks no VM.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := Stats{Scripts: make([]ScriptStats, len(p.scripts)), Retired: p.gone.retired, Lost: p.gone.lost}
	copy(st.Scripts, p.gone.scripts)
	for i, sc := range p.scripts {
		st.Scripts[i].Name = sc.Name()
	}
	for vm := range p.alive {
		vm.addTo(st.Scripts)
		switch vm.condition.Load() {
		case vmRetired:
			if !vm.fresh {
				st.Retired++
				continue
			}
		case vmLost:
			st.Lost++
			continue
		}
		vm.seats.Lock()
		slots := vm.seats.pinned
		vm.seats.Unlock()
		f := vm.state.Figures() // it is alive: closed only when it is not, behind p.mu
		st.VMs = append(st.VMs, VMStats{
			Worker: p.options.WorkerBase + vm.id,
			Memory: f.Memory, Peak: f.Peak,
			Slots: slots, Suspended: int(vm.suspended.Load()),
			LockedSeconds: float64(f.RanNS) / 1e9,
			Crossings:     f.Crossings,
		})
	}
	return st
}
