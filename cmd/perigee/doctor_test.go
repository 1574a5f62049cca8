package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fit is a machine on which nothing hurts.
func fit(t *testing.T) *machine {
	m := &machine{
		root: t.TempDir(), connections: 1000, files: 1 << 20, cores: 4, onMachine: 4,
		hardened: true, jumps: true, regexJIT: true, clockSynced: true,
	}
	for path, text := range map[string]string{
		"proc/sys/net/core/somaxconn":                                     "4096\n",
		"proc/sys/net/ipv4/tcp_max_syn_backlog":                           "512\n",
		"proc/sys/net/ipv4/tcp_syncookies":                                "1\n",
		"proc/sys/net/ipv4/ip_local_port_range":                           "32768\t60999\n",
		"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
		"sys/kernel/mm/transparent_hugepage/enabled":                      "always [madvise] never\n",
		"sys/fs/cgroup/cpu.max":                                           "400000 100000\n",
		"sys/fs/cgroup/memory.max":                                        "max\n",
	} {
		m.put(t, path, text)
	}
	return m
}

func (m *machine) put(t *testing.T, path, text string) {
	t.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, path, text)
}

func TestDoctor(t *testing.T) {
	for _, c := range []struct {
		name, hurts string // the subject; "": nothing hurts
		change      func(m *machine)
	}{
		{"nothing", "", func(*machine) {}},
		{"stock LuaJIT", "LuaJIT", func(m *machine) { m.hardened = false }},
		{"no jumps", "Lua watchdog", func(m *machine) { m.jumps = false }},
		{"no PCRE2 JIT", "PCRE2 JIT", func(m *machine) { m.regexJIT = false }},
		{"memory is never executable", "JIT memory", func(m *machine) { m.executable = errors.New("permission denied") }},
		{"few files", "open files", func(m *machine) { m.files = 1024 }},
		{"short accept queue", "accept queue", func(m *machine) { m.put(t, "proc/sys/net/core/somaxconn", "128\n") }},
		{"SYN floods", "SYN queue", func(m *machine) { m.put(t, "proc/sys/net/ipv4/tcp_syncookies", "0\n") }},
		{"few ports", "local ports", func(m *machine) { m.put(t, "proc/sys/net/ipv4/ip_local_port_range", "60000 60999\n") }},
		{"half a core", "CPU", func(m *machine) { m.put(t, "sys/fs/cgroup/cpu.max", "50000 100000\n") }},
		{"too many threads", "CPU", func(m *machine) { m.put(t, "sys/fs/cgroup/cpu.max", "200000 100000\n"); m.cores = 16 }},
		{"no quota", "", func(m *machine) { m.put(t, "sys/fs/cgroup/cpu.max", "max 100000\n"); m.cores = 16 }},
		{"cgroup version 1", "CPU", func(m *machine) {
			m.put(t, "sys/fs/cgroup/cpu.max", "")
			m.put(t, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n")
			m.put(t, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
		}},
		{"a systemd unit's quota", "CPU", func(m *machine) {
			m.put(t, "proc/self/cgroup", "0::/system.slice/perigee.service\n")
			m.put(t, "sys/fs/cgroup/system.slice/perigee.service/cpu.max", "20000 100000\n")
		}},
		{"little memory", "memory", func(m *machine) { m.put(t, "sys/fs/cgroup/memory.max", "67108864\n") }},
		{"a systemd unit's memory", "memory", func(m *machine) {
			m.put(t, "proc/self/cgroup", "0::/system.slice/perigee.service\n")
			m.put(t, "sys/fs/cgroup/system.slice/perigee.service/memory.max", "67108864\n")
		}},
		{"slow clock", "clock", func(m *machine) {
			m.put(t, "sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n")
		}},
		{"wrong time", "time", func(m *machine) { m.clockSynced = false }},
		{"huge pages", "huge pages", func(m *machine) {
			m.put(t, "sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n")
		}},
		{"nothing can be read", "", func(m *machine) { m.root = filepath.Join(m.root, "missing") }},
	} {
		m := fit(t)
		c.change(m)
		hurting := ""
		for _, f := range m.examine() {
			if f.found == "" || (f.hurts == "") != (f.mend == "") {
				t.Errorf("%s: incomplete: %+v", c.name, f)
			}
			if f.hurts != "" {
				hurting += f.subject
			}
		}
		if hurting != c.hurts {
			t.Errorf("%s: %q hurts, want %q", c.name, hurting, c.hurts)
		}
	}
	code, out, errs := execute(t, "doctor")
	if errs != "" || (code == exitFailed) != strings.Contains(out, "HURTS ") || !strings.Contains(out, "PCRE2 JIT        built in") {
		t.Errorf("doctor: exit %d\n%s%s", code, out, errs)
	}
}

func TestHealthcheck(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/hangs":
			<-release
		default:
			http.Error(w, "not ready: draining", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	defer close(release)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{server.URL + "/ok"}, 0, "healthy: "},
		{[]string{server.URL + "/down"}, 1, "answers 503: not ready: draining"},
		{[]string{server.URL + "/moved"}, 1, "answers 302"},
		{[]string{"-timeout", "50ms", server.URL + "/hangs"}, 1, "deadline exceeded"},
		{[]string{"http://127.0.0.1:1/"}, 1, "connection refused"},
		{[]string{"a b"}, 1, "unhealthy: "},
		{[]string{"-timeout", "0s"}, 2, "-timeout"},
		{[]string{"one", "two"}, 2, "-timeout"},
	} {
		begin := time.Now()
		code, out, errs := execute(t, append([]string{"healthcheck"}, c.args...)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%q: exit %d after %v, %q, want %d with %q", c.args, code, time.Since(begin), out+errs, c.code, c.want)
		}
	}
}
