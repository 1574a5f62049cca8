package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"perigee/proctest"
)

// upgradeSite has a listener of each driver.
const upgradeSite = `
listeners: [{address: %q, driver: loop}, {address: %q, driver: goroutine}]
admin: {address: %q}
access_log: {format: "off"}
drain: {timeout: 20s}
routes:
  - {name: pid, match: {paths: ["= /pid"]}, lua: {content: 'ngx.req.read_body() ngx.print(ngx.worker.pid())'}}
  - {name: slow, match: {paths: ["= /slow"]}, lua: {content: 'ngx.sleep(3) ngx.print(ngx.worker.pid())'}}
`

// safeBuffer is a process's standard error that is read while it runs.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// eventually waits for a condition with a bound that no machine needs.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("after a minute: %s", what)
}

// poster posts over connections that are kept until the server says otherwise.
// A POST is never sent twice by Go's client: what fails shows.
type poster struct {
	url          string
	done, failed atomic.Int64
	first        atomic.Pointer[string]
	stop         chan struct{}
	ended        sync.WaitGroup
}

func post(client *http.Client, url string) error {
	res, err := client.Post(url, "text/plain", strings.NewReader("a body"))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(res.Body)
	return err
}

func startPosting(url string, clients int) *poster {
	p := &poster{url: url, stop: make(chan struct{})}
	for range clients {
		p.ended.Go(func() {
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 30 * time.Second}
			for {
				select {
				case <-p.stop:
					return
				default:
				}
				if err := post(client, url); err != nil {
					text := err.Error()
					p.first.CompareAndSwap(nil, &text)
					p.failed.Add(1)
				}
				p.done.Add(1)
			}
		})
	}
	return p
}

func (p *poster) end() { close(p.stop); p.ended.Wait() }

var handedOver = regexp.MustCompile(`handed over to process (\d+), draining`)

func launchLogged(t *testing.T, path string) (*exec.Cmd, *safeBuffer) {
	t.Helper()
	log := &safeBuffer{}
	cmd := exec.Command(binary, "run", "-c", path)
	cmd.Stderr = log
	// Successors hold the pipe of standard error: Wait must not wait for them.
	cmd.WaitDelay = time.Second
	proctest.Start(t, cmd)
	return cmd, log
}

