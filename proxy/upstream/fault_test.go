package upstream

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/proxy/wire"
)

const emptyAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// reset ends a connection with a RST instead of a FIN.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// TestKeptConnectionFails: what happens to the second exchange when the origin
// ends or disturbs the connection after the first.
func TestKeptConnectionFails(t *testing.T) {
	tests := []struct {
		name  string
		after func(c *net.TCPConn)
		// What errors.Is has to say.
		stale, unsent bool
	}{
		{"closed while idle", func(c *net.TCPConn) { c.Close() }, true, true},
		{"reset while idle", reset, true, true},
		{"unasked bytes", func(c *net.TCPConn) { io.WriteString(c, emptyAnswer) }, true, true},
		{"408 and close", func(c *net.TCPConn) {
			io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
			c.Close()
		}, true, true},
		{"closed on the next request", func(c *net.TCPConn) { readRequest(c) }, true, false},
		{"reset on the next request", func(c *net.TCPConn) { readRequest(c); reset(c) }, true, false},
		{"closed inside the next head", func(c *net.TCPConn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 2")
		}, false, false},
		{"reset inside the next head", func(c *net.TCPConn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 2")
			time.Sleep(30 * time.Millisecond)
			reset(c)
		}, false, false},
	}
	for _, tt := range tests {
		for _, way := range []string{"WriteLast", "Write"} {
			t.Run(tt.name+"/"+way, func(t *testing.T) {
				t.Parallel()
				first, done := make(chan struct{}), make(chan struct{}, 2)
				e := endpoint(t, func(c *net.TCPConn) {
					if readRequest(c) {
						_, _ = io.WriteString(c, emptyAnswer)
						<-first
						tt.after(c)
						done <- struct{}{}
						if tt.unsent {
							readRequest(c)
						}
					}
				})
				if a, err := exchange(e, testTimeouts, wire.AskedOther); err != nil || !a.kept {
					t.Fatalf("first exchange: %+v, error %v", a, err)
				}
				close(first)
				if tt.unsent { // the origin acts before the second exchange
					<-done
					time.Sleep(20 * time.Millisecond)
				}
				c, reused, err := e.Acquire(testTimeouts)
				if err != nil || !reused {
					t.Fatalf("reused %v, error %v", reused, err)
				}
				err = tryRequest(c, way)
				c.Release(Abandoned)
				if errors.Is(err, ErrStale) != tt.stale || errors.Is(err, ErrUnsent) != tt.unsent || err == nil {
					t.Errorf("error %v: stale %v, unsent %v", err, errors.Is(err, ErrStale), errors.Is(err, ErrUnsent))
				}
				c, err = e.AcquireNew(testTimeouts)
				if err != nil {
					t.Fatal(err)
				}
				if err := tryRequest(c, way); err != nil {
					t.Errorf("second attempt on a new connection: %v", err)
				}
				c.Release(Finished)
			})
		}
	}
}

// tryRequest makes the request until its head or an error.
func tryRequest(c *Conn, way string) error {
	if way == "WriteLast" {
		c.WriteLast([]byte(request), nil, nil)
	} else {
		if err := c.Write([]byte(request), nil, nil); err != nil {
			return err
		}
		c.SentAll()
	}
	var res wire.ResponseHead
	_, err := c.ReadHead(&res, wire.AskedOther)
	return err
}

func TestResetOfNewConnection(t *testing.T) {
	e := endpoint(t, func(c *net.TCPConn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 2")
		time.Sleep(10 * time.Millisecond)
		reset(c)
	})
	_, err := exchange(e, testTimeouts, wire.AskedOther)
	var te *TransferError
	if !errors.As(err, &te) || te.Step != StepHead || te.Timeout() || errors.Is(err, ErrStale) {
		t.Errorf("error %v", err)
	}
	if e.Info().Idle != 0 || e.Info().InFlight != 0 {
		t.Errorf("%+v", e.Info())
	}
}

