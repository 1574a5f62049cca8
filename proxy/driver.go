package proxy

import (
	"context"
	"fmt"
	"os"

	"perigee/proxy/config"
	"perigee/proxy/exchange"
	"perigee/proxy/loop"
	"perigee/proxy/observe"
	"perigee/proxy/serve"
)

// forDrivers is what a driver needs to know of the gateway; others counts the
// connections of the other one.
func (s *Server) forDrivers(others func() int) exchange.Gateway {
	return exchange.Gateway{
		Begin: s.gateway.Begin, Advance: s.gateway.Advance, Refused: s.gateway.Refused, HasPage: s.gateway.HasPage,
		Subrequests: s.gateway.Subrequests,
		Recovered:   s.recovered, Trusted: s.trusted,
		Opened: s.opened, Closed: s.closed, Others: others,
	}
}

// loopConnections is how many connections the event loops have open.
func (s *Server) loopConnections() int {
	if loops := s.looping.Load(); loops != nil {
		return loops.Connections()
	}
	return 0
}

func (s *Server) opened(listener string) {
	m := s.state.Metrics.Listener(listener)
	m.Open.Add(1)
	m.Accepted.Inc()
}

func (s *Server) closed(listener string) { s.state.Metrics.Listener(listener).Open.Add(-1) }

// makeLoops starts the event loops with the first configuration that has a
// listener for them. There are as many as the first configuration has workers,
// and they stay: endpoints keep idle connections for each.
func (s *Server) makeLoops(file *config.File) error {
	if s.homes == 0 {
		s.homes = workers(file)
		s.state.Upstreams.SetHomes(s.homes)
	}
	if s.looping.Load() != nil || !s.wantsLoops(file) {
		return nil
	}
	loops, err := loop.New(s.homes, loop.Options{
		Gateway: s.forDrivers(s.driver.Connections), Perform: serve.Perform, NextID: s.driver.NextID,
	}, limits(&file.Limits))
	if err == nil {
		s.looping.Store(loops)
	}
	return err
}

// driverOf is what moves the exchanges of a listener; one that is no socket is
// the goroutine driver's.
func (s *Server) driverOf(l *config.Listener) config.Driver {
	if s.state.Listen != nil {
		return config.DriverGoroutine
	}
	return l.DriverName()
}

func (s *Server) wantsLoops(file *config.File) bool {
	for i := range file.Listeners {
		if s.driverOf(&file.Listeners[i]) == config.DriverLoop {
			return true
		}
	}
	return false
}

// loopStats tells how the event loops fare.
func (s *Server) loopStats() []observe.LoopInfo {
	if loops := s.looping.Load(); loops != nil {
		return loops.Stats()
	}
	return nil
}

// drainDrivers lets all exchanges end; see serve.Server.Drain.
func (s *Server) drainDrivers(ctx context.Context) error {
	loops := s.looping.Load()
	if loops == nil {
		return s.driver.Drain(ctx)
	}
	others := make(chan error, 1)
	go func() { others <- loops.Drain(ctx) }()
	err := s.driver.Drain(ctx)
	if e := <-others; err == nil {
		err = e
	}
	return err
}

// ExchangesFile is the environment variable with the path of a file that each
// server adds a line to when it closes: how many exchanges event loops have begun,
// and how many goroutines. Suites start hundreds of gateways, too short-lived to
// be scraped.
const ExchangesFile = "PERIGEE_EXCHANGES_FILE"

// noteExchanges adds the line, if there is a file for it.
func (s *Server) noteExchanges() {
	path := os.Getenv(ExchangesFile)
	if path == "" {
		return
	}
	looped := uint64(0)
	for _, l := range s.loopStats() {
		looped += l.Exchanges
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d %d\n", looped, s.state.Metrics.GoroutineExchanges.Value())
		_ = f.Close()
	}
	if err != nil {
		s.state.problem("the exchanges cannot be noted: " + err.Error())
	}
}
