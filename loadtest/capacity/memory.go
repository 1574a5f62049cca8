package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const memoryTitle = "Memory beside nginx and haproxy"

// memory is what the processes of a program take.
type memory struct {
	pss int64 // a page that n processes share counts 1/n for each
	rss int64 // it counts once for each
}

// footprint is a program's memory.
type footprint struct {
	name   string
	absent string // why it has not been measured
	rest   memory // after its start
	idle   memory // with idle connections that have asked once
	routes memory // after each of many routes has been asked for once
}

// memory measures the gateway beside others, writes tables and a plot, and notes
// which bounds do not hold.
func (b *bed) memory(r *report, idle int) error {
	var all []footprint
	for _, p := range memoryPeers() {
		f := footprint{name: p.name}
		if _, err := exec.LookPath(p.program); err != nil {
			f.absent = fmt.Sprintf("not measured: there is no %s in PATH", p.program)
		} else if err := f.measure(p, idle); err != nil {
			return fmt.Errorf("%s: %s: %w", memoryTitle, p.name, err)
		}
		all = append(all, f)
	}
	r.footprints(all, idle)
	fmt.Fprintln(os.Stderr, memoryTitle)
	return nil
}

// measure starts p with one route and with many.
func (f *footprint) measure(p peer, idle int) error {
	err := p.run(idle, 0, func(pid int) (err error) {
		if f.rest, err = settled(pid); err != nil {
			return err
		}
		held, err := hold(idle)
		defer release(held)
		if err != nil {
			return err
		}
		f.idle, err = settled(pid)
		return err
	})
	if err != nil {
		return err
	}
	return p.run(idle, manyRoutesTotal, func(pid int) (err error) {
		c, err := net.Dial("tcp", gatewayAddr)
		if err != nil {
			return err
		}
		defer c.Close()
		for i := range manyRoutesTotal {
			if err := ask(c, fmt.Sprintf("/r%d/", i)); err != nil {
				return err
			}
		}
		f.routes, err = settled(pid)
		return err
	})
}

// run starts p, lets do see its process, and ends it.
func (p peer) run(idle, routes int, do func(pid int) error) error {
	dir, err := os.MkdirTemp("", "capacity-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, p.file), []byte(p.config(idle, routes)), 0o600); err != nil {
		return err
	}
	first := "/"
	if routes > 0 {
		first = "/r0/"
	}
	cmd := p.command(dir)
	if err := serve(cmd, "http://"+gatewayAddr+first); err != nil {
		return err
	}
	defer end(cmd)
	return do(cmd.Process.Pid)
}

// hold opens n connections that ask once and say nothing more. The connections are
// the caller's, also those before an error.
func hold(n int) (held []net.Conn, err error) {
	for len(held) < n {
		c, err := net.Dial("tcp", gatewayAddr)
		if err != nil {
			return held, fmt.Errorf("connection %d: %w", len(held), err)
		}
		held = append(held, c)
		if err := ask(c, "/"); err != nil {
			return held, fmt.Errorf("connection %d: %w", len(held), err)
		}
	}
	return held, nil
}

// release resets connections: closed, they would keep their ports for a minute, which
// the next program's clients need.
func release(held []net.Conn) {
	for _, c := range held {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// ask asks for path and wants success.
func ask(c net.Conn, path string) error {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s, %v", path, answer.Status, err)
	}
	return nil
}

// settled waits until memory stays as it is, for at most five seconds: workers still
// start, and what was needed only for a while is given back.
func settled(pid int) (memory, error) {
	last, err := memoryOf(pid)
	for range 10 {
		if err != nil {
			break
		}
		time.Sleep(500 * time.Millisecond)
		before := last
		if last, err = memoryOf(pid); max(last.pss-before.pss, before.pss-last.pss) < 128<<10 {
			break
		}
	}
	return last, err
}

// memoryOf is what a process and its children take: nginx's workers.
func memoryOf(pid int) (all memory, err error) {
	pids := []string{strconv.Itoa(pid)}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(lists) == 0 {
		return all, fmt.Errorf("process %d has ended, or this kernel has no lists of children (CONFIG_PROC_CHILDREN)", pid)
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // a thread that has ended
			return all, err
		}
		pids = append(pids, strings.Fields(string(text))...)
	}
	for _, pid := range pids {
		text, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
		if err != nil {
			return all, err
		}
		m, err := rollup(text)
		if err != nil {
			return all, fmt.Errorf("process %s: %w", pid, err)
		}
		all.pss += m.pss
		all.rss += m.rss
	}
	return all, nil
}

// rollup reads a text like /proc/PID/smaps_rollup.
func rollup(text []byte) (m memory, err error) {
	found := 0
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		var into *int64
		switch fields[0] {
		case "Pss:":
			into = &m.pss
		case "Rss:":
			into = &m.rss
		default:
			continue
		}
		kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return memory{}, fmt.Errorf("smaps_rollup: %s %q is no number", fields[0], fields[1])
		}
		*into = kilobytes << 10
		found++
	}
	if found != 2 {
		return memory{}, fmt.Errorf("smaps_rollup: %d of Rss and Pss in %q", found, text)
	}
	return m, nil
}