func TestTimeouts(t *testing.T) {
	const timeout = 60 * time.Millisecond
	tests := []struct {
		name     string
		timeouts Timeouts
		serve    func(c *net.TCPConn)
		do       func(c *Conn) error
		step     Step
	}{
		{"no head", Timeouts{Response: timeout}, silent, func(c *Conn) error { return tryRequest(c, "WriteLast") }, StepHead},
		{"no head after Write", Timeouts{Response: timeout}, silent, func(c *Conn) error { return tryRequest(c, "Write") }, StepHead},
		{"half a head", Timeouts{Response: timeout}, func(c *net.TCPConn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nCont")
			silent(c)
		}, func(c *Conn) error { return tryRequest(c, "WriteLast") }, StepHead},
		{"head byte by byte", Timeouts{Response: timeout}, func(c *net.TCPConn) {
			readRequest(c)
			for range 100 {
				if _, err := io.WriteString(c, "H"[:1]); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}, func(c *Conn) error { return tryRequest(c, "WriteLast") }, StepHead},
		{"body stalls", Timeouts{Response: 5 * time.Second, Read: timeout}, func(c *net.TCPConn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel")
			silent(c)
		}, func(c *Conn) error {
			c.WriteLast([]byte(request), nil, nil)
			a, err := receive(c, wire.AskedOther)
			if a.body != "hel" {
				return errors.New("body " + a.body)
			}
			return err
		}, StepBody},
		{"endpoint takes nothing", Timeouts{Send: timeout}, func(c *net.TCPConn) { time.Sleep(time.Second) }, func(c *Conn) error {
			return c.Write(flood, nil, nil)
		}, StepSend},
		{"endpoint takes not all", Timeouts{Send: timeout}, func(c *net.TCPConn) { time.Sleep(time.Second) }, func(c *Conn) error {
			c.WriteLast(flood, nil, nil)
			_, err := c.ReadHead(&wire.ResponseHead{}, wire.AskedOther)
			return err
		}, StepSend},
		{"no 100", Timeouts{Response: timeout}, silent, func(c *Conn) error {
			if err := c.Write([]byte(request), nil, nil); err != nil {
				return err
			}
			c.AwaitHead()
			_, err := c.ReadHead(&wire.ResponseHead{}, wire.AskedOther)
			return err
		}, StepHead},
		{"no head, reader waits before SentAll", Timeouts{Response: timeout}, silent, func(c *Conn) error {
			go func() {
				_ = c.Write([]byte(request), nil, nil)
				time.Sleep(3 * timeout)
				c.SentAll()
			}()
			begin := time.Now()
			_, err := c.ReadHead(&wire.ResponseHead{}, wire.AskedOther)
			if time.Since(begin) < 4*timeout {
				return errors.New("the response timeout ran before SentAll")
			}
			return err
		}, StepHead},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := endpoint(t, tt.serve)
			c, _, err := e.Acquire(tt.timeouts)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Release(Abandoned)
			begin := time.Now()
			err = tt.do(c)
			var te *TransferError
			if !errors.As(err, &te) || te.Step != tt.step || !te.Timeout() || errors.Is(err, ErrStale) {
				t.Errorf("error %v", err)
			}
			if spent := time.Since(begin); spent < timeout || spent > 10*timeout {
				t.Errorf("timeout of %v came after %v", timeout, spent)
			}
		})
	}
}

// silent reads on without an answer.
func silent(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }

// TestSlowBodyIsNoTimeout: the body may take longer than any timeout while it
// moves, and so may whoever takes it.
func TestSlowBodyIsNoTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 400 * time.Millisecond
	e := endpoint(t, func(c *net.TCPConn) {
		for readRequest(c) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
			for range 10 {
				time.Sleep(timeout / 4)
				_, _ = io.WriteString(c, "x")
			}
		}
	})
	c, _, err := e.Acquire(Timeouts{Response: timeout, Read: timeout})
	if err != nil {
		t.Fatal(err)
	}
	c.WriteLast([]byte(request), nil, nil)
	var res wire.ResponseHead
	if _, err := c.ReadHead(&res, wire.AskedOther); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 10; {
		piece, err := c.NextBody()
		if err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		if n += len(piece); n == 3 {
			time.Sleep(2 * timeout)
		}
	}
	if !c.Release(Finished) {
		t.Error("connection was not kept")
	}
}