// TestUpgradeUnderLoad replaces the process three times while clients post to a
// listener of each driver: no request may fail, slow ones that a predecessor has
// begun included.
func TestUpgradeUnderLoad(t *testing.T) {
	looped, threaded, adminAddr := freeAddr(t), freeAddr(t), freeAddr(t)
	path := filepath.Join(t.TempDir(), "perigee.yaml")
	write(t, path, fmt.Sprintf(upgradeSite, looped, threaded, adminAddr))
	cmd, log := launchLogged(t, path)
	pid := cmd.Process.Pid
	waitFor(t, looped)
	waitFor(t, threaded)

	loads := []*poster{startPosting("http://"+looped+"/pid", 4), startPosting("http://"+threaded+"/pid", 4)}
	slow := make(chan string, 1)
	go func() {
		_, body := get(t, "http://"+looped+"/slow")
		slow <- body
	}()
	time.Sleep(300 * time.Millisecond)
	first := pid
	for n := range 3 {
		if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		eventually(t, "no successor took over\n"+log.String(), func() bool {
			m := handedOver.FindAllStringSubmatch(log.String(), -1)
			if len(m) <= n {
				return false
			}
			pid, _ = strconv.Atoi(m[n][1])
			return true
		})
		want := loads[0].done.Load() + 200
		eventually(t, "the load does not go on", func() bool { return loads[0].done.Load() > want })
	}
	if body := <-slow; body != strconv.Itoa(first) {
		t.Errorf("a request that the first process had begun was answered %q", body)
	}
	for _, l := range loads {
		l.end()
		if l.failed.Load() > 0 || l.done.Load() < 100 {
			t.Errorf("%s: %d of %d failed, the first: %s", l.url, l.failed.Load(), l.done.Load(), *l.first.Load())
		}
	}
	for _, addr := range []string{looped, threaded} {
		if _, body := get(t, "http://"+addr+"/pid"); body != strconv.Itoa(pid) {
			t.Errorf("%s is served by process %s, not the newest, %d", addr, body, pid)
		}
	}
	if status, body := get(t, "http://"+adminAddr+"/readyz"); status != 200 {
		t.Errorf("readyz of the newest: %d %s", status, body)
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("the first process: %v\n%s", err, log.String())
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	eventually(t, "the newest process did not end", func() bool { return syscall.Kill(pid, 0) != nil })
}

// TestUpgradeToABrokenConfiguration: the process that runs goes on.
func TestUpgradeToABrokenConfiguration(t *testing.T) {
	looped, threaded := freeAddr(t), freeAddr(t)
	path := filepath.Join(t.TempDir(), "perigee.yaml")
	site := fmt.Sprintf(upgradeSite, looped, threaded, "off")
	write(t, path, site)
	cmd, log := launchLogged(t, path)
	waitFor(t, looped)
	write(t, path, "listeners: 7\n")
	_ = cmd.Process.Signal(syscall.SIGUSR2)
	eventually(t, "the successor was not given up", func() bool {
		return strings.Contains(log.String(), "no hand-over, this process serves on")
	})
	write(t, path, site+"  - {name: after, match: {paths: [= /after]}, respond: {body: after}}\n")
	_ = cmd.Process.Signal(syscall.SIGHUP)
	for _, addr := range []string{looped, threaded} {
		eventually(t, "the process does not go on", func() bool {
			_, body := get(t, "http://"+addr+"/after")
			return body == "after"
		})
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v\n%s", err, log)
	}
}

// TestSocketActivation starts perigee as systemd does: with sockets that are
// open already, in which clients wait.
func TestSocketActivation(t *testing.T) {
	dir := t.TempDir()
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify")})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	var files []*os.File
	var addrs []string
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		addrs, files = append(addrs, ln.Addr().String()), append(files, f)
		ln.Close()
	}
	early := make(chan string, 1)
	go func() {
		_, body := get(t, "http://"+addrs[0]+"/pid")
		early <- body
	}()
	path := filepath.Join(dir, "perigee.yaml")
	write(t, path, fmt.Sprintf(upgradeSite, addrs[0], addrs[1], "off"))
	// The shell has the process id that LISTEN_PID must be.
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=3 exec "$0" run -c "$1"`, binary, path)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(dir, "notify"))
	cmd.ExtraFiles = files
	var log safeBuffer
	cmd.Stderr = &log
	proctest.Start(t, cmd)
	for _, f := range files {
		f.Close()
	}
	if body, want := <-early, strconv.Itoa(cmd.Process.Pid); body != want {
		t.Errorf("a client that came before the process was answered by %q, not %s\n%s", body, want, log.String())
	}
	b := make([]byte, 256)
	n, err := notify.Read(b)
	if err != nil || !strings.HasPrefix(string(b[:n]), "READY=1\n") {
		t.Errorf("systemd was told %q, %v", b[:n], err)
	}
	if _, body := get(t, "http://"+addrs[1]+"/pid"); body != strconv.Itoa(cmd.Process.Pid) {
		t.Errorf("the second socket: %q", body)
	}
	eventually(t, "no word of the socket that is nobody's", func() bool {
		return strings.Contains(log.String(), "an inherited socket at "+addrs[2]+" is no listener's")
	})
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if n, err = notify.Read(b); err != nil || string(b[:n]) != "STOPPING=1" {
		t.Errorf("systemd was told %q, %v", b[:n], err)
	}
}

// TestLastGood breaks a configuration, whose scripts are files, while the
// process is down.
func TestLastGood(t *testing.T) {
	addr, adminAddr, dir := freeAddr(t), freeAddr(t), t.TempDir()
	path, good := filepath.Join(dir, "perigee.yaml"), filepath.Join(dir, "good.json")
	text := fmt.Sprintf(`
listeners: [{address: %q}]
admin: {address: %q}
access_log: {format: "off"}
routes: [{name: r, match: {paths: ["/"]}, lua: {content: {file: a.lua}}}]
`, addr, adminAddr)
	write(t, path, text)
	write(t, filepath.Join(dir, "a.lua"), `ngx.print("first")`)
	args := []string{"run", "-c", path, "-last-good", good}
	launch(t, addr, args...).end(syscall.SIGTERM)
	info, err := os.Stat(good)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the kept file: %v %v", info, err)
	}
	for name, damage := range map[string]func(){
		"half a file":       func() { write(t, path, text[:len(text)/2]+"{") },
		"a script's syntax": func() { write(t, path, text); write(t, filepath.Join(dir, "a.lua"), `ngx.print(`) },
		"no file":           func() { _ = os.Remove(path) },
	} {
		damage()
		r := launch(t, addr, args...)
		// It is counted once the listener is open.
		eventually(t, name+": the last good configuration does not serve", func() bool {
			res, err := http.Get("http://" + adminAddr + "/metrics")
			if err != nil {
				return false
			}
			defer res.Body.Close()
			metrics, _ := io.ReadAll(res.Body)
			return bytes.Contains(metrics, []byte("perigee_config_stale 1")) &&
				bytes.Contains(metrics, []byte(`perigee_reloads_total{outcome="last_good"} 1`))
		})
		if _, body := get(t, "http://"+addr); body != "first" {
			t.Errorf("%s: answered %q", name, body)
		}
		// The file is mended: the running process takes it.
		write(t, path, text)
		write(t, filepath.Join(dir, "a.lua"), `ngx.print("first")`)
		_ = r.cmd.Process.Signal(syscall.SIGHUP)
		eventually(t, "the mended file was not applied", func() bool {
			_, metrics := get(t, "http://"+adminAddr+"/metrics")
			return strings.Contains(metrics, "perigee_config_stale 0")
		})
		r.end(syscall.SIGTERM)
		if !strings.Contains(r.stderr.String(), "the configuration is broken, the last good one of ") {
			t.Errorf("%s: log: %s", name, r.stderr)
		}
	}
	var saved struct{ Digest string }
	kept, _ := os.ReadFile(good)
	if err := json.Unmarshal(kept, &saved); err != nil || len(saved.Digest) != 64 {
		t.Errorf("kept %.200s: %v", kept, err)
	}
	// Without a file that was kept a broken configuration ends the start.
	write(t, path, "listeners: 7\n")
	_ = os.Remove(good)
	if code, _, errs := execute(t, args...); code != exitFailed || !strings.Contains(errs, "perigee.yaml:1:") {
		t.Errorf("exit %d: %s", code, errs)
	}
	write(t, good, "no JSON")
	if code, _, errs := execute(t, args...); code != exitFailed || !strings.Contains(errs, "was not written by -last-good") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
