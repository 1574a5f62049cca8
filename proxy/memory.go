package proxy

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"perigee/proxy/config"
)

// cgroupMemory is the memory limit of the process's cgroup in bytes, 0 without
// one.
func cgroupMemory() int64 {
	for _, path := range []string{
		"/sys/fs/cgroup/memory.max",                   // version 2
		"/sys/fs/cgroup/memory/memory.limit_in_bytes", // version 1
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		// Version 1 says "no limit" by a number near the largest.
		if err == nil && n > 0 && n < 1<<60 {
			return n
		}
	}
	return 0
}

// generations is how many sets of VMs the memory plan counts: the running one
// and the one it replaces, which lives until its exchanges end.
const generations = 2

// leastHeap is the memory that Go itself must be left with.
const leastHeap = 64 << 20

// planMemory sets Go's memory limit to what the cgroup leaves beside memory that
// Go's collector cannot see: Lua heaps and shared dictionaries. Without a cgroup
// limit there is nothing to plan.
func planMemory(file *config.File) error {
	cgroup := cgroupMemory()
	if cgroup == 0 {
		return nil
	}
	left := heapLeft(file, cgroup)
	if left < leastHeap {
		return file.NewError("lua", fmt.Sprintf(
			"dictionaries and %d VMs of %d MiB in %d generations leave %d MiB of the cgroup's %d MiB, at least %d MiB are needed",
			workers(file), memoryLimit(file)>>20, generations, left>>20, cgroup>>20, leastHeap>>20),
			"lower lua.memory_limit, lua.shared_dicts or workers")
	}
	debug.SetMemoryLimit(left)
	return nil
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