// TestOldDeadlineHarmsNoLaterExchange: a connection idle for longer than the
// timeouts of the exchange before is as good as any.
func TestOldDeadlineHarmsNoLaterExchange(t *testing.T) {
	t.Parallel()
	e := endpoint(t, func(c *net.TCPConn) {
		for readRequest(c) {
			time.Sleep(5 * time.Millisecond)
			_, _ = io.WriteString(c, emptyAnswer)
		}
	})
	const short = 200 * time.Millisecond
	timeouts := Timeouts{Send: short, Response: short, Read: short}
	for _, way := range []string{"WriteLast", "Write", "WriteLast", "Write"} {
		c, _, err := e.Acquire(timeouts)
		if err != nil {
			t.Fatal(err)
		}
		// The sender's deadline too, which a small request never arms.
		if err := c.link.beforeWait(true); err != nil {
			t.Fatal(err)
		}
		if err := tryRequest(c, way); err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		if !c.Release(Finished) {
			t.Fatal("connection was not kept")
		}
		time.Sleep(short + short/2)
	}
	if i := e.Info(); i.Dialed != 1 {
		t.Errorf("%d connections", i.Dialed)
	}
}

// TestShorterTimeoutIsArmed: a deadline armed for a patient exchange does not
// hold for an impatient one.
func TestShorterTimeoutIsArmed(t *testing.T) {
	var slow atomic.Bool
	e := endpoint(t, func(c *net.TCPConn) {
		for readRequest(c) {
			if slow.Load() {
				silent(c)
			}
			time.Sleep(5 * time.Millisecond)
			_, _ = io.WriteString(c, emptyAnswer)
		}
	})
	if _, err := exchange(e, Timeouts{Response: time.Minute}, wire.AskedOther); err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	begin := time.Now()
	_, err := exchange(e, Timeouts{Response: 50 * time.Millisecond}, wire.AskedOther)
	if !isTimeout(err) || time.Since(begin) > time.Second {
		t.Errorf("error %v after %v", err, time.Since(begin))
	}
}

func TestCancel(t *testing.T) {
	tests := []struct {
		name string
		do   func(c *Conn) error
	}{
		{"head", func(c *Conn) error { return tryRequest(c, "WriteLast") }},
		{"head after Write", func(c *Conn) error { return tryRequest(c, "Write") }},
		{"send", func(c *Conn) error { return c.Write(flood, nil, nil) }},
		{"send in turn", func(c *Conn) error {
			c.WriteLast(flood, nil, nil)
			_, err := c.ReadHead(&wire.ResponseHead{}, wire.AskedOther)
			return err
		}},
	}
	for _, tt := range tests {
		for _, when := range []time.Duration{0, 30 * time.Millisecond} {
			t.Run(tt.name+"/"+when.String(), func(t *testing.T) {
				// A busy machine gets three tries to be fast enough.
				var spent time.Duration
				for range 3 {
					if spent = cancelOne(t, tt.do, when); spent < 50*time.Millisecond {
						return
					}
				}
				t.Errorf("unblocked %v after Cancel", spent)
			})
		}
	}
}

// cancelOne cancels do after a while and says how long it took to return.
func cancelOne(t *testing.T, do func(c *Conn) error, when time.Duration) time.Duration {
	e := endpoint(t, func(c *net.TCPConn) { time.Sleep(300 * time.Millisecond) })
	c, _, err := e.Acquire(testTimeouts)
	if err != nil {
		t.Fatal(err)
	}
	canceler := c.Canceler()
	canceled := make(chan time.Time, 1)
	go func() {
		time.Sleep(when)
		canceled <- time.Now()
		canceler.Cancel()
	}()
	err = do(c)
	spent := time.Since(<-canceled)
	if !errors.Is(err, ErrCanceled) || errors.Is(err, ErrStale) {
		t.Errorf("error %v", err)
	}
	if c.Release(Finished) {
		t.Error("a canceled connection was kept")
	}
	return spent
}

