package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"perigee/proxy/config"
	"perigee/proxy/exchange"
	"perigee/proxy/loop"
	"perigee/proxy/serve"
	"perigee/proxy/wire"
)

// closeLimit bounds the wait for what is flushed at an end.
const closeLimit = 2 * time.Second

// Server is a gateway with its listeners: what a process runs.
//
// A configuration is applied whole or not at all: VMs are built aside, then
// listeners opened; only when nothing can fail any more does the new snapshot
// replace the old one. Connections never notice.
type Server struct {
	gateway *Gateway
	state   *State
	driver  *serve.Server
	looping atomic.Pointer[loop.Server] // nil until a listener is theirs
	homes   int                         // how many loops there are, or would be

	mu        sync.Mutex // one configuration at a time
	listeners map[string]*listener
	stop      context.CancelFunc
}

// listener is one bound address. Its descriptor stays through reloads; what it
// presents in TLS is replaced.
type listener struct {
	net.Listener
	address string
	driver  config.Driver
	tls     atomic.Pointer[tls.Config]
}

// NewServer makes a server that serves nothing yet; Apply gives it its first
// configuration.
func NewServer(state *State) (*Server, error) {
	s := &Server{gateway: &Gateway{state: state}, state: state, listeners: map[string]*listener{}}
	driver, err := serve.New(s.forDrivers(s.loopConnections), serve.Limits{})
	if err != nil {
		return nil, err
	}
	s.driver = driver
	s.watchSaturation()
	return s, nil
}

func (s *Server) trusted(peer netip.Addr) bool {
	return s.gateway.current.Load().File.TrustedProxies.Contains(peer)
}

// Apply makes file the running configuration. On error the former one runs on,
// untouched.
func (s *Server) Apply(file *config.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := planMemory(file); err != nil {
		return err
	}
	if dir := file.Limits.BodyTemp; dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return file.NewError("limits.body_temp", "the folder cannot be made: "+err.Error(), "name one that can, or leave the key out")
		}
	}
	if err := s.makeLoops(file); err != nil {
		return err
	}
	tlsConfigs, err := s.readTLS(file)
	if err != nil {
		return err
	}
	snap, err := build(file, s.state)
	if err != nil {
		return err
	}
	if err := snap.openLogs(); err != nil {
		snap.close()
		return err
	}
	// The last that can fail: nobody connects to a process that then does not
	// start, where a balancer could have taken another.
	opened, err := s.openListeners(file)
	if err != nil {
		snap.close()
		return err
	}
	s.commit(snap, opened, tlsConfigs)
	return nil
}

// commit is the part of Apply that cannot fail.
func (s *Server) commit(snap *Snapshot, opened map[string]*listener, tlsConfigs map[string]*tls.Config) {
	file := snap.File
	s.driver.SetLimits(limits(&file.Limits))
	if loops := s.looping.Load(); loops != nil {
		loops.SetLimits(limits(&file.Limits))
	}
	former := s.gateway.current.Swap(snap)
	s.state.access.Store(snap.access)
	s.state.captureLog(snap.pool)
	s.state.Limits.Commit(snap.counters, int64(file.Limits.Counters), file.LimitNames())
	for address, l := range s.listeners {
		if c, stays := tlsConfigs[address]; stays {
			l.tls.Store(c)
			continue
		}
		delete(s.listeners, address)
		s.stopListener(l)
	}
	for address, l := range opened {
		l.tls.Store(tlsConfigs[address])
		s.listeners[address] = l
		go s.serve(l)
	}
	if former != nil {
		former.retire()
	}
	s.state.Metrics.SetCertificates(certificates(file, tlsConfigs))
	s.state.Metrics.Applied(file.Digest())
}

func limits(c *config.Limits) exchange.ClientLimits {
	return exchange.ClientLimits{
		Connections: c.Connections,
		Head:        wire.Limits{HeaderBytes: int(c.HeaderBytes)},
		HeaderTime:  c.HeaderTimeout.Std(), IdleTime: c.IdleTimeout.Std(), Requests: c.KeepaliveRequests,
		BodyTime: c.BodyTimeout.Std(), SendTime: c.SendTimeout.Std(), BodyTemp: c.BodyTemp,
	}
}

