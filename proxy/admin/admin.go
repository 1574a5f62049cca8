// Package admin is the operators' listener: health, metrics, what is running,
// reload and profiles. It is the cold path and plain net/http, on a listener of
// its own that is never the public one.
//
//	admin.address (loopback unless told otherwise)   admin.probes
//	  /            a page for people                   /healthz
//	  /healthz     the process lives                   /readyz
//	  /readyz      503 while starting or draining      /metrics
//	  /metrics     Prometheus text
//	  /config      running configuration, masked
//	  /routes /upstreams /lua /limits     status as JSON
//	  POST /limits/reset
//	  POST /reload
//	  /debug/pprof/
//
// Whoever reaches admin.address may do everything there; being able to connect
// is the permission. A web page in an operator's browser can connect too, so the
// listener defends itself against pages: it answers only to a Host that no
// foreign page can have (an IP address, localhost, or a name from the
// configuration, against DNS rebinding), POST refuses requests that a browser
// marks as coming from another site, no response may be framed, and nothing is
// ever shared across origins. The probes listener has only doors that change
// nothing and show no configuration, and answers to any Host.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"perigee/proxy/observe"
	"perigee/proxy/sockets"
)

// Gateway is what the doors ask. Its methods may be called at any time from any
// goroutine, also while the gateway starts and drains.
type Gateway interface {
	// Ready reports whether traffic should be sent here, and why not.
	Ready() (ready bool, why string)
	// WriteMetrics writes Prometheus text; its error is w's.
	WriteMetrics(w io.Writer) error
	// Config returns the running configuration as YAML with secrets masked, empty
	// while none runs.
	Config() ([]byte, error)
	// Digest returns the running configuration's digest, "" while none runs.
	Digest() string
	Routes() []observe.RouteInfo
	Upstreams() []observe.UpstreamInfo
	Lua() observe.LuaInfo
	Limits() observe.LimitsInfo
	// ResetLimit lets a key of a limit start afresh, id as Limits has it; false:
	// nothing was counted for it.
	ResetLimit(name, id string) bool
	// Reload reads the configuration again and applies it whole or not at all.
	// Its error is for the operator, positions included; observe.ErrReloading
	// says that it did not start.
	Reload(ctx context.Context) error
}

// Options says where the doors are.
type Options struct {
	// Address is host:port of the full listener, "" or "off" for none.
	Address string
	// Probes is host:port of the second listener, "" for none.
	Probes string
	// Hosts are names besides IP addresses and localhost that the full listener
	// answers to. The host of Address is one without being listed.
	Hosts []string
	// Listen opens an address; nil: a new TCP socket.
	Listen func(address string) (net.Listener, error)
	// Log gets what goes wrong in serving; nil discards it.
	Log *slog.Logger
}

// Limits of both listeners: a scraper that hangs must not hold the process's
// descriptors, and nothing here needs a large request.
const (
	maxConnections = 128
	maxHeaderBytes = 16 << 10
	headerTimeout  = 5 * time.Second
	idleTimeout    = 60 * time.Second
	answerTimeout  = 30 * time.Second
)

// Server is the running listeners.
type Server struct {
	full, probes *listener // nil when off
}

// listener is one address and the server on it.
type listener struct {
	*capped
	configured string // its address, as Options has it
	server     *http.Server
	done       chan struct{}
}

// Start binds the listeners and serves on them until Close. Either all are bound
// or none.
func Start(o Options, gateway Gateway) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &doors{gateway: gateway, log: o.Log}
	s := new(Server)
	var err error
	if o.Address != "" && o.Address != "off" {
		hosts := o.Hosts
		if host, _, err := net.SplitHostPort(o.Address); err == nil && host != "" {
			hosts = append(append([]string(nil), hosts...), host)
		}
		if s.full, err = o.open("admin.address", o.Address, guard(hosts, d.full())); err != nil {
			return nil, err
		}
	}
	if o.Probes != "" {
		if s.probes, err = o.open("admin.probes", o.Probes, plain(d.probes())); err != nil {
			if s.full != nil {
				s.full.Close()
			}
			return nil, err
		}
	}
	for _, l := range []*listener{s.full, s.probes} {
		if l != nil {
			go l.serve(o.Log)
		}
	}
	return s, nil
}

func (o *Options) open(key, address string, handler http.Handler) (*listener, error) {
	bind := o.Listen
	if bind == nil {
		bind = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	l, err := bind(address)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", key, address, err)
	}
	return &listener{
		capped: newCapped(l, maxConnections), configured: address,
		done: make(chan struct{}),
		server: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: headerTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
			// WriteTimeout stays 0: profiles take as long as they are asked to, and
			// the doors set their own deadlines. ReadTimeout stays 0 because it
			// would end a profile's context; no door takes a body.
		},
	}, nil
}

func (l *listener) serve(log *slog.Logger) {
	defer close(l.done)
	if err := l.server.Serve(l.capped); !errors.Is(err, http.ErrServerClosed) {
		log.Error("admin listener ended", "address", l.Addr().String(), "error", err)
	}
}

// Bound are the listening sockets with the addresses of Options, for a successor
// to take over.
func (s *Server) Bound() (all []sockets.Bound) {
	for _, l := range []*listener{s.full, s.probes} {
		if l != nil {
			all = append(all, sockets.Bound{Address: l.configured, Listener: l.capped.Listener})
		}
	}
	return all
}

// Addr returns the full listener's bound address, "" when it is off.
func (s *Server) Addr() string { return s.full.address() }

// ProbesAddr returns the probes listener's bound address, "" when it is off.
func (s *Server) ProbesAddr() string { return s.probes.address() }

func (l *listener) address() string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// Close stops both listeners: requests under way may end until ctx does, then
// their connections are cut. Close the admin listener last, so that probes see
// the drain.
func (s *Server) Close(ctx context.Context) error {
	var problems []error
	for _, l := range []*listener{s.full, s.probes} {
		if l == nil {
			continue
		}
		if err := l.server.Shutdown(ctx); err != nil {
			problems = append(problems, fmt.Errorf("close admin listener %s: %w", l.Addr(), errors.Join(err, l.server.Close())))
		}
		<-l.done
	}
	return errors.Join(problems...)
}

// capped accepts at most a number of connections at a time; more wait in the
// kernel's queue.
type capped struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newCapped(l net.Listener, connections int) *capped {
	return &capped{Listener: l, slots: make(chan struct{}, connections), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (c *capped) Accept() (net.Conn, error) {
	select {
	case c.slots <- struct{}{}:
	case <-c.closed:
		return nil, net.ErrClosed
	}
	conn, err := c.Listener.Accept()
	if err != nil {
		<-c.slots
		return nil, err
	}
	return &cappedConn{Conn: conn, release: sync.OnceFunc(func() { <-c.slots })}, nil
}

// Close implements net.Listener.
func (c *capped) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Listener.Close()
}

type cappedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *cappedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// hostName returns the host of a Host header or an address, lower case, without
// port, brackets and a final dot.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
