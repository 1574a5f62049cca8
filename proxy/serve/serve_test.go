package serve

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// handler is a gateway of three steps that does what the path says:
//
//	/      answers "ok"             /body   reads the body and echoes it
//	/wait  waits until the client goes, or 3 s
//	/slow  answers after 200 ms     /large  answers 16 MiB
//	/chunks, /until                 pieces, one of them empty, in that framing
//	/beside  reads the body while it answers 16 MiB
type handler struct {
	mu      sync.Mutex
	refused []string
	gone    chan time.Duration // of /wait: how long it took to notice
	bodyErr chan error
}

const large = 16 << 20

func (h *handler) begin(ex *exchange.Exchange) { ex.BeginRequest() }

func (h *handler) advance(ex *exchange.Exchange) bool {
	path := string(ex.Head.Path.Of(ex.Raw))
	switch ex.Place.Step {
	case 0:
		ex.Place.Step = 1
		switch path {
		case "/body":
			ex.Post(exchange.OpReadBody).Int = exchange.BodyInMemory
			return false
		case "/slow":
			ex.Post(luavm.OpSleep).Seconds = 0.2
			return false
		case "/beside":
			ex.Post(exchange.OpReadBody).Int = exchange.BodyInMemory
		case "/wait":
			h.wait(ex)
		}
		return h.advance(ex)
	case 1:
		return h.answer(ex, path)
	case 2:
		return h.written(ex, path)
	}
	if op := ex.Take(exchange.OpReadBody); op != nil {
		h.bodyErr <- op.Err
	}
	return !ex.Pending()
}

func (h *handler) wait(ex *exchange.Exchange) {
	for start := time.Now(); time.Since(start) < 3*time.Second; time.Sleep(time.Millisecond) {
		if ex.Aborted() {
			break
		}
	}
	h.gone <- time.Since(ex.Record.Start)
}

var pieces = []string{"one", "", "three"}

func (h *handler) answer(ex *exchange.Exchange, path string) bool {
	ex.Take(luavm.OpSleep)
	body, status := []byte("ok"), 200
	if path != "/beside" {
		if op := ex.Take(exchange.OpReadBody); op != nil {
			var why *wire.Error
			if body = bytes.Clone(ex.Body); errors.As(op.Err, &why) {
				status, body = why.Status, []byte(why.Reason)
				ex.Down.Close()
			}
		}
	}
	if path == "/large" || path == "/beside" {
		body = make([]byte, large)
	}
	ex.Resp.SetStatusCode(status)
	ex.Resp.SetLength(int64(len(body)))
	ex.Send = exchange.Send{Head: true, Data: body, Last: true}
	ex.Place.BodyFrame = wire.BodyLength
	switch {
	case path == "/chunks" || path == "/until":
		ex.Resp.Del("Content-Length")
		ex.Place.BodyFrame = wire.BodyChunked
		if path == "/until" {
			ex.Place.BodyFrame = wire.BodyUntilClose
		}
		ex.Send.Data, ex.Send.Last = []byte(pieces[0]), false
	case ex.Req.IsHead():
		ex.Place.BodyFrame = wire.BodyNone
	}
	if ex.Req.IsHead() {
		ex.Place.BodyFrame = wire.BodyNone
	}
	ex.Place.Step = 2
	ex.Post(exchange.OpWrite)
	return false
}

func (h *handler) written(ex *exchange.Exchange, path string) bool {
	op := ex.Take(exchange.OpWrite)
	if op == nil {
		return false
	}
	if ex.Place.Left++; !ex.Send.Last && op.Err == nil && ex.Place.Left < int64(len(pieces)) {
		i := int(ex.Place.Left)
		ex.Send = exchange.Send{Data: []byte(pieces[i]), Last: i == len(pieces)-1}
		ex.Post(exchange.OpWrite)
		return false
	}
	ex.Place.Step = 3
	if path == "/beside" && ex.Pending() {
		ex.Down.StopReading()
	}
	return h.advance(ex)
}