// readTLS reads the certificates of all listeners; nil is for cleartext.
func (s *Server) readTLS(file *config.File) (map[string]*tls.Config, error) {
	tlsConfigs := map[string]*tls.Config{}
	for i := range file.Listeners {
		c := &file.Listeners[i]
		path := fmt.Sprintf("listeners[%d]", i)
		t, err := serverTLS(c.TLS)
		if err != nil {
			return nil, file.NewError(path+".tls", err.Error(), "give readable PEM files that belong together")
		}
		if c.TLS != nil && c.TLS.Lua != nil {
			t.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				return s.gateway.handshake(c.Address, hello, t)
			}
		}
		tlsConfigs[c.Address] = t
		l, open := s.listeners[c.Address]
		if open && (l.tls.Load() != nil) != (t != nil) {
			return nil, file.NewError(path+".tls", "a listener cannot change between cleartext and TLS while it runs", "restart, or use another address")
		}
		if open && l.driver != s.driverOf(c) {
			return nil, file.NewError(path+".driver", "a listener cannot change its driver while it runs", "restart, or use another address")
		}
	}
	return tlsConfigs, nil
}

// openListeners opens the addresses that are new: all of them or none.
func (s *Server) openListeners(file *config.File) (map[string]*listener, error) {
	opened := map[string]*listener{}
	for i := range file.Listeners {
		c := &file.Listeners[i]
		if _, open := s.listeners[c.Address]; open {
			continue
		}
		ln, err := s.state.bind(c.Address)
		if err != nil {
			for _, l := range opened {
				_ = l.Close()
			}
			return nil, file.NewError(fmt.Sprintf("listeners[%d].address", i), err.Error(), "use an address of this machine that nobody listens on")
		}
		opened[c.Address] = &listener{Listener: ln, address: c.Address, driver: s.driverOf(c)}
	}
	return opened, nil
}

// serve accepts connections of a listener until it is closed.
func (s *Server) serve(l *listener) {
	var t *tls.Config
	if l.tls.Load() != nil {
		// Each handshake asks for the newest configuration.
		t = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c := l.tls.Load()
			if c.GetConfigForClient == nil {
				return c, nil
			}
			if own, err := c.GetConfigForClient(hello); own != nil || err != nil {
				return own, err
			}
			return c, nil
		}}
	}
	var err error
	switch {
	case l.driver == config.DriverLoop && t != nil:
		err = s.driver.ServeHandshakes(l.Listener, l.address, t, s.looping.Load())
	case l.driver == config.DriverLoop:
		err = s.looping.Load().Serve(l.Listener, l.address)
	default:
		err = s.driver.Serve(l.Listener, l.address, t)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		s.state.problem("listener " + l.address + " has stopped: " + err.Error())
	}
}

// Addresses are the bound addresses by the text that the configuration has: a
// port 0 has become a number.
func (s *Server) Addresses() map[string]net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	bound := map[string]net.Addr{}
	for address, l := range s.listeners {
		bound[address] = l.Addr()
	}
	return bound
}

// Ready tells whether the server takes new exchanges, and why not.
func (s *Server) Ready() (bool, string) {
	switch {
	case s.gateway.current.Load() == nil:
		return false, "starting"
	case s.gateway.draining.Load():
		return false, "draining"
	}
	return true, "ready"
}

// Close ends everything that is left after Drain.
func (s *Server) Close() {
	s.stop()
	s.noteExchanges()
	s.driver.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if loops := s.looping.Load(); loops != nil {
		loops.Close()
	}
	if snap := s.gateway.current.Load(); snap != nil {
		snap.retired.Store(true)
		snap.pool.EndTimers()
		snap.close()
		<-snap.pool.Done()
	}
	s.state.close()
}

func (s *Server) recovered(value any) {
	s.state.Metrics.Panics.Inc()
	s.state.problem(fmt.Sprintf("panic while a connection was served: %v", value))
}
