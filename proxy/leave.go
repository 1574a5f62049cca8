package proxy

import (
	"context"
	"net"
	"time"

	"perigee/proxy/config"
	"perigee/proxy/sockets"
)

// Drain ends service without losing an exchange: readiness turns false, the
// configured delay passes while new connections are still taken (so that load
// balancers notice) and answers ask their clients to connect anew, listeners
// close, and exchanges under way end. At the configured timeout, or when ctx
// ends, what is left is cut.
func (s *Server) Drain(ctx context.Context) error {
	s.farewell() // who sees that it drains sees this too
	s.gateway.draining.Store(true)
	select {
	case <-time.After(s.gateway.current.Load().File.Drain.Delay.Std()):
	case <-ctx.Done():
	}
	return s.end(ctx)
}

// leastFarewell is how long, after a hand-over, an idle connection may at least
// still bring a request before it is closed.
const leastFarewell = 2 * time.Second

// HandOver ends service after a successor has begun to accept from the same
// sockets: they are closed here at once, clients that ask again are told to
// connect anew, which leads them to the successor, and what is left after
// drain.delay (at least two seconds) is ended as by Drain.
func (s *Server) HandOver(ctx context.Context) error {
	s.farewell() // who sees that it drains sees this too
	s.gateway.draining.Store(true)
	s.mu.Lock()
	for address, l := range s.listeners {
		sockets.Keep(l.Listener)
		s.stopListener(l)
		delete(s.listeners, address)
	}
	s.mu.Unlock()
	delay := max(s.gateway.current.Load().File.Drain.Delay.Std(), leastFarewell)
	for until := time.Now().Add(delay); s.connections() > 0 && time.Now().Before(until) && ctx.Err() == nil; {
		time.Sleep(10 * time.Millisecond)
	}
	return s.end(ctx)
}

// end closes what is idle and lets the rest end within drain.timeout.
func (s *Server) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.gateway.current.Load().File.Drain.Timeout.Std())
	defer cancel()
	pool := s.gateway.current.Load().pool
	pool.SetExiting()
	err := s.drainDrivers(ctx)
	for pool.Timers() > 0 && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// farewell makes answers the last of their connections.
func (s *Server) farewell() {
	s.driver.Farewell()
	if loops := s.looping.Load(); loops != nil {
		loops.Farewell()
	}
}

func (s *Server) connections() int {
	n := s.driver.Connections()
	if loops := s.looping.Load(); loops != nil {
		n += loops.Connections()
	}
	return n
}

// stopListener closes a listener; its connections stay.
func (s *Server) stopListener(l *listener) {
	if l.driver == config.DriverLoop {
		s.looping.Load().Stop(l.Listener)
	}
	_ = l.Close()
}

// Bound are the listening sockets, for a successor to take over.
func (s *Server) Bound() []sockets.Bound {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []sockets.Bound
	for address, l := range s.listeners {
		all = append(all, sockets.Bound{Address: address, Listener: l.Listener})
	}
	return all
}

// bind gives the socket of a listener's address: one that the process was
// started with, or a new one.
func (s *State) bind(address string) (net.Listener, error) {
	if ln, err := s.Sockets.Take(address); ln != nil || err != nil {
		return ln, err
	}
	if s.Listen != nil {
		return s.Listen(address)
	}
	return listen(address)
}
