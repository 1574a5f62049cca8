package fleet

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"perigee/proctest"
)

// server is a redis-server of a test.
type server struct {
	t    testing.TB
	addr string
	args []string
	cmd  *exec.Cmd
	all  *proctest.Group
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startRedis starts a server that ends with the test.
func startRedis(t testing.TB, args ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("no redis-server here")
	}
	port := freePort(t)
	s := &server{t: t, addr: fmt.Sprintf("127.0.0.1:%d", port), args: append([]string{
		"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir(),
	}, args...)}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.cmd = promptly("redis-server", s.args...)
	s.all = proctest.Start(s.t, s.cmd)
	s.until("the server answers", func() bool { return s.cli("ping") == "PONG" })
}

func (s *server) kill() {
	if s.cmd != nil {
		s.all.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// cli asks with redis-cli.
func (s *server) cli(args ...string) string {
	_, port, _ := net.SplitHostPort(s.addr)
	out, _ := exec.Command("redis-cli", append([]string{"-p", port}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out))
}

// until waits for what is to come.
func (s *server) until(what string, is func() bool) { until(s.t, what, is) }

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// connect opens a fleet that is up.
func connect(t testing.TB, o Options) *Fleet {
	t.Helper()
	f, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	until(t, "the fleet is up", func() bool { return f.Up() && f.client.Load() != nil })
	return f
}

func to(s *server) Options { return Options{Addresses: []string{s.addr}} }

// startSentinel watches master, called "main".
func startSentinel(t testing.TB, master *server) *server {
	t.Helper()
	_, port, _ := net.SplitHostPort(master.addr)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor main 127.0.0.1 %s 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n", port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	own := freePort(t)
	s := &server{t: t, addr: fmt.Sprintf("127.0.0.1:%d", own), args: []string{file, "--sentinel", "--port", fmt.Sprint(own), "--bind", "127.0.0.1"}}
	s.start()
	t.Cleanup(s.kill)
	return s
}

// startCluster starts three nodes that share the slots.
func startCluster(t testing.TB) (nodes []*server) {
	t.Helper()
	args := []string{"--cluster", "create"}
	for range 3 {
		n := startRedis(t, "--cluster-enabled", "yes")
		nodes = append(nodes, n)
		args = append(args, n.addr)
	}
	nodes[0].cli(append(args, "--cluster-yes")...)
	until(t, "the cluster is one", func() bool { return contains(nodes[0].cli("cluster", "info"), "cluster_state:ok") })
	return nodes
}

// promptly is a command that runs ahead of what else the machine does, where
// that is allowed.
func promptly(name string, args ...string) *exec.Cmd {
	if allowed() {
		name, args = "chrt", append([]string{"-r", "1", name}, args...)
	}
	return exec.Command(name, args...)
}

var allowed = sync.OnceValue(func() bool { return exec.Command("chrt", "-r", "1", "true").Run() == nil })

func cutAddr(addr string) (host, port string, err error) { return net.SplitHostPort(addr) }

func contains(text, part string) bool { return strings.Contains(text, part) }
