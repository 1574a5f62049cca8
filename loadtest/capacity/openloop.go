package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An openLoop sends requests at times that were drawn beforehand, whether earlier
// ones are answered or not: as many to a gateway that is dear as to one that is
// not. One thread polls all connections, because it shares the cores with what it
// measures.
//
//	due ---> the connection that has been idle longest ---> answered: idle again
//	         none is: the request waits, and its wait counts
type openLoop struct {
	epoll   int
	request []byte
	conns   []openConn
	idle    []int32 // a queue: every connection takes part
	took    []time.Duration
}

type openConn struct {
	fd   int
	due  time.Time
	busy bool
	in   []byte

	answers int
}

// openLoopConnections is how many connections an open loop has.
const openLoopConnections = 64

// dialOpenLoop opens the connections to the gateway; close closes them.
func dialOpenLoop(host, path string) (*openLoop, error) {
	o := &openLoop{request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: capacity\r\n\r\n", path, host)}
	var err error
	if o.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	ap, err := net.ResolveTCPAddr("tcp4", gatewayAddr)
	if err != nil {
		return nil, err
	}
	to := &unix.SockaddrInet4{Port: ap.Port, Addr: [4]byte(ap.IP.To4())}
	for i := range int32(openLoopConnections) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			o.close()
			return nil, err
		}
		o.conns = append(o.conns, openConn{fd: fd, in: make([]byte, 0, 64<<10)})
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: i}
		if err := errors.Join(unix.Connect(fd, to), unix.SetNonblock(fd, true),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
			unix.EpollCtl(o.epoll, unix.EPOLL_CTL_ADD, fd, &event)); err != nil {
			o.close()
			return nil, fmt.Errorf("%s, connection %d: %w", gatewayAddr, i, err)
		}
		o.idle = append(o.idle, i)
	}
	return o, nil
}

func (o *openLoop) close() {
	for i := range o.conns {
		_ = unix.Close(o.conns[i].fd)
	}
	_ = unix.Close(o.epoll)
}

// run offers so many requests a second, a Poisson process that is the same at each
// call, and waits for the answers. What took more than giveUp ends the run.
func (o *openLoop) run(perSecond float64, lasting time.Duration) error {
	const giveUp = 30 * time.Second
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A sleep is as long as it should be, and not 50 us longer.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	draw := rand.New(rand.NewPCG(1, 2))
	gap := func() time.Duration { return time.Duration(draw.ExpFloat64() / perSecond * 1e9) }
	o.took = o.took[:0]
	begin := time.Now()
	end := begin.Add(lasting)
	for due := begin.Add(gap()); ; {
		now := time.Now()
		for len(o.idle) > 0 && !due.After(now) && due.Before(end) {
			if err := o.send(due); err != nil {
				return err
			}
			due = due.Add(gap())
		}
		over := !due.Before(end)
		if over && len(o.idle) == len(o.conns) {
			return nil
		}
		if now.Sub(end) > giveUp {
			return fmt.Errorf("%d requests have no answer after %v", len(o.conns)-len(o.idle), giveUp)
		}
		wait := due.Sub(now)
		if over || len(o.idle) == 0 {
			wait = time.Second
		}
		if err := o.poll(max(wait, 0)); err != nil {
			return err
		}
	}
}

func (o *openLoop) send(due time.Time) error {
	c := &o.conns[o.idle[0]]
	o.idle = append(o.idle[:0], o.idle[1:]...)
	c.due, c.busy = due, true
	n, err := unix.Write(c.fd, o.request)
	if err == nil && n < len(o.request) {
		err = errors.New("the request was not taken at once")
	}
	return err
}

// poll takes what is answered within wait, in ns: epoll_wait knows ms alone.
func (o *openLoop) poll(wait time.Duration) error {
	var events [openLoopConnections]unix.EpollEvent
	timeout := unix.NsecToTimespec(int64(wait))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(o.epoll), uintptr(unsafe.Pointer(&events)),
		uintptr(len(events)), uintptr(unsafe.Pointer(&timeout)), 0, 0)
	if errno == unix.EINTR {
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("epoll_pwait2, of Linux 5.11: %w", errno)
	}
	for _, e := range events[:n] {
		if err := o.read(e.Fd); err != nil {
			return fmt.Errorf("connection %d: %w", e.Fd, err)
		}
	}
	return nil
}

func (o *openLoop) read(i int32) error {
	c := &o.conns[i]
	n, err := unix.Read(c.fd, c.in[len(c.in):cap(c.in)])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("closed after %d answers, %d bytes into the next", c.answers, len(c.in))
	case !c.busy:
		return fmt.Errorf("nothing was asked for: %q", c.in[:len(c.in)+n])
	}
	c.in = c.in[:len(c.in)+n]
	whole, err := isWhole(c.in)
	if err != nil || !whole {
		return err
	}
	o.took = append(o.took, time.Since(c.due))
	c.in, c.busy = c.in[:0], false
	c.answers++
	o.idle = append(o.idle, i)
	return nil
}

// isWhole tells whether an answer is complete; it must be a success of a known
// length.
func isWhole(answer []byte) (bool, error) {
	head, body, found := bytes.Cut(answer, []byte("\r\n\r\n"))
	if !found {
		return false, nil
	}
	_, rest, _ := bytes.Cut(head, []byte("\r\nContent-Length: "))
	length, _, _ := bytes.Cut(rest, []byte("\r\n"))
	n, err := strconv.Atoi(string(length))
	if err != nil || !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) || len(body) > n {
		return false, fmt.Errorf("answered %q", answer)
	}
	return len(body) == n, nil
}

// percentile is of the last run.
func (o *openLoop) percentile(p int) time.Duration {
	if len(o.took) == 0 {
		return 0
	}
	slices.Sort(o.took)
	return o.took[len(o.took)*p/100]
}

// threadTime is what all threads of a process have used, to the ns: what
// /proc/PID/stat counts in ticks of 10 ms.
func threadTime(pid int) (sum time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, path := range files {
		text, _ := os.ReadFile(path)
		first, _, _ := bytes.Cut(text, []byte(" "))
		ns, _ := strconv.ParseInt(string(first), 10, 64)
		sum += time.Duration(ns)
	}
	return sum
}
