package script

import (
	"fmt"
	"regexp"

	"perigee/luavm"
	"perigee/proxy/unit"
)

// Threads are what ngx.run_worker_thread runs functions in.
type Threads struct {
	// Pools bound how many functions run at a time, by the names that scripts
	// give. A script that names another is told "thread pool ... not found".
	// nginx: thread_pool.
	Pools map[string]ThreadPool `yaml:"pools,omitempty"`
	// VMs is how many LuaJIT states each VM may have for functions; they are made
	// when they are wanted and kept. Default 0: 10. Each may grow to memory_limit.
	// nginx: lua_worker_thread_vm_pool_size.
	VMs int `yaml:"vms"`
	// CPUBudget is how much CPU time one function may use before it is stopped
	// with an error. What it spends in calls that block does not count. Default
	// 60s; 0 means no limit, as in nginx.
	CPUBudget unit.Duration `yaml:"cpu_budget"`
}

// ThreadPool is one of lua.threads.pools.
type ThreadPool struct {
	// Threads is how many functions run at a time, for each VM. Default 32.
	Threads int `yaml:"threads"`
	// Queue is how many more may wait for their turn, for each VM; beyond it the
	// script is told "ngx_thread_task_post failed". Default 65536.
	Queue int `yaml:"queue"`
}

// SetDefaults gives CPUBudget its default.
func (t *Threads) SetDefaults() { t.CPUBudget = unit.Duration(60e9) }

// SetDefaults gives both nginx's.
func (p *ThreadPool) SetDefaults() { p.Threads, p.Queue = 32, 65536 }

var poolName = regexp.MustCompile(`^[^\s\x00]+$`)

func (t *Threads) check(report func(path, message, hint string)) {
	if t.VMs < 0 || t.VMs > 1024 {
		report("threads.vms", fmt.Sprintf("%d is no number of states", t.VMs), "write 1 to 1024, or 0 for the default")
	}
	if t.CPUBudget != 0 && t.CPUBudget.Std() < 1e6 {
		report("threads.cpu_budget", fmt.Sprintf("duration %q is shorter than the watch can measure", t.CPUBudget), "write at least 1ms, or 0 for no limit")
	}
	for name, p := range t.Pools {
		at := unit.Join("threads.pools", name)
		if !poolName.MatchString(name) {
			report("threads.pools", fmt.Sprintf("%q cannot be a thread pool's name", name), "write a name without blanks, such as default")
		}
		if p.Threads < 1 || p.Threads > 10000 {
			report(unit.Join(at, "threads"), fmt.Sprintf("%d is no number of threads", p.Threads), "write 1 to 10000, such as 32")
		}
		if p.Queue < 0 || p.Queue > 1<<24 {
			report(unit.Join(at, "queue"), fmt.Sprintf("%d functions cannot wait", p.Queue), "write 0 for none, or a number such as 65536")
		}
	}
}

// Options are the threads as luavm takes them.
func (t *Threads) Options() luavm.Threads {
	o := luavm.Threads{VMs: t.VMs, Budget: t.CPUBudget.Std(), Pools: make(map[string]luavm.ThreadPool, len(t.Pools))}
	for name, p := range t.Pools {
		o.Pools[name] = luavm.ThreadPool{Threads: p.Threads, Queue: p.Queue}
	}
	return o
}
