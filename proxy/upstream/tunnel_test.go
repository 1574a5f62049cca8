package upstream

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// home is the loop of one connection.
type home struct{ closed int }

func (h *home) Canceled()      {}
func (h *home) Now() time.Time { return time.Now() }
func (h *home) Close()         { h.closed++ }

// A connection that a loop has made is closed there when its exchange is
// canceled before it becomes a tunnel: nobody else has its descriptor.
func TestHijackOfCanceledInLoop(t *testing.T) {
	e := endpoint(t, func(*net.TCPConn) {})
	if !e.admit(e.limits.Load()) {
		t.Fatal("no connection is admitted")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	h := &home{}
	c := e.Connected(pair[0], 0, &net.TCPAddr{}, Timeouts{})
	c.Tell(h)
	c.upgraded = true
	c.Cancel()
	if _, err := c.Hijack(); !errors.Is(err, ErrCanceled) {
		t.Errorf("the error is %v", err)
	}
	if n := e.inFlight.Load(); h.closed != 1 || n != 0 {
		t.Errorf("closed %d times, %d connections in use", h.closed, n)
	}
}
