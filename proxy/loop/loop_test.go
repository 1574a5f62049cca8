package loop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// answering is a gateway of one step: it tells which loop serves the request.
type answering struct {
	ids     atomic.Uint64
	open    atomic.Int64
	refused atomic.Int64
	panics  atomic.Int64
}

func (a *answering) advance(ex *exchange.Exchange) bool {
	if ex.Waiting(exchange.OpWrite) {
		return ex.Take(exchange.OpWrite) != nil
	}
	if strings.Contains(string(ex.Raw), "/panic") {
		panic("asked for")
	}
	body := fmt.Sprintf("loop %d", ex.Worker-1)
	ex.Resp.SetStatusCode(200)
	ex.Resp.SetLength(int64(len(body)))
	ex.Place.BodyFrame = wire.BodyLength
	ex.Send = exchange.Send{Head: true, Data: []byte(body), Last: true}
	ex.Post(exchange.OpWrite)
	return false
}

func (a *answering) options() Options {
	return Options{Gateway: exchange.Gateway{
		Begin: func(ex *exchange.Exchange) {}, Advance: a.advance,
		Subrequests: func(*luavm.Op) []*exchange.Exchange { return nil },
		Refused:     func(*exchange.Conn, *wire.Error) { a.refused.Add(1) },
		Recovered:   func(any) { a.panics.Add(1) },
		Trusted:     func(netip.Addr) bool { return false },
		Opened:      func(string) { a.open.Add(1) }, Closed: func(string) { a.open.Add(-1) },
		Others: func() int { return 0 },
	}, Perform: func(*exchange.Exchange, *luavm.Op) {}, NextID: func() uint64 { return a.ids.Add(1) }}
}

// serve runs n loops on a listener of loopback until the test ends.
func serve(t *testing.T, n int, limits Limits) (*Server, *answering, string) {
	t.Helper()
	a := &answering{}
	s, err := start(n, a.options(), limits)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := s.Serve(ln, "test"); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(s.Close)
	eventually(t, "the listener is watched", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.listeners) > 0
	})
	return s, a, ln.Addr().String()
}

// talker is a client that keeps one connection.
type talker struct {
	nc net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, addr string) *talker {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	return &talker{nc, bufio.NewReader(nc)}
}