func (h *handler) refusals() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.refused, ",")
}

type server struct {
	*Server
	*handler
	ln net.Listener
}

var generous = Limits{HeaderTime: 5 * time.Second, IdleTime: 5 * time.Second, BodyTime: 5 * time.Second, SendTime: 5 * time.Second}

func start(t *testing.T, limits Limits) *server {
	return startOn(t, limits, "tcp", "127.0.0.1:0", nil)
}

func startOn(t *testing.T, limits Limits, network, addr string, config *tls.Config) *server {
	t.Helper()
	before := runtime.NumGoroutine()
	h := &handler{gone: make(chan time.Duration, 10), bodyErr: make(chan error, 10)}
	s, err := New(Options{
		Begin: h.begin, Advance: h.advance,
		Refused: func(_ *exchange.Conn, why *wire.Error) {
			h.mu.Lock()
			h.refused = append(h.refused, why.Reason)
			h.mu.Unlock()
		},
		Recovered: func(v any) { t.Errorf("panic: %v", v) },
		Trusted:   func(netip.Addr) bool { return false },
		Opened:    func(string) {}, Closed: func(string) {},
	}, limits)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln, "test", config) }()
	t.Cleanup(func() {
		s.Close()
		_ = ln.Close()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		for range 300 {
			if runtime.NumGoroutine() <= before && s.Connections() == 0 {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%d goroutines, %d before; %d connections", runtime.NumGoroutine(), before, s.Connections())
	})
	return &server{Server: s, handler: h, ln: ln}
}

func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial(s.ln.Addr().Network(), s.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(8 * time.Second))
	return c
}

// talk sends and returns all that comes until the server closes.
func (s *server) talk(t *testing.T, send string) string {
	t.Helper()
	c := s.dial(t)
	_, _ = io.WriteString(c, send)
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("reading: %v after %.200q", err, answer)
	}
	return string(answer)
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"

// bare takes the date out of an answer.
func bare(answer string) string {
	for {
		i := strings.Index(answer, "Date: ")
		if i < 0 {
			return answer
		}
		answer = answer[:i] + answer[i+strings.Index(answer[i:], "\r\n")+2:]
	}
}

func TestFraming(t *testing.T) {
	s := start(t, generous)
	for _, c := range []struct{ name, send, want string }{
		{"length", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", okAnswer + "Connection: close\r\n\r\nok"},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", okAnswer + "Connection: close\r\n\r\nok"},
		{"HTTP/1.0 kept", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
			okAnswer + "Connection: keep-alive\r\n\r\nok" + okAnswer + "Connection: close\r\n\r\nok"},
		{"pipelined", "GET / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			okAnswer + "\r\nok" + okAnswer + "\r\n" + okAnswer + "Connection: close\r\n\r\nok"},
		{"body nobody wants, then another request", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
			okAnswer + "\r\nok" + okAnswer + "Connection: close\r\n\r\nok"},
		{"chunked request", "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nX-T: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n",
			okAnswer + "\r\nok" + okAnswer + "Connection: close\r\n\r\nok"},
		{"chunks, one piece empty", "GET /chunks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"},
		{"until the end", "GET /until HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonethree"},
		{"HEAD of chunks", "HEAD /chunks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
		{"expectation of an unread body", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", okAnswer + "\r\nok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := bare(s.talk(t, c.send))
			// What the library adds of its own is not looked at here.
			got = strings.ReplaceAll(got, "Content-Type: text/plain; charset=utf-8\r\n", "")
			if got != c.want {
				t.Errorf("got\n%q, want\n%q", got, c.want)
			}
		})
	}
}

func TestContinueComesWhenTheBodyIsRead(t *testing.T) {
	s := start(t, generous)
	c := s.dial(t)
	r := bufio.NewReader(c)
	_, _ = io.WriteString(c, "POST /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	if line, err := r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q %v", line, err)
	}
	_, _ = io.WriteString(c, "ok")
	_, _ = r.ReadString('\n')
	if line, err := r.ReadString('\n'); line != "HTTP/1.1 200 OK\r\n" {
		t.Fatalf("%q %v", line, err)
	}
}

