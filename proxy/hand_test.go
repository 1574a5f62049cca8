package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"perigee/luavm"
	"perigee/proxy/config"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/wire"
)

// hand is a downstream and the driver of one exchange, moved by a test step by
// step: what must hold for any driver is shown without one.
type hand struct {
	t      *testing.T
	g      *Gateway
	ex     *exchange.Exchange
	body   *bytes.Reader
	out    bytes.Buffer
	pieces int
	// held are ops that the test completes when and in the order it likes.
	held []*luavm.Op
	// threads are the OS threads that advanced the exchange.
	threads map[int]bool
}

func (h *hand) ReadBody(p []byte) (int, error) { return h.body.Read(p) }
func (h *hand) BodySize() int64                { return h.body.Size() }
func (h *hand) BodyDone() bool                 { return h.body.Len() == 0 }
func (h *hand) Received() int64                { return int64(len(h.ex.Raw)) }
func (h *hand) Written() int64                 { return int64(h.out.Len()) }
func (h *hand) StopReading()                   {}
func (h *hand) Close()                         {}

func (h *hand) Write(ex *exchange.Exchange, s exchange.Send) error {
	if s.Head {
		h.out.Write(append(ex.Resp.Append(nil, ex.Now()), "\r\n"...))
	}
	h.out.Write(s.Data)
	h.pieces++
	return nil
}

// advance calls Advance on an OS thread that has not advanced the exchange yet.
func (h *hand) advance() (finished bool) {
	done := make(chan bool)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		h.threads[unix.Gettid()] = true
		done <- h.g.Advance(h.ex)
	}()
	return <-done
}

// perform does what a driver does for each op, but holds sleeps back.
func (h *hand) perform() {
	for op := h.ex.Next(); op != nil; op = h.ex.Next() {
		switch op.Kind {
		case luavm.OpSleep:
			h.held = append(h.held, op)
			continue
		case exchange.OpConnect:
			up, _, err := h.ex.Endpoint.Acquire(h.ex.Outlet.Proxy.Timeouts)
			h.ex.SetUp(up)
			op.Err = err
		case exchange.OpReceiveHead:
			h.ex.Up.WriteLast(h.ex.UpHead, h.ex.Body, nil)
			h.ex.Place.Unsent = false
			h.ex.UpRaw, op.Err = h.ex.Up.ReadHead(&h.ex.UpRes, wire.AskedOther)
		case exchange.OpReceiveBody:
			h.ex.Chunk, op.Err = h.ex.Up.NextBody()
		case exchange.OpReadBody:
			h.ex.Body, op.Err = io.ReadAll(h.body)
			h.ex.BodyRead = true
		case exchange.OpWrite:
			op.Err = h.Write(h.ex, h.ex.Send)
		default:
			h.t.Fatalf("op of unexpected kind %d", op.Kind)
		}
		h.ex.Performed(op)
	}
}

// suspender waits for two ops whenever it is asked, at each stage.
type suspender struct {
	waits  map[exchange.Stage]int // ops that have not come back
	visits map[exchange.Stage]int
	order  []float64 // Seconds of ops as they came back
}

func (s *suspender) Name() string { return "suspender" }

func (s *suspender) Step(ex *exchange.Exchange, stage exchange.Stage) exchange.Verdict {
	if s.waits[stage] == 0 {
		s.visits[stage]++
		ex.Post(luavm.OpSleep).Seconds = 1
		ex.Post(luavm.OpSleep).Seconds = 2
		s.waits[stage] = 2
		return exchange.Wait
	}
	for op := ex.Take(luavm.OpSleep); op != nil; op = ex.Take(luavm.OpSleep) {
		s.order = append(s.order, op.Seconds)
		s.waits[stage]--
	}
	if s.waits[stage] > 0 {
		return exchange.Wait
	}
	return exchange.Continue
}

