// Package proctest starts the processes that tests talk to: servers, origins, the
// gateway itself.
package proctest

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// A Group is a process that Start has started, with all that it starts.
type Group struct{ kill func() }

// Start starts cmd, in a process group that ends with the test, and with this
// process, whatever ends that: a panic, the time limit of go test, a SIGKILL.
// cmd.SysProcAttr's Setpgid and Pgid are Start's; waiting for cmd is the caller's.
//
// A shell leads the group and reads a pipe that this process alone holds open. Where
// the pipe ends, it kills the group and so itself; until then the group's number is
// nobody else's. The kernel's own means, a signal at the death of the parent, is
// sent when the thread that has started a child ends, not the process, and does not
// reach what the child has started: nginx's workers.
func Start(t testing.TB, cmd *exec.Cmd) *Group {
	t.Helper()
	its, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	guard := exec.Command("sh", "-c", "read -r nothing; kill -KILL 0")
	guard.Stdin = its
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = guard.Start()
	its.Close()
	if err != nil {
		ours.Close()
		t.Fatalf("no shell to guard %s: %v", cmd.Path, err)
	}
	g := &Group{kill: sync.OnceFunc(func() {
		ours.Close()
		_ = guard.Wait()
	})}
	t.Cleanup(g.kill)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pgid = true, guard.Process.Pid
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return g
}

// Kill kills the group, now; again is nothing.
func (g *Group) Kill() { g.kill() }
