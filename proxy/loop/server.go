package loop

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"perigee/luavm"
	"perigee/luavm/socket"
	"perigee/proxy/exchange"
)

// Options is what the loops need to know of the gateway.
type Options struct {
	exchange.Gateway
	// Perform performs an op that blocks; it is called on goroutines.
	Perform func(ex *exchange.Exchange, op *luavm.Op)
	// NextID numbers connections.
	NextID func() uint64
}

// Limits bound what clients may use.
type Limits = exchange.ClientLimits

// Server is the event loops of one process.
type Server struct {
	opt    Options
	limits atomic.Pointer[Limits]
	loops  []*Loop
	done   sync.WaitGroup

	open    atomic.Int64 // client connections
	active  atomic.Int32 // loops that take connections: those before
	stop    chan struct{}
	closing atomic.Bool
	// farewell makes answers say that their connections close.
	farewell atomic.Bool

	mu        sync.Mutex
	listeners map[*listener]struct{}
	ended     bool
}

// New makes n loops and starts them; Close ends them.
func New(n int, opt Options, limits Limits) (*Server, error) {
	s, err := start(n, opt, limits)
	if err == nil && n > 1 {
		go s.balance(s.stop)
	}
	return s, err
}

// start is New without anybody who decides how many loops are active.
func start(n int, opt Options, limits Limits) (*Server, error) {
	s := &Server{opt: opt, listeners: map[*listener]struct{}{}, stop: make(chan struct{})}
	s.active.Store(1)
	s.SetLimits(limits)
	for i := range n {
		l, err := newLoop(s, i)
		if err != nil {
			for _, l := range s.loops {
				l.closeAll()
			}
			return nil, err
		}
		s.loops = append(s.loops, l)
	}
	for _, l := range s.loops {
		s.done.Add(1)
		go l.run()
	}
	return s, nil
}

// SetLimits replaces the limits; connections take them over at their next
// request.
func (s *Server) SetLimits(limits Limits) { s.limits.Store(&limits) }

// scratch is how much room a buffer has behind the largest head: chunk framing
// and the first bytes of a body are read there.
const scratch = 8 << 10

func (s *Server) bufferSize() int {
	n := s.limits.Load().Head.HeaderBytes
	if n <= 0 {
		n = 16 << 10 // wire's default
	}
	return n + scratch
}

// Connections is how many client connections are open.
func (s *Server) Connections() int { return int(s.open.Load()) }

// function is work for a loop's thread.
type function func()

func (f function) posted() { f() }

// onAll has every loop do f and waits for it.
func (s *Server) onAll(f func(l *Loop)) {
	var done sync.WaitGroup
	for _, l := range s.loops {
		done.Add(1)
		l.post(function(func() {
			defer done.Done()
			f(l)
		}))
	}
	done.Wait()
}

// Farewell makes every answer from now on the last one of its connection, and
// say so; idle connections stay until Drain.
func (s *Server) Farewell() { s.farewell.Store(true) }

// Drain closes the listeners, after taking what the kernel has queued there, and
// lets exchanges under way end: their connections close with the answer, idle
// ones at once. When ctx ends first the remaining connections are closed and the
// error is ctx's.
func (s *Server) Drain(ctx context.Context) error {
	s.farewell.Store(true)
	s.closing.Store(true)
	s.mu.Lock()
	open := s.listeners
	s.listeners = map[*listener]struct{}{}
	ended := s.ended
	s.mu.Unlock()
	if ended {
		return nil
	}
	for ln := range open {
		ln.close(s)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.open.Load() > 0 {
		s.onAll((*Loop).closeIdle)
		select {
		case <-ctx.Done():
			s.onAll((*Loop).killAll)
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// firstWord is how long a connection that has said nothing is left open in a
// drain: its request may be on its way.
const firstWord = int64(500 * time.Millisecond)

// closeIdle ends the connections that wait for a request, but for those where one has
// come that has not been read yet.
func (l *Loop) closeIdle() {
	if l.drainAt == 0 {
		l.drainAt = l.now
	}
	for c := l.clients; c != nil; {
		next := c.next
		if c.state == reading && (c.work == nil || c.w == 0) &&
			(c.info.Requests > 0 || l.now-l.drainAt > firstWord) && !socket.Waits(uintptr(c.fd)) {
			c.close()
		}
		c = next
	}
}

func (l *Loop) killAll() {
	for c := l.clients; c != nil; {
		next := c.next
		c.kill()
		c = next
	}
}

// Close ends everything at once.
func (s *Server) Close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Drain(ctx)
	s.mu.Lock()
	ended := s.ended
	s.ended = true
	s.mu.Unlock()
	if ended {
		return
	}
	close(s.stop)
	for _, l := range s.loops {
		l.post(function(func() { l.ending = true }))
	}
	s.done.Wait()
}

func isEnd(err error) bool { return err == io.EOF }

func isCut(err error) bool { return errors.Is(err, exchange.ErrCutBody) }
