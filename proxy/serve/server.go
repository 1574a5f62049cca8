package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"perigee/proxy/exchange"
)

// Options is what the server needs to know of the gateway.
type Options = exchange.Gateway

// Limits bound what clients may use.
type Limits = exchange.ClientLimits

// Server is the goroutine driver of one process. Its limits may change while it
// runs.
type Server struct {
	opt    Options
	limits atomic.Pointer[Limits]

	mu        sync.Mutex
	listeners map[*listener]struct{}
	closing   atomic.Bool
	farewell  atomic.Bool // answers say that their connections close

	conns   connSet
	nextID  atomic.Uint64
	watch   *watch
	clock   atomic.Int64 // coarse, in ns since start; see sweep
	start   time.Time
	stop    chan struct{}
	buffers sync.Pool // *[]byte of at least HeaderBytes+scratch
}

type listener struct {
	net.Listener
	name  string
	tls   *tls.Config
	taker Taker // nil: nobody takes connections over
}

// Taker takes connections over after their TLS handshakes.
type Taker interface {
	// Wrap gives what the handshake of an accepted connection is to run on.
	Wrap(nc net.Conn) net.Conn
	// Take takes a connection that speaks HTTP/1.1; nc, what it was accepted as,
	// is closed then. False: it has changed nothing, and the caller goes on.
	Take(conn *tls.Conn, info *exchange.Conn) bool
}

// New makes a server and starts its watch and sweep. Close ends them.
func New(opt Options, limits Limits) (*Server, error) {
	s := &Server{
		opt: opt, listeners: map[*listener]struct{}{}, start: time.Now(),
		stop: make(chan struct{}),
	}
	s.SetLimits(limits)
	w, err := newWatch(&s.conns)
	if err != nil {
		return nil, err
	}
	s.watch = w
	s.tick()
	go s.sweep()
	return s, nil
}

// SetLimits replaces the limits; connections take them over at their next
// request.
func (s *Server) SetLimits(limits Limits) { s.limits.Store(&limits) }

// Serve accepts connections until ln is closed. name is the listener's label in
// metrics; tlsConfig nil: cleartext.
func (s *Server) Serve(ln net.Listener, name string, tlsConfig *tls.Config) error {
	return s.serve(&listener{Listener: ln, name: name, tls: tlsConfig})
}

// ServeHandshakes is Serve for a driver that takes the connections after their
// handshakes.
func (s *Server) ServeHandshakes(ln net.Listener, name string, tlsConfig *tls.Config, taker Taker) error {
	return s.serve(&listener{Listener: ln, name: name, tls: tlsConfig, taker: taker})
}

func (s *Server) serve(l *listener) error {
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	for {
		nc, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			if errors.Is(err, os.ErrDeadlineExceeded) && s.closing.Load() {
				_ = l.Close()
				return nil
			}
			// Out of descriptors or memory: waiting lets exchanges end and
			// give some back.
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
				errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			var temporary net.Error
			if errors.As(err, &temporary) && errors.Is(err, syscall.ECONNABORTED) {
				continue
			}
			return err
		}
		s.accept(l, nc)
	}
}

func (s *Server) accept(l *listener, nc net.Conn) {
	limits := s.limits.Load()
	if limits.Connections > 0 && int(s.conns.size())+s.others() >= limits.Connections {
		s.opt.Refused(&exchange.Conn{Listener: l.name}, exchange.ErrTooMany)
		_ = nc.Close()
		return
	}
	c := s.newConn(l, nc)
	go c.serve()
}

func (s *Server) others() int {
	if s.opt.Others == nil {
		return 0
	}
	return s.opt.Others()
}

// NextID numbers connections, of other drivers too.
func (s *Server) NextID() uint64 { return s.nextID.Add(1) }

// Connections is how many client connections are open.
func (s *Server) Connections() int { return int(s.conns.size()) }

// Farewell makes every answer from now on the last one of its connection, and
// say so; idle connections stay until Drain.
func (s *Server) Farewell() { s.farewell.Store(true) }

// firstWord is how long a connection that has said nothing is left open in a
// drain: its request may be on its way.
const firstWord = 500 * time.Millisecond

// queueTime is how long a listener goes on in a drain, to take what the kernel has
// queued there: a closed one would reset those connections.
const queueTime = 20 * time.Millisecond

// Drain closes the listeners, after taking what the kernel has queued there, and
// lets exchanges under way end: their connections close with the answer, idle ones
// at once. When ctx ends first the remaining connections are closed and the error
// is ctx's.
func (s *Server) Drain(ctx context.Context) error {
	s.farewell.Store(true)
	s.closing.Store(true)
	s.mu.Lock()
	for l := range s.listeners {
		d, ok := l.Listener.(interface{ SetDeadline(t time.Time) error })
		if !ok || ctx.Err() != nil || d.SetDeadline(time.Now().Add(queueTime)) != nil {
			_ = l.Close()
		}
	}
	s.mu.Unlock()
	tick, begin := time.NewTicker(10*time.Millisecond), time.Now()
	defer tick.Stop()
	for s.conns.size() > 0 || s.listens() {
		silent := time.Since(begin) > firstWord
		s.conns.each(func(c *conn) { c.closeIfIdle(silent) })
		select {
		case <-ctx.Done():
			s.closeListeners()
			s.conns.each(func(c *conn) { c.kill() })
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

func (s *Server) listens() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.listeners) > 0
}

func (s *Server) closeListeners() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		_ = l.Close()
	}
}

// Close ends everything at once.
func (s *Server) Close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Drain(ctx)
	close(s.stop)
	s.watch.close()
}

// scratch is how much room a buffer has behind the largest head: chunk framing
// and the first bytes of a body are read there.
const scratch = 8 << 10

// headRoom is how long a head may be.
func headRoom(limits *Limits) int {
	if n := limits.Head.HeaderBytes; n > 0 {
		return n
	}
	return 16 << 10 // wire's default
}

func (s *Server) takeBuffer() *[]byte {
	size := headRoom(s.limits.Load()) + scratch
	if b, _ := s.buffers.Get().(*[]byte); b != nil && len(*b) >= size {
		return b
	}
	b := make([]byte, size)
	return &b
}
