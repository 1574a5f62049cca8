package observe

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCgroupMemory(t *testing.T) {
	const v1, none = "memory.limit_in_bytes", "9223372036854771712\n"
	for _, c := range []struct {
		name, memberships string
		files             map[string]string // under /sys/fs/cgroup
		want              int64             // MiB
	}{
		{"no cgroups", "", nil, 0},
		{"version 2 without a limit", "0::/a.slice/b.service\n", map[string]string{"a.slice/b.service/memory.max": "max\n", "memory.max": "max\n"}, 0},
		{"version 2, a unit's MemoryMax", "0::/a.slice/b.service\n", map[string]string{"a.slice/b.service/memory.max": "104857600\n", "a.slice/memory.max": "max\n"}, 100},
		{"version 2, its slice's is lower", "0::/a.slice/b.service\n", map[string]string{"a.slice/b.service/memory.max": "104857600\n", "a.slice/memory.max": "52428800\n"}, 50},
		{"version 2, its slice's alone", "0::/a.slice/b.service\n", map[string]string{"a.slice/b.service/memory.max": "max\n", "a.slice/memory.max": "52428800\n"}, 50},
		{"version 2, a container's root", "0::/\n", map[string]string{"memory.max": "104857600\n"}, 100},
		{"version 2, a path that a container does not see", "0::/kubepods/pod1\n", map[string]string{"memory.max": "104857600\n"}, 100},
		{"version 1 without a limit", "4:memory:/a.slice/b.service\n", map[string]string{"memory/a.slice/b.service/" + v1: none, "memory/" + v1: none}, 0},
		{"version 1, a unit's", "5:cpu,cpuacct:/x\n4:memory:/a.slice/b.service\n", map[string]string{"memory/a.slice/b.service/" + v1: "104857600\n", "memory/" + v1: none}, 100},
		{"version 1, its slice's is lower", "4:memory:/a.slice/b.service\n", map[string]string{"memory/a.slice/b.service/" + v1: "104857600\n", "memory/a.slice/" + v1: "52428800\n"}, 50},
		{"version 1, a container's root", "4:memory:/docker/x\n", map[string]string{"memory/" + v1: "104857600\n"}, 100},
		{"both, memory is of version 1", "4:memory:/b.service\n0::/b.service\n", map[string]string{"memory/b.service/" + v1: "104857600\n", "unified/b.service/memory.max": "1048576\n"}, 100},
		{"of another controller", "3:cpu:/b.service\n", map[string]string{"memory/b.service/" + v1: "104857600\n"}, 0},
		{"garbage", "x\n:\n::\n4:memory:../../..\n", map[string]string{"memory.max": "lots\n"}, 0},
	} {
		root := t.TempDir()
		put := func(path, text string) {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put("proc/self/cgroup", c.memberships)
		for path, text := range c.files {
			put(filepath.Join("sys/fs/cgroup", path), text)
		}
		if got := CgroupMemory(root); got != c.want<<20 {
			t.Errorf("%s: %d bytes, want %d MiB", c.name, got, c.want)
		}
	}
}
