package proxy

import (
	"os"
	"strconv"
	"strings"
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
