package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// containerEnv names the file with a container: this program, started with it,
// becomes the container's process.
const containerEnv = "PERIGEE_E2E_CONTAINER"

// container is what a process of a pod sees.
type container struct {
	Root     string // an empty folder
	Mounts   []mount
	UID, GID int
	Args     []string
	Env      []string
}

type mount struct {
	Source, Target string
	Writable       bool
}

// becomeContainer makes the file system of a container in the mount namespace
// that the process was started in, and replaces the program.
func becomeContainer(file string) {
	text, err := os.ReadFile(file)
	var c container
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err == nil {
		err = c.become()
	}
	fmt.Fprintln(os.Stderr, "container:", err)
	os.Exit(127)
}

func (c *container) become() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("tmpfs", c.Root, "tmpfs", 0, "mode=755,size=1m"); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	for _, m := range append(systemMounts(c.Root), c.Mounts...) {
		if err := m.make(c.Root); err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
	}
	if err := unix.Mount("", c.Root, "", unix.MS_REMOUNT|unix.MS_RDONLY, "mode=755,size=1m"); err != nil {
		return fmt.Errorf("read-only root: %w", err)
	}
	if err := unix.Chroot(c.Root); err != nil {
		return err
	}
	for _, f := range []func() error{
		func() error { return os.Chdir("/") },
		func() error { return syscall.Setgroups([]int{c.GID}) },
		func() error { return syscall.Setgid(c.GID) },
		func() error { return syscall.Setuid(c.UID) },
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return fmt.Errorf("run %s: %w", c.Args[0], unix.Exec(c.Args[0], c.Args, c.Env))
}

// systemMounts stand for an image's libraries.
func systemMounts(root string) (found []mount) {
	for _, dir := range []string{"/usr", "/proc", "/dev", "/bin", "/lib", "/lib64", "/etc/ld.so.cache"} {
		if to, err := os.Readlink(dir); err == nil {
			_ = os.Symlink(to, root+dir)
		} else if _, err := os.Stat(dir); err == nil {
			found = append(found, mount{Source: dir, Target: dir, Writable: dir == "/dev"})
		}
	}
	return found
}

func (m mount) make(root string) error {
	info, err := os.Stat(m.Source)
	if err != nil {
		return err
	}
	target := filepath.Join(root, m.Target)
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		err = os.WriteFile(target, nil, 0o644)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(m.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if m.Writable {
		return nil
	}
	return unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

// sandbox is the network namespace of a pod: it outlives its containers, so that
// a connection to a dead one is refused rather than lost.
type sandbox struct {
	netns *os.File
	link  string
}

// newSandbox makes a namespace with an address on the bridge.
func newSandbox(number int, address string) (*sandbox, error) {
	s := &sandbox{link: fmt.Sprintf("pod%d", number)}
	err := onThread(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if s.netns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		return commands(
			"ip link set lo up",
			fmt.Sprintf("ip link add eth0 type veth peer name %s netns %d", s.link, os.Getpid()),
			"ip addr add "+address+"/16 dev eth0",
			"ip link set eth0 up",
			"ip route add default via "+bridgeAddress)
	})
	if err == nil {
		err = commands("ip link set "+s.link+" master "+bridge, "ip link set "+s.link+" up")
	}
	if err != nil {
		return nil, fmt.Errorf("network of pod %s: %w", address, err)
	}
	return s, nil
}

// run starts a container in the sandbox.
func (s *sandbox) run(spec string, log *os.File) (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{containerEnv + "=" + spec}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	err := onThread(func() error {
		if err := unix.Setns(int(s.netns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return cmd.Start()
	})
	return cmd, err
}

func (s *sandbox) close() {
	_, _ = command("ip", "link", "del", s.link)
	_ = s.netns.Close()
}

// onThread runs f on a thread of its own, which ends with it: it may change its
// namespaces.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

func commands(lines ...string) error {
	for _, line := range lines {
		words := strings.Fields(line)
		if _, err := command(words[0], words[1:]...); err != nil {
			return err
		}
	}
	return nil
}

const (
	bridge        = "pods"
	bridgeAddress = "10.244.0.1"
	serviceRange  = "10.96.0.0/24"
)

// startNetwork makes the bridge of pods and the addresses of Services, which all
// belong to the splitter. The test has a network namespace to itself.
func startNetwork() error {
	if _, err := os.Stat("/sys/class/net/" + bridge); err == nil {
		return nil
	}
	return commands(
		"ip link set lo up",
		"ip addr add 10.96.0.1/24 dev lo", // on lo the whole range is local
		"ip link add "+bridge+" type bridge",
		"ip addr add "+bridgeAddress+"/16 dev "+bridge,
		"ip link set "+bridge+" up")
}
