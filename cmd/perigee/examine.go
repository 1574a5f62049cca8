package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"perigee/proxy/observe"
)

// filesPerConnection is how many descriptors a client connection may need: its
// own, and one to an endpoint.
const filesPerConnection = 2

// leastCores is the CPU quota below which a process is stopped in most periods.
const leastCores = 1.0

// examine looks at everything.
func (m *machine) examine() []finding {
	return []finding{
		m.luaJIT(), m.watchdog(), m.patterns(), m.executableMemory(), m.openFiles(), m.acceptQueue(),
		m.synQueue(), m.ports(), m.cpuQuota(), m.memoryLimit(), m.clock(), m.clockSync(), m.hugePages(),
	}
}

func (m *machine) luaJIT() finding {
	f := finding{subject: "LuaJIT", found: "hardened"}
	if !m.hardened {
		f.found = "stock"
		f.hurts = "a script's compiled loop that never ends is not stopped by lua.cpu_budget: it holds its VM and a core"
		f.mend = "build with `make deps build` where Debian's sources can be had, or use the image"
	}
	return f
}

func (m *machine) watchdog() finding {
	f := finding{subject: "Lua watchdog", found: "ends C functions too"}
	if !m.jumps {
		f.found = "ends Lua code only"
		f.hurts = "a regular expression ends by lua.regex.match_limit alone, whatever lua.cpu_budget says"
		f.mend = "build for amd64 or arm64 with `make deps build`, or use the image; until then lower lua.regex.match_limit"
	}
	return f
}

func (m *machine) patterns() finding {
	f := finding{subject: "PCRE2 JIT", found: "built in"}
	if !m.regexJIT {
		f.found = "missing"
		f.hurts = "ngx.re with option j interprets its patterns: several times the CPU"
		f.mend = "build with a libpcre2-8.a that was configured with --enable-jit"
	}
	return f
}

func (m *machine) executableMemory() finding {
	f := finding{subject: "JIT memory", found: "may be made executable"}
	if m.executable != nil {
		f.found = "cannot be made executable: " + m.executable.Error()
		f.hurts = "LuaJIT and PCRE2 compile nothing: Lua runs interpreted, several times slower"
		f.mend = "MemoryDenyWriteExecute=no in the systemd unit; no seccomp profile or SELinux policy (execmem) that forbids it"
	}
	return f
}

func (m *machine) openFiles() finding {
	need := uint64(m.connections)*filesPerConnection + 256
	f := finding{subject: "open files", found: fmt.Sprintf("up to %d (limits.connections is %d)", m.files, m.connections)}
	if m.files < need {
		f.hurts = fmt.Sprintf("at %d connections accept fails and clients wait in the kernel's queue", m.files/filesPerConnection)
		f.mend = fmt.Sprintf("a hard limit of %d: LimitNOFILE= in systemd, ulimit -Hn, or the container runtime's; or lower limits.connections", need)
	}
	return f
}

func (m *machine) acceptQueue() finding {
	n, ok := m.number("proc/sys/net/core/somaxconn")
	f := finding{subject: "accept queue", found: fmt.Sprintf("net.core.somaxconn is %d", n)}
	switch {
	case !ok:
		f.found = "net.core.somaxconn cannot be read"
	case n < 4096:
		f.hurts = fmt.Sprintf("more than %d connections that arrive at once are dropped, and tried again after a second", n)
		f.mend = "sysctl net.core.somaxconn=4096 (in Kubernetes: the pod's securityContext.sysctls), before the start"
	}
	return f
}

func (m *machine) synQueue() finding {
	n, ok := m.number("proc/sys/net/ipv4/tcp_max_syn_backlog")
	f := finding{subject: "SYN queue", found: fmt.Sprintf("net.ipv4.tcp_max_syn_backlog is %d", n)}
	cookies, known := m.number("proc/sys/net/ipv4/tcp_syncookies")
	switch {
	case !ok:
		f.found = "net.ipv4.tcp_max_syn_backlog cannot be read"
	case n < 1024 && known && cookies == 0:
		f.hurts = "a burst of new connections, or a SYN flood, keeps clients out: there are no SYN cookies either"
		f.mend = "sysctl net.ipv4.tcp_syncookies=1, or net.ipv4.tcp_max_syn_backlog=4096"
	}
	return f
}

func (m *machine) ports() finding {
	fields := strings.Fields(m.text("proc/sys/net/ipv4/ip_local_port_range"))
	f := finding{subject: "local ports", found: "the range cannot be read"}
	if len(fields) != 2 {
		return f
	}
	low, _ := strconv.Atoi(fields[0])
	high, _ := strconv.Atoi(fields[1])
	f.found = fmt.Sprintf("%d to %d", low, high)
	if high-low < 20000 {
		f.hurts = fmt.Sprintf("no more than %d connections to one endpoint, those that have just been closed included", high-low)
		f.mend = "sysctl net.ipv4.ip_local_port_range='10240 65535'"
	}
	return f
}