func TestTimeouts(t *testing.T) {
	short := Limits{HeaderTime: 200 * time.Millisecond, IdleTime: 300 * time.Millisecond, BodyTime: 200 * time.Millisecond, SendTime: 200 * time.Millisecond}
	s := start(t, short)
	for _, c := range []struct{ name, send, status, reason string }{
		{"says nothing", "", "", ""},
		{"half a head", "GET / HTTP/1.1\r\nHo", "408", "slow_head"},
		{"idle after an answer", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "200", ""},
		{"half a body", "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", "408", ""},
		{"half a chunk", "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", "408", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			got := s.talk(t, c.send)
			if c.status == "" && got != "" || !strings.HasPrefix(got, strings.TrimRight("HTTP/1.1 "+c.status, " ")) && c.status != "" {
				t.Errorf("got %q, want %s", got, c.status)
			}
			if took := time.Since(begin); took < 150*time.Millisecond || took > 3*time.Second {
				t.Errorf("took %v", took)
			}
			if !strings.HasSuffix(s.refusals(), c.reason) {
				t.Errorf("refused %q, want %q", s.refusals(), c.reason)
			}
		})
	}
}

// goneWithin waits until the server has no connection.
func (s *server) goneWithin(t *testing.T, d time.Duration) {
	t.Helper()
	for begin := time.Now(); s.Connections() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > d {
			t.Fatalf("%d connections are still open after %v", s.Connections(), d)
		}
	}
}

func TestSendTimeout(t *testing.T) {
	limits := generous
	limits.SendTime = 200 * time.Millisecond
	s := start(t, limits)
	c := s.dial(t)
	_, _ = io.WriteString(c, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
	time.Sleep(50 * time.Millisecond)
	s.goneWithin(t, 3*time.Second)
}

// A client that reads no answer must not gain time by ending its body.
func TestBodyDoesNotLiftSendTimeout(t *testing.T) {
	limits := generous
	limits.SendTime = 300 * time.Millisecond
	s := start(t, limits)
	c := s.dial(t)
	_, _ = io.WriteString(c, "POST /beside HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
	time.Sleep(100 * time.Millisecond) // the answer fills the buffers by now
	_, _ = io.WriteString(c, "b")
	s.goneWithin(t, 3*time.Second)
}

// The body's reader asks for it either before the answer or never.
func TestNoContinueBehindTheAnswer(t *testing.T) {
	s := start(t, generous)
	for range 5 {
		got := s.talk(t, "POST /beside HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
		if i := strings.LastIndex(got, "100 Continue"); i > len("HTTP/1.1 ") {
			t.Fatalf("100 (Continue) at byte %d of %d", i, len(got))
		}
	}
}

func TestRaisedLimitReachesOpenConnections(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("tls ", secure), func(t *testing.T) {
			limits := generous
			limits.Head.HeaderBytes = 4 << 10
			var config *tls.Config
			if secure {
				config = testTLS()
			}
			s := startOn(t, limits, "tcp", "127.0.0.1:0", config)
			c := s.dial(t)
			if secure {
				c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			}
			r := bufio.NewReader(c)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			readOK(t, r)
			limits.Head.HeaderBytes = 64 << 10
			s.SetLimits(limits)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("x", 40<<10)+"\r\n\r\n")
			readOK(t, r)
		})
	}
}

// readOK reads one answer "ok" to its end.
func readOK(t *testing.T, r *bufio.Reader) {
	t.Helper()
	line, err := r.ReadString('\n')
	if line != "HTTP/1.1 200 OK\r\n" {
		t.Fatalf("%q (%v)", line, err)
	}
	for line != "\r\n" && err == nil {
		line, err = r.ReadString('\n')
	}
	if _, err := r.Discard(2); err != nil {
		t.Fatal(err)
	}
}