const handConfig = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
upstreams: {o: {endpoints: [%q]}}
routes:
  - name: all
    match: {paths: ["/"]}
    lua:
      access: 'ngx.sleep(3) ngx.ctx.a = 1'
      header_filter: 'ngx.header["X-Ctx"] = ngx.ctx.a'
    upstream: o
`

// TestHandDriven suspends one exchange in every stage, in the middle of its body
// too, with two ops that complete in reverse order, and resumes it on another
// OS thread each time.
func TestHandDriven(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	goOn := make(chan struct{})
	go twoPieces(ln, goOn)
	h, s := newHand(t, fmt.Sprintf(handConfig, ln.Addr()))

	for steps := 0; !h.advance(); steps++ {
		if steps > 200 {
			t.Fatal("the exchange does not end")
		}
		h.perform()
		if h.pieces == 1 && goOn != nil {
			close(goOn) // the first piece has been written: the second may come
			goOn = nil
		}
		if len(h.held) == 0 {
			continue
		}
		if h.ex.Completed() {
			t.Fatal("an op completed that nobody performed")
		}
		// The last held completes first; the exchange is advanced in between.
		last := len(h.held) - 1
		h.ex.Complete(h.held[last])
		h.held = h.held[:last]
	}
	if !strings.HasSuffix(h.out.String(), "\r\n\r\nonetwo") || !strings.Contains(h.out.String(), "X-Ctx: 1") {
		t.Errorf("answer:\n%s", h.out.String())
	}
	for _, stage := range []exchange.Stage{exchange.Rewrite, exchange.Access, exchange.Content, exchange.Header, exchange.Body, exchange.Log} {
		want := 1
		if stage == exchange.Body {
			want = 2
		}
		if s.visits[stage] < want {
			t.Errorf("suspended %d times at %s, want %d", s.visits[stage], stage, want)
		}
	}
	for i := 0; i+1 < len(s.order); i += 2 {
		if s.order[i] != 2 || s.order[i+1] != 1 {
			t.Fatalf("ops came back as %v, want the later first", s.order)
		}
	}
	if len(h.threads) < 10 {
		t.Errorf("advanced on %d OS threads, want a new one each time", len(h.threads))
	}
	exchange.Release(h.ex)
}

// twoPieces answers one request with a body in two pieces.
func twoPieces(ln net.Listener, goOn <-chan struct{}) {
	c, err := ln.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	p := make([]byte, 4096)
	if _, err := c.Read(p); err != nil {
		return
	}
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
	<-goOn
	_, _ = io.WriteString(c, "two")
	_, _ = io.Copy(io.Discard, c)
}

// newHand makes a gateway, and an exchange that waits to be advanced.
func newHand(t *testing.T, text string) (*hand, *suspender) {
	file, err := config.Parse("hand.yaml", []byte(text), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	state := NewState(observe.BuildInfo{}, observe.NewLog(discard{}, observe.LevelEmerg))
	snap, err := build(file, state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if held := snap.held(); held != 0 {
			t.Errorf("%d exchanges are still in the snapshot", held)
		}
		snap.close()
		state.close()
	})
	s := &suspender{waits: map[exchange.Stage]int{}, visits: map[exchange.Stage]int{}}
	for stage := range exchange.StageCount {
		if stage != exchange.Balancer {
			snap.routes[0].Steps[stage] = append([]exchange.Filter{s}, snap.routes[0].Steps[stage]...)
		}
	}
	g := &Gateway{state: state}
	g.current.Store(snap)
	h := &hand{t: t, g: g, body: bytes.NewReader(nil), threads: map[int]bool{}}
	h.ex = exchange.Acquire(h, &exchange.Conn{RemoteAddr: "192.0.2.1"})
	h.ex.Raw = []byte("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if n, err := wire.ScanRequest(&h.ex.Head, h.ex.Raw, 0, wire.Limits{}); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	g.Begin(h.ex)
	return h, s
}