func (m *machine) cpuQuota() finding {
	quota, limited := m.quota()
	f := finding{subject: "CPU", found: fmt.Sprintf("%d of %d cores, no quota", m.cores, m.onMachine)}
	if !limited {
		return f
	}
	f.found = fmt.Sprintf("GOMAXPROCS %d, quota of %.2f of %d cores", m.cores, quota, m.onMachine)
	switch {
	case quota < leastCores:
		f.hurts = "the kernel stops the whole process for most of each 100 ms once its share is used up: latency of tens of milliseconds under little load"
		f.mend = "a CPU limit of 1 or more, or none (requests alone)"
	case float64(m.cores) > quota+1:
		f.hurts = "more threads run than the quota allows, which is used up early in each period: latency of tens of milliseconds"
		f.mend = "unset GOMAXPROCS: Go takes it from the cgroup"
	}
	return f
}

// quota is the cgroup's CPU time per time, in cores.
func (m *machine) quota() (cores float64, limited bool) {
	if fields := strings.Fields(m.cgroup("", "cpu.max")); len(fields) == 2 && fields[0] != "max" {
		quota, _ := strconv.ParseFloat(fields[0], 64)
		period, _ := strconv.ParseFloat(fields[1], 64)
		return quota / period, period > 0
	}
	quota, ok := number(m.cgroup("cpu", "cpu.cfs_quota_us"))
	period, also := number(m.cgroup("cpu", "cpu.cfs_period_us"))
	if !ok || !also || quota <= 0 || period <= 0 {
		return 0, false
	}
	return float64(quota) / float64(period), true
}

// leastMemory is what a gateway with small settings needs.
const leastMemory = 128 << 20

func (m *machine) memoryLimit() finding {
	f := finding{subject: "memory", found: "no limit of a cgroup"}
	n := observe.CgroupMemory(m.root)
	if n == 0 {
		return f
	}
	f.found = fmt.Sprintf("the cgroup's limit is %d MiB", n>>20)
	if n < leastMemory {
		f.hurts = "a configuration whose VMs and dictionaries leave under 64 MiB to the rest is refused at start"
		f.mend = "a memory limit of 256 MiB or more, or small lua.memory_limit, lua.shared_dicts and limits.counters"
	}
	return f
}

func (m *machine) clock() finding {
	name := strings.TrimSpace(m.text("sys/devices/system/clocksource/clocksource0/current_clocksource"))
	f := finding{subject: "clock", found: "read from " + name}
	switch name {
	case "":
		f.found = "the source cannot be read"
	case "hpet", "acpi_pm", "jiffies", "refined-jiffies":
		f.hurts = "each reading of the time is a system call on a slow device: microseconds, several for each request"
		f.mend = "boot with clocksource=tsc (on virtual machines kvm-clock, hyperv_clocksource_tsc_page), if the kernel trusts it"
	}
	return f
}

func (m *machine) clockSync() finding {
	f := finding{subject: "time", found: "kept by NTP"}
	if !m.clockSynced {
		f.found = "not kept by NTP"
		f.hurts = "tokens are refused too early or taken too late, limits of several machines disagree, logs cannot be put in order"
		f.mend = "chronyd, systemd-timesyncd or the hypervisor's clock on the node"
	}
	return f
}

func (m *machine) hugePages() finding {
	text := m.text("sys/kernel/mm/transparent_hugepage/enabled")
	f := finding{subject: "huge pages", found: strings.TrimSpace(text)}
	if text == "" {
		f.found = "none"
	}
	if strings.Contains(text, "[always]") {
		f.hurts = "heaps of VMs and Go grow in steps of 2 MiB, and the kernel stops threads to compact memory"
		f.mend = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled on the node"
	}
	return f
}

func (m *machine) text(path string) string {
	data, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		return ""
	}
	return string(data)
}

// cgroup reads a file of the process's cgroup: of version 2 if controller is "".
// In a container the path that /proc names is often not there, and the root is
// the cgroup itself.
func (m *machine) cgroup(controller, file string) string {
	for line := range strings.Lines(m.text("proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || !slices.Contains(strings.Split(parts[1], ","), controller) {
			continue
		}
		if text := m.text(filepath.Join("sys/fs/cgroup", controller, parts[2], file)); text != "" {
			return text
		}
	}
	return m.text(filepath.Join("sys/fs/cgroup", controller, file))
}

// number reads a file that holds one number.
func (m *machine) number(path string) (int64, bool) { return number(m.text(path)) }

func number(text string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil
}