func (c *talker) send(path string) error {
	_, err := io.WriteString(c.nc, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
	return err
}

func (c *talker) ask(path string) (string, error) {
	if err := c.send(path); err != nil {
		return "", err
	}
	return c.answer()
}

func (c *talker) answer() (string, error) {
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestConnectionsMoveBetweenLoops(t *testing.T) {
	s, _, addr := serve(t, 3, Limits{})
	var failed atomic.Int64
	var stop atomic.Bool
	var seen [3]atomic.Int64
	var clients sync.WaitGroup
	for range 24 {
		c := dial(t, addr)
		clients.Add(1)
		go func() {
			defer clients.Done()
			for !stop.Load() {
				said, err := c.ask("/")
				var loop int
				if n, _ := fmt.Sscanf(said, "loop %d", &loop); err != nil || n != 1 {
					failed.Add(1)
					return
				}
				seen[loop].Add(1)
			}
		}()
	}
	for round := range 3 {
		// Loops without load are alike to spread: it takes from the first.
		eventually(t, "the first loop has all clients", func() bool { return s.loops[0].stats.clients.Load() == 24 || failed.Load() > 0 })
		for active := 1; active < 3; active++ {
			former := seen[active].Load()
			s.active.Store(int32(active + 1))
			s.spread(make([]load, 3), active)
			eventually(t, "the new loop serves", func() bool { return seen[active].Load() > former || failed.Load() > 0 })
		}
		for active := 2; active > 0; active-- {
			s.active.Store(int32(active))
			s.gather(active)
			l := s.loops[active]
			eventually(t, "the loop has given all away", func() bool { return l.stats.clients.Load() == 0 || failed.Load() > 0 })
		}
		if failed.Load() > 0 {
			t.Fatalf("round %d: %d clients failed", round, failed.Load())
		}
	}
	stop.Store(true)
	clients.Wait()
}

func TestDecide(t *testing.T) {
	shares := func(all ...float64) []load {
		loads := make([]load, len(all))
		for i, share := range all {
			loads[i].share = share
		}
		return loads
	}
	for _, c := range []struct {
		name   string
		loads  []load
		active int
		now    pressure
		want   int
	}{
		{"idle", shares(0, 0, 0), 1, pressure{}, 1},
		{"one has time", shares(0.8, 0, 0), 1, pressure{}, 1},
		{"one has none", shares(0.95, 0, 0), 1, pressure{}, 2},
		{"one has none, but no core has time", shares(0.95, 0, 0), 1, pressure{tight: true}, 1},
		{"one is held up", shares(0.2, 0, 0), 1, pressure{stalled: true}, 2},
		{"one is held up, and no core has time", shares(0.2, 0, 0), 1, pressure{stalled: true, tight: true}, 2},
		{"all are needed", shares(0.9, 0.9, 0.9), 3, pressure{}, 3},
		{"no more of them", shares(0.99, 0.99), 2, pressure{stalled: true}, 2},
		{"less do", shares(0.3, 0.2, 0.2), 3, pressure{}, 2},
		{"not yet less", shares(0.5, 0.4, 0.4), 3, pressure{}, 3},
		{"held up, so not less", shares(0.1, 0.1, 0), 2, pressure{stalled: true}, 3},
		{"one of one", shares(1), 1, pressure{stalled: true}, 1},
		{"crowded and busy", []load{{0.75, 1000}, {}}, 1, pressure{}, 2},
		{"crowded, and no core has time", []load{{0.75, 1000}, {}}, 1, pressure{tight: true}, 2},
		{"crowded by those who wait", []load{{0.3, 1000}, {}}, 1, pressure{}, 1},
		{"not crowded", []load{{0.75, 64}, {}}, 1, pressure{}, 1},
		{"the crowd shared", []load{{0.45, 500}, {0.45, 500}}, 2, pressure{tight: true}, 2},
	} {
		if got := decide(c.loads, c.active, c.now); got != c.want {
			t.Errorf("%s: %d active, want %d", c.name, got, c.want)
		}
	}
	if idleTime() <= 0 {
		t.Error("the machine does not tell how long its cores were idle")
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	_, _, addr := serve(t, 1, Limits{})
	c := dial(t, addr)
	const n = 200
	go func() {
		text := strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", n)
		for len(text) > 0 { // in pieces that end anywhere
			piece := text[:min(37, len(text))]
			text = text[len(piece):]
			if _, err := io.WriteString(c.nc, piece); err != nil {
				return
			}
		}
	}()
	for i := range n {
		if _, err := c.answer(); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
}

func TestPanicEndsItsConnectionAlone(t *testing.T) {
	s, a, addr := serve(t, 1, Limits{})
	other, bad := dial(t, addr), dial(t, addr)
	if _, err := other.ask("/"); err != nil {
		t.Fatal(err)
	}
	if said, err := bad.ask("/panic"); err == nil {
		t.Errorf("a panic was answered with %q", said)
	}
	if _, err := other.ask("/"); err != nil {
		t.Errorf("another connection: %v", err)
	}
	if n := a.panics.Load(); n != 1 {
		t.Errorf("%d panics were told", n)
	}
	eventually(t, "one connection is open", func() bool { return s.Connections() == 1 })
}

func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		name, send string
		limits     Limits
		want       string
	}{
		{"nothing is said", "", Limits{HeaderTime: 300 * time.Millisecond}, ""},
		{"half a head", "GET / HTTP/1.1\r\nHo", Limits{HeaderTime: 300 * time.Millisecond}, "HTTP/1.1 408 "},
		{"idle", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", Limits{HeaderTime: time.Minute, IdleTime: 300 * time.Millisecond}, "HTTP/1.1 200 "},
		{"no HTTP", "\x16\x03\x01\x02\x00", Limits{}, "HTTP/1.1 400 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, a, addr := serve(t, 1, c.limits)
			talk := dial(t, addr)
			if _, err := io.WriteString(talk.nc, c.send); err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(talk.in)
			if !strings.HasPrefix(string(answer), c.want) || c.want == "" && len(answer) > 0 {
				t.Errorf("answered %q, want %q", answer, c.want)
			}
			_ = talk.nc.Close()
			eventually(t, "all are closed", func() bool { return a.open.Load() == 0 })
		})
	}
}

func TestConnectionLimit(t *testing.T) {
	_, a, addr := serve(t, 1, Limits{Connections: 2})
	for range 2 {
		if _, err := dial(t, addr).ask("/"); err != nil {
			t.Fatal(err)
		}
	}
	if said, err := dial(t, addr).ask("/"); err == nil {
		t.Errorf("a third connection was served: %q", said)
	}
	if a.refused.Load() != 1 {
		t.Errorf("%d were refused, want 1", a.refused.Load())
	}
}

func TestDrainServesWhatIsQueued(t *testing.T) {
	s, _, addr := serve(t, 2, Limits{})
	queued := make([]*talker, 50)
	for i := range queued {
		queued[i] = dial(t, addr)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(ctx) }()
	for i, c := range queued {
		if _, err := c.ask("/"); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if nc, err := net.Dial("tcp", addr); err == nil {
		nc.Close()
		t.Error("a connection was taken after the drain")
	}
}

// The heap of timers against a list that is searched.
func TestTimersExpireInOrder(t *testing.T) {
	l := &Loop{}
	owner := &collector{}
	all := make([]*timer, 200)
	random := uint32(1)
	next := func(n uint32) int {
		random = random*1664525 + 1013904223
		return int(random>>8) % int(n)
	}
	for i := range all {
		all[i] = &timer{owner: owner}
	}
	for range 5000 {
		tm := all[next(200)]
		switch next(4) {
		case 0:
			l.drop(tm)
		case 1:
			l.set(tm, 0)
		default:
			l.set(tm, time.Duration(1+next(1000)))
		}
		if next(10) > 0 {
			continue
		}
		l.now += int64(next(300))
		var due []int64
		for _, tm := range all {
			if tm.at != 0 && tm.at <= l.now {
				due = append(due, tm.at)
			}
		}
		owner.n = 0
		l.expireTimers()
		if owner.n != len(due) {
			t.Fatalf("%d expired, want %d", owner.n, len(due))
		}
	}
}

type collector struct{ n int }

func (c *collector) expire(*timer) { c.n++ }

// A connection between two requests holds nothing but its own struct.
func TestIdleConnectionIsSmall(t *testing.T) {
	const n = 2000
	s, _, addr := serve(t, 1, Limits{IdleTime: time.Minute})
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	// The clients are raw descriptors: net's would be counted.
	ap := netip.MustParseAddrPort(addr)
	to := &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
	ask := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	fds := make([]int, n)
	before := memory()
	for i := range fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		fds[i] = fd
		if err := unix.Connect(fd, to); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fd, ask); err != nil {
			t.Fatal(err)
		}
		var answer [256]byte
		if got, err := unix.Read(fd, answer[:]); err != nil || !strings.HasPrefix(string(answer[:got]), "HTTP/1.1 200 ") {
			t.Fatalf("%q, %v", answer[:max(got, 0)], err)
		}
	}
	if s.Connections() != n {
		t.Fatalf("%d connections are open, want %d", s.Connections(), n)
	}
	if each := int64(memory()-before) / n; each > 1024 {
		t.Errorf("an idle connection takes %d bytes, want at most 1024", each)
	}
}

// Out of descriptors, a loop looks away and takes the queue up again later.
func TestOutOfDescriptors(t *testing.T) {
	s, _, addr := serve(t, 1, Limits{})
	release := hold(t, s.loops[0])
	queued := make([]*talker, 10)
	for i := range queued {
		queued[i] = dial(t, addr)
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(open) - 1), Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	release()
	time.Sleep(50 * time.Millisecond)
	polls := s.loops[0].stats.polls.Load()
	time.Sleep(50 * time.Millisecond)
	polls = s.loops[0].stats.polls.Load() - polls
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if polls > 100 {
		t.Errorf("%d polls in 50 ms: the loop turns round in vain", polls)
	}
	for i, c := range queued {
		if _, err := c.ask("/"); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
}

// A client that pipelines without end does not keep the others from being heard.
func TestPipeliningLeavesTurnsToOthers(t *testing.T) {
	_, _, addr := serve(t, 1, Limits{})
	greedy := dial(t, addr)
	text := []byte(strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 500))
	var stop atomic.Bool
	go func() {
		for !stop.Load() {
			if _, err := greedy.nc.Write(text); err != nil {
				return
			}
		}
	}()
	go func() { _, _ = io.Copy(io.Discard, greedy.nc) }()
	other := dial(t, addr)
	for range 100 {
		if _, err := other.ask("/"); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
}

// What came together with the end of a connect is told to who takes the socket
// over.
func TestConnectHandsItsEventsOn(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s, _, _ := serve(t, 1, Limits{})
	heir := &hearing{}
	s.onAll(func(l *Loop) {
		addr := ln.Addr().(*net.TCPAddr)
		_, ended := l.dial(unix.SOCK_STREAM, sockaddr(addr.AddrPort()), addr, func(k *connecting, err error) {
			if err == nil {
				l.slots[k.slot].source = heir
			}
		})
		if ended {
			return // it was connected at once: nothing has come yet
		}
		// The peer speaks and ends before the loop polls again.
		nc, err := ln.Accept()
		if err == nil {
			_, _ = io.WriteString(nc, "hello")
			_ = nc.Close()
		}
	})
	eventually(t, "bytes and the end are heard", func() bool {
		return heir.events.Load()&(unix.EPOLLIN|unix.EPOLLRDHUP) == unix.EPOLLIN|unix.EPOLLRDHUP
	})
}

type hearing struct{ events atomic.Uint32 }

func (h *hearing) ready(events uint32) { h.events.Or(events) }