// TestCancelWinsOverArming: a Cancel is never lost, however it meets the arming
// of deadlines.
func TestCancelWinsOverArming(t *testing.T) {
	e := endpoint(t, silent)
	for i := range 200 {
		c, err := e.AcquireNew(Timeouts{Response: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		k := c.Canceler()
		var wg sync.WaitGroup
		wg.Go(func() {
			for range i % 50 {
				runtime.Gosched()
			}
			k.Cancel()
		})
		if err := tryRequest(c, "WriteLast"); !errors.Is(err, ErrCanceled) {
			t.Fatalf("error %v", err)
		}
		wg.Wait()
		c.Release(Abandoned)
	}
}

// TestCancelMeetsSentAll: the sender arms the waiting reader's deadline at the
// moment of a Cancel.
func TestCancelMeetsSentAll(t *testing.T) {
	e := endpoint(t, silent)
	for range 100 {
		c, err := e.AcquireNew(Timeouts{Response: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		k := c.Canceler()
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = c.Write([]byte(request), nil, nil)
			for !c.link.deadlines.waiting.Load() && !c.link.canceled() {
				runtime.Gosched()
			}
			c.SentAll()
		})
		wg.Go(func() {
			for !c.link.deadlines.waiting.Load() {
				runtime.Gosched()
			}
			k.Cancel()
		})
		if _, err := c.ReadHead(&wire.ResponseHead{}, wire.AskedOther); !errors.Is(err, ErrCanceled) {
			t.Fatalf("error %v", err)
		}
		wg.Wait()
		c.Release(Abandoned)
	}
}

// TestLateCancelReachesNobody: a handle from an exchange that is over does not
// touch the next one on the same connection.
func TestLateCancelReachesNobody(t *testing.T) {
	e := endpoint(t, answering(emptyAnswer))
	var late []Canceler
	for range 20 {
		c, _, err := e.Acquire(testTimeouts)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range late {
			k.Cancel()
		}
		if err := tryRequest(c, "WriteLast"); err != nil {
			t.Fatal(err)
		}
		late = append(late, c.Canceler())
		if !c.Release(Finished) {
			t.Fatal("connection was not kept")
		}
		for _, k := range late {
			k.Cancel()
		}
	}
	Canceler{}.Cancel()
	if e.Info().Dialed != 1 {
		t.Errorf("%d connections", e.Info().Dialed)
	}
}

func TestConnectErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := l.Addr().String()
	l.Close()
	mute := origin(t, silent)
	tests := []struct {
		name    string
		address string
		kind    ConnectKind
	}{
		{"refused", refusing, ConnectRefused},
		{"mute TLS server", "https://" + mute, ConnectTimeout},
		{"no TLS server", "https://" + origin(t, func(c *net.TCPConn) { io.WriteString(c, "220 smtp ready\r\n") }), ConnectTLS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := group(t, testConfig(tt.address)).members[0].endpoint
			_, _, err := e.Acquire(Timeouts{Connect: 100 * time.Millisecond})
			var ce *ConnectError
			if !errors.As(err, &ce) || ce.Kind != tt.kind || ce.Timeout() != (tt.kind == ConnectTimeout) {
				t.Fatalf("error %v", err)
			}
			if !strings.Contains(err.Error(), strings.TrimPrefix(tt.address, "https://")) {
				t.Errorf("error without the address: %v", err)
			}
			if e.Info().InFlight != 0 {
				t.Errorf("in flight: %d", e.Info().InFlight)
			}
		})
	}
}

func TestErrorTexts(t *testing.T) {
	err := &TransferError{Address: "a:1", Step: StepHead, Err: os.ErrDeadlineExceeded}
	if got := err.Error(); got != "read response head of a:1: i/o timeout" {
		t.Errorf("%q", got)
	}
	stale := &TransferError{Address: "a:1", Step: StepSend, Err: ErrTruncated, stale: true}
	if got := stale.Error(); !strings.Contains(got, "kept connection") {
		t.Errorf("%q", got)
	}
}
