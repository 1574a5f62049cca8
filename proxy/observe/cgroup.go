package observe

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrNoCgroup says that the process runs under no CPU controller that counts
// throttling.
var ErrNoCgroup = errors.New("no cpu.stat of this process's cgroup found under /sys/fs/cgroup")

// CgroupThrottled returns the saturation part "cpu": of the scheduler periods
// that passed, the share in which the cgroup used up its quota and was stopped
// (cpu.stat: nr_throttled of nr_periods; cgroup v2, or v1's cpu controller). Its
// file stays open for the life of the process.
func CgroupThrottled() (Part, error) {
	for _, path := range cpuStatPaths("/sys/fs/cgroup", readFile("/proc/self/cgroup")) {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		t := &throttle{file: f}
		if !t.read() {
			f.Close()
			continue
		}
		return Part{Name: "cpu", Level: t.level}, nil
	}
	return Part{}, ErrNoCgroup
}

func readFile(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return data
}

// cpuStatPaths lists where cpu.stat may be, most exact first; memberships is
// /proc/self/cgroup, lines of "id:controllers:path" (cgroups(7)). Inside a
// container the path is often not visible and the root is the cgroup itself.
func cpuStatPaths(root string, memberships []byte) []string {
	var paths []string
	for line := range strings.Lines(string(memberships)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[1] == "" {
			paths = append(paths, filepath.Join(root, parts[2], "cpu.stat"))
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			if controller == "cpu" {
				paths = append(paths,
					filepath.Join(root, parts[1], parts[2], "cpu.stat"),
					filepath.Join(root, "cpu", parts[2], "cpu.stat"))
			}
		}
	}
	return append(paths,
		filepath.Join(root, "cpu.stat"),
		filepath.Join(root, "cpu", "cpu.stat"))
}

// noLimit is where version 1 of cgroups begins to mean "no limit".
const noLimit = 1 << 60

// CgroupMemory returns the memory limit of this process's cgroup in bytes, 0
// without one: the lowest of the cgroup's own (systemd's MemoryMax= of the unit)
// and those of the cgroups around it (of its slice). root is where /proc and
// /sys are, "/".
func CgroupMemory(root string) int64 {
	var lowest int64
	for _, path := range memoryPaths(readFile(filepath.Join(root, "proc/self/cgroup"))) {
		text := strings.TrimSpace(string(readFile(filepath.Join(root, "sys/fs/cgroup", path))))
		n, err := strconv.ParseInt(text, 10, 64) // version 2 says "max" for none
		if err == nil && n > 0 && n < noLimit && (lowest == 0 || n < lowest) {
			lowest = n
		}
	}
	return lowest
}

// memoryPaths lists the files, under /sys/fs/cgroup, of the limits that hold for
// this process; those of cgroups that are not visible are not there.
func memoryPaths(memberships []byte) []string {
	const first, second = "memory.limit_in_bytes", "memory.max" // by version
	paths := []string{second, filepath.Join("memory", first)}
	for line := range strings.Lines(string(memberships)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		mount, file := "", second
		if parts[1] != "" {
			mount, file = "memory", first
			if !slices.Contains(strings.Split(parts[1], ","), mount) {
				continue
			}
		}
		for dir := filepath.Clean("/" + parts[2]); dir != "/"; dir = filepath.Dir(dir) {
			paths = append(paths, filepath.Join(mount, dir, file))
		}
	}
	return paths
}

// throttle reads one cpu.stat.
type throttle struct {
	file               *os.File
	periods, throttled uint64 // at the last read
}

// level returns the throttled share of the periods since the last call; 0 when
// none passed.
func (t *throttle) level() float64 {
	periods, throttled := t.periods, t.throttled
	if !t.read() || t.periods <= periods {
		return 0
	}
	return float64(t.throttled-throttled) / float64(t.periods-periods)
}

// read updates the numbers and reports whether both were there.
func (t *throttle) read() bool {
	var buf [1024]byte
	n, _ := t.file.ReadAt(buf[:], 0) // io.EOF with all of it is the normal case
	periods, ok := statField(buf[:n], "nr_periods")
	if !ok {
		return false
	}
	throttled, ok := statField(buf[:n], "nr_throttled")
	if !ok {
		return false
	}
	t.periods, t.throttled = periods, throttled
	return true
}

// statField returns the number on the line that starts with name.
func statField(stat []byte, name string) (uint64, bool) {
	for line := range bytes.Lines(stat) {
		key, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		if string(key) == name {
			n, err := strconv.ParseUint(string(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
