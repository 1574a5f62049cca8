package proctest

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is a process with a child, which prints its own id and the child's.
func server() *exec.Cmd { return exec.Command("sh", "-c", "sleep 1000 & echo $$ $!; wait") }

// TestDies is the process that dies.
func TestDies(t *testing.T) {
	if os.Getenv("PROCTEST_DIES") == "" {
		t.Skip("the process of another test")
	}
	cmd := server()
	cmd.Stdout = os.Stdout
	Start(t, cmd)
	time.Sleep(time.Hour)
}

// pids reads what server prints.
func pids(t *testing.T, out *bufio.Reader) []int {
	t.Helper()
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, f := range strings.Fields(line) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatalf("%q", line)
		}
		all = append(all, pid)
	}
	return all
}

// runs says if a process is there and no zombie.
func runs(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, state, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(state, "Z")
}

func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		for end := time.Now().Add(30 * time.Second); runs(pid); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("process %d goes on", pid)
			}
		}
	}
}

// TestGroupsEndWithTheirTest: with its end, and with Kill before that.
func TestGroupsEndWithTheirTest(t *testing.T) {
	for _, killed := range []bool{false, true} {
		var started []int
		t.Run("one", func(t *testing.T) {
			cmd := server()
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Wait() })
			g := Start(t, cmd)
			started = pids(t, bufio.NewReader(out))
			if len(started) != 2 || !runs(started[0]) || !runs(started[1]) {
				t.Fatalf("processes %v do not run", started)
			}
			if killed {
				g.Kill()
				gone(t, started[1:])
				if cmd.Wait() == nil {
					t.Error("killed, and yet ended with 0")
				}
			}
		})
		gone(t, started)
	}
}

// TestGroupsEndWithTheirProcess: though it is killed and can end nothing.
func TestGroupsEndWithTheirProcess(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGQUIT} {
		dies := exec.Command(os.Args[0], "-test.run=^TestDies$")
		dies.Env = append(os.Environ(), "PROCTEST_DIES=1")
		out, err := dies.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := dies.Start(); err != nil {
			t.Fatal(err)
		}
		started := pids(t, bufio.NewReader(out))
		if err := dies.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = dies.Wait()
		gone(t, started)
	}
}
