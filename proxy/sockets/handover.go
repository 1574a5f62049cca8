package sockets

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Bound is a listening socket with its address as the configuration has it.
type Bound struct {
	Address string
	net.Listener
}

// Start starts path with args (args[0] is its name) as the successor of this
// process: it inherits listeners, standard output and error, directory and
// environment. It returns the process when the successor has announced that it
// serves; until then this process must go on serving. When the successor ends, or ctx does,
// before that, the successor is killed and the error says so; nothing has changed then.
func Start(ctx context.Context, path string, args []string, listeners []Bound) (*os.Process, error) {
	files, names, err := duplicates(listeners)
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe for the successor's readiness: %w", err)
	}
	defer ready.Close()
	process, err := os.StartProcess(path, args, &os.ProcAttr{
		Env:   environment(os.Environ(), names, firstFD+len(files)),
		Files: append(append([]*os.File{os.Stdin, os.Stdout, os.Stderr}, files...), theirs),
	})
	_ = theirs.Close()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	if err := await(ctx, ready); err != nil {
		_ = process.Kill()
		state, _ := process.Wait()
		return nil, fmt.Errorf("%s (process %d) did not take over: %w; it ended with %v, its log says why", path, process.Pid, err, state)
	}
	return process, nil
}

// duplicates are descriptors of the listeners' sockets, and the text that names
// them for the successor.
func duplicates(listeners []Bound) (files []*os.File, names string, err error) {
	var b strings.Builder
	for _, l := range listeners {
		sock, ok := l.Listener.(filer)
		if !ok {
			return files, "", fmt.Errorf("listener %s has no descriptor to hand over", l.Address)
		}
		f, err := sock.File()
		if err != nil {
			return files, "", fmt.Errorf("listener %s: %w", l.Address, err)
		}
		if b.Len() > 0 {
			b.WriteByte(';')
		}
		fmt.Fprintf(&b, "%s=%d", url.QueryEscape(l.Address), firstFD+len(files))
		files = append(files, f)
	}
	return files, b.String(), nil
}

// filer is a listener that gives a copy of its descriptor.
type filer interface{ File() (*os.File, error) }

// environment is env with the successor's part in place of an older one.
func environment(env []string, names string, ready int) []string {
	var out []string
	for _, v := range env {
		switch name, _, _ := strings.Cut(v, "="); name {
		case envPID, envCount, envNames, envListen, envReady:
		default:
			out = append(out, v)
		}
	}
	return append(out, envListen+"="+names, envReady+"="+strconv.Itoa(ready))
}

// await waits for the successor's byte.
func await(ctx context.Context, ready *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var b [1]byte
	switch _, err := ready.Read(b[:]); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return fmt.Errorf("it closed its end without having served (%w)", err)
	}
}

// Keep lets the file of a unix socket stay when its listener is closed: another
// process goes on accepting there.
func Keep(ln net.Listener) {
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
}
