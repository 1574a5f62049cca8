package proxy

import (
	"fmt"
	"runtime/debug"
	"sync"

	"perigee/proxy/config"
	"perigee/proxy/observe"
)

// cgroupMemory is the memory limit of the process's cgroup in bytes, 0 without
// one.
func cgroupMemory() int64 { return observe.CgroupMemory("/") }

// givenLimit is what GOMEMLIMIT says, once it has been asked for: later this
// process's own plan is in its place.
var givenLimit = sync.OnceValue(func() int64 { return debug.SetMemoryLimit(-1) })

// generations is how many sets of VMs the memory plan counts: the running one
// and the one it replaces, which lives until its exchanges end.
const generations = 2

// leastHeap is the memory that Go itself must be left with.
const leastHeap = 64 << 20

// planMemory sets Go's memory limit, as memoryPlan has it.
func planMemory(file *config.File) error {
	given := givenLimit()
	limit, err := memoryPlan(file, cgroupMemory(), given)
	if err == nil {
		debug.SetMemoryLimit(limit)
	}
	return err
}

// memoryPlan is what the cgroup leaves to Go beside memory that Go's collector
// cannot see: Lua heaps and shared dictionaries; never more than given, which is
// GOMEMLIMIT. Without a cgroup's limit, 0, there is nothing to plan.
func memoryPlan(file *config.File, cgroup, given int64) (limit int64, err error) {
	if cgroup == 0 {
		return given, nil
	}
	left := heapLeft(file, cgroup)
	if left < leastHeap {
		return 0, file.NewError("lua", fmt.Sprintf(
			"dictionaries and %d VMs of %d MiB in %d generations leave %d MiB of the cgroup's %d MiB, at least %d MiB are needed",
			workers(file), memoryLimit(file)>>20, generations, left>>20, cgroup>>20, leastHeap>>20),
			"lower lua.memory_limit, lua.shared_dicts or workers")
	}
	return min(left, given), nil
}

// heapLeft is what remains for Go of a cgroup's memory.
func heapLeft(file *config.File, cgroup int64) int64 {
	left := cgroup / 10 * 9
	for _, size := range file.Lua.SharedDicts {
		left -= int64(size)
	}
	if file.Limited() {
		left -= int64(file.Limits.Counters)
	}
	return left - generations*int64(workers(file))*memoryLimit(file)
}