func testTLS() *tls.Config {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}
}

func TestUnixSocket(t *testing.T) {
	s := startOn(t, generous, "unix", filepath.Join(t.TempDir(), "s"), nil)
	if got := s.talk(t, "GET / HTTP/1.0\r\n\r\n"); !strings.HasSuffix(got, "ok") {
		t.Errorf("%q", got)
	}
}

func TestTooManyConnections(t *testing.T) {
	limits := generous
	limits.Connections = 1
	s := start(t, limits)
	c := s.dial(t)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	readOK(t, bufio.NewReader(c))
	second := s.dial(t)
	if n, err := second.Read(make([]byte, 9)); n != 0 || err == nil {
		t.Errorf("%d %v", n, err)
	}
	if s.refusals() != "connections" {
		t.Errorf("refused %q", s.refusals())
	}
	_ = c.Close()
	s.goneWithin(t, 2*time.Second)
	readAfter := s.talk(t, "GET / HTTP/1.0\r\n\r\n")
	if !strings.HasSuffix(readAfter, "ok") {
		t.Errorf("%q", readAfter)
	}
}

func TestRefusalReachesAClientThatGoesOnSending(t *testing.T) {
	s := start(t, generous)
	got := s.talk(t, "GET / HTTP/1.1\nHost: a\r\n\r\n"+strings.Repeat("x", 1<<20-100))
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.HasSuffix(got, "Bad Request\n") {
		t.Errorf("%q", got)
	}
}

func TestLeavingClientIsNoticed(t *testing.T) {
	s := start(t, generous)
	for _, how := range []string{"FIN", "RST", "half close"} {
		t.Run(how, func(t *testing.T) {
			c := s.dial(t).(*net.TCPConn)
			_, _ = io.WriteString(c, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
			time.Sleep(50 * time.Millisecond)
			switch how {
			case "RST":
				_ = c.SetLinger(0)
				_ = c.Close()
			case "FIN":
				_ = c.Close()
			default:
				_ = c.CloseWrite()
			}
			if took := <-s.gone; took > 250*time.Millisecond {
				t.Errorf("noticed after %v", took)
			}
		})
	}
}

func TestDrain(t *testing.T) {
	s := start(t, generous)
	idle, busy := s.dial(t), s.dial(t)
	_, _ = io.WriteString(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	readOK(t, bufio.NewReader(idle))
	_, _ = io.WriteString(busy, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	time.Sleep(50 * time.Millisecond)
	closed := make(chan time.Time, 1)
	go func() { _, _ = idle.Read(make([]byte, 1)); closed <- time.Now() }()
	answer := make(chan string, 1)
	go func() { b, _ := io.ReadAll(busy); answer <- string(b) }()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	begin := time.Now()
	if err := s.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if at := <-closed; at.Sub(begin) > 120*time.Millisecond {
		t.Errorf("the idle connection was closed after %v", at.Sub(begin))
	}
	if got := <-answer; !strings.Contains(got, "Connection: close") || !strings.HasSuffix(got, "ok") {
		t.Errorf("busy got %q", got)
	}
}

func TestIdleConnectionsAreSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("opens many connections")
	}
	limits := generous
	limits.HeaderTime, limits.IdleTime = time.Minute, time.Minute
	s := start(t, limits)
	const count = 1000
	conns := make([]net.Conn, count)
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := memory()
	for i := range conns {
		conns[i] = s.dial(t)
		_, _ = io.WriteString(conns[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		var b [512]byte
		if _, err := conns[i].Read(b[:]); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(50 * time.Millisecond)
	if each := (memory() - before) / count; each > 20<<10 {
		t.Errorf("%d bytes for an idle connection and its client", each)
	}
	runtime.KeepAlive(conns)
}
