package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestListenersThatAreOff(t *testing.T) {
	for _, address := range []string{"", "off"} {
		s, err := Start(Options{Address: address}, &fake{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Addr() != "" || s.ProbesAddr() != "" {
			t.Errorf("%q: bound %q and %q", address, s.Addr(), s.ProbesAddr())
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestBindingIsAllOrNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	if _, err = Start(Options{Address: taken.Addr().String()}, &fake{}); err == nil || !strings.Contains(err.Error(), "admin.address") {
		t.Errorf("taken address: %v", err)
	}
	_, err = Start(Options{Address: address, Probes: taken.Addr().String()}, &fake{})
	if err == nil || !strings.Contains(err.Error(), "admin.probes") {
		t.Errorf("taken probes: %v", err)
	}
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("admin.address is still bound: %v", err)
	}
	again.Close()
}

func TestCloseLetsAnswersEndAndCutsThemAtTheLimit(t *testing.T) {
	for name, c := range map[string]struct {
		limit time.Duration
		cut   bool
	}{"in time": {5 * time.Second, false}, "too late": {20 * time.Millisecond, true}} {
		entered, leave := make(chan struct{}), make(chan struct{})
		s, err := Start(Options{Address: "127.0.0.1:0"}, &fake{masked: "x", reloading: func(context.Context) {
			close(entered)
			<-leave
		}})
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan error, 1)
		go func() {
			resp, err := http.Post("http://"+s.Addr()+"/reload", "", nil)
			if err == nil {
				resp.Body.Close()
			}
			asked <- err
		}()
		<-entered
		if !c.cut {
			time.AfterFunc(20*time.Millisecond, func() { close(leave) })
		}
		ctx, cancel := context.WithTimeout(t.Context(), c.limit)
		err = s.Close(ctx)
		cancel()
		if c.cut {
			close(leave)
		}
		if errors.Is(err, context.DeadlineExceeded) != c.cut {
			t.Errorf("%s: Close: %v", name, err)
		}
		if err := <-asked; (err != nil) != c.cut {
			t.Errorf("%s: request: %v", name, err)
		}
	}
}

func TestConnectionsAreCapped(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newCapped(inner, 1)
	accepted := make(chan net.Conn)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	for range 2 {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	first := <-accepted
	select {
	case <-accepted:
		t.Fatal("a second connection was accepted beside the first")
	case <-time.After(30 * time.Millisecond):
	}
	first.Close()
	first.Close() // frees one place, not two
	second := <-accepted
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	l.Close() // again, as http.Server may
	if _, open := <-accepted; open {
		t.Error("Accept goes on after Close")
	}
	second.Close()
}

func TestProfilesMayTakeLongerThanOtherAnswers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a second")
	}
	s := started(t, &fake{})
	got := ask(t, "GET", "http://"+s.Addr()+"/debug/pprof/trace?seconds=1")
	if got.status != 200 || len(got.body) == 0 {
		t.Errorf("%d, %d bytes", got.status, len(got.body))
	}
	var deadline time.Time
	w := &deadlineWriter{ResponseWriter: nil, deadline: &deadline}
	r, err := http.NewRequest("GET", "/debug/pprof/profile?seconds=300", nil)
	if err != nil {
		t.Fatal(err)
	}
	timed(30*time.Second, func(http.ResponseWriter, *http.Request) {})(w, r)
	if left := time.Until(deadline); left < 300*time.Second {
		t.Errorf("a profile of 300 s has %v", left)
	}
}

type deadlineWriter struct {
	http.ResponseWriter
	deadline *time.Time
}

func (d *deadlineWriter) SetWriteDeadline(at time.Time) error {
	*d.deadline = at
	return nil
}

func TestSlowHeadsAreCut(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for the header timeout")
	}
	s := started(t, &fake{})
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
	if err := conn.SetReadDeadline(time.Now().Add(headerTimeout + 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("still open after the header timeout: %v", err)
	}
}
