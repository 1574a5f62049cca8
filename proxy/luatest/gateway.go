package luatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"perigee/luavm"
	"perigee/proxy"
	"perigee/proxy/config"
	"perigee/proxy/observe"
	"perigee/proxy/upstream"
)

// gateway is a whole gateway of a configuration, whose listeners and upstreams
// are in this process.
type gateway struct {
	host   *host
	name   string // of its configuration, for coverage
	file   *config.File
	state  *proxy.State
	server *proxy.Server
	log    buffer
	opener *observe.Log
	out    atomic.Int64 // requests of specs under way

	network bool // endpoints without a stub are connected to

	mu        sync.Mutex
	listeners map[string]*listener // by the address in the configuration
	stubs     map[string]*stub     // by host:port
	conns     map[net.Conn]struct{}
	running   sync.WaitGroup // stubs' connections
	marked    int            // of log, where the present test began
}

// buffer is a log in memory.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// Close implements io.Closer.
func (b *buffer) Close() error { return nil }

func (b *buffer) from(at int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()[at:]
}

// openGateway is the verb gateway: {config = text} or {file = path}, upstreams =
// {[name or host:port] = stub}, clock = "real", network = true.
func (h *host) openGateway(_ *luavm.Op, command *table) (any, error) {
	file, name, err := h.readConfig(command)
	if err != nil {
		return nil, err
	}
	level, err := observe.ParseLevel(string(file.Log.Level))
	if err != nil {
		return nil, err
	}
	g := &gateway{
		host: h, name: name, network: command.is("network"),
		listeners: map[string]*listener{}, conns: map[net.Conn]struct{}{},
	}
	g.opener = observe.NewLog(&g.log, level)
	g.state = proxy.NewState(h.suite.Build, g.opener)
	g.state.Listen = g.listen
	if command.text("clock") != "real" {
		g.state.Clock = h.clock
	}
	g.state.Upstreams.SetDial(g.dialUpstream)
	g.state.Dial = g.dialSocket
	if g.stubs, err = findStubs(file, command.sub("upstreams")); err == nil {
		g.server, err = proxy.NewServer(g.state)
	}
	if err == nil {
		err = g.apply(file)
	}
	if err != nil {
		g.close()
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serial++
	h.gateways[h.serial] = g
	return h.serial, nil
}

var hasListeners = regexp.MustCompile(`(?m)^["']?listeners["']?\s*:`)

// readConfig reads the configuration that a command names. A text may leave the
// listeners out.
func (h *host) readConfig(command *table) (file *config.File, name string, err error) {
	dir := filepath.Dir(h.spec)
	if text, given := command.get("config").(string); given {
		if !hasListeners.MatchString(text) {
			text += "\nlisteners: [{address: \"127.0.0.1:8080\"}]\n"
		}
		file, err = config.Parse(h.spec, []byte(text), dir)
		return file, h.spec, err
	}
	path := command.text("file")
	switch {
	case path == "" && h.suite.config != nil:
		return h.suite.config, h.suite.config.Name(), nil
	case path == "":
		return nil, "", fmt.Errorf("perigee.gateway needs a configuration: give it config = TEXT or file = PATH, or the command -c FILE")
	case !filepath.IsAbs(path):
		path = filepath.Join(dir, path)
	}
	file, err = config.Load(path)
	return file, path, err
}

// apply makes file the running configuration, but for what tests cannot have:
// one VM that all requests meet in, no connection kept (its deadline could pass
// with time that nobody waited), no access log, no delay at the end.
func (g *gateway) apply(file *config.File) error {
	c := *file
	c.Workers = 1
	c.AccessLog.Format = config.AccessLogOff
	c.Drain.Delay = 0
	c.Upstreams = map[string]*upstream.Config{}
	for name, u := range file.Upstreams {
		own := *u
		own.Keepalive.Idle = 0
		c.Upstreams[name] = &own
	}
	if err := g.server.Apply(&c); err != nil {
		return err
	}
	g.file = file
	return nil
}

// findStubs gives each endpoint its stub, by the address that is dialled.
func findStubs(file *config.File, given *table) (map[string]*stub, error) {
	stubs := map[string]*stub{}
	if given == nil {
		return stubs, nil
	}
	add := func(address string, s *stub) error {
		if former := stubs[address]; former != nil && *former != *s {
			return fmt.Errorf("two upstreams with different stubs have the endpoint %s: which one is meant cannot be told", address)
		}
		stubs[address] = s
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(given.fields)) {
		s := readStub(name, given.sub(name))
		u := file.Upstreams[name]
		if u == nil {
			if !strings.Contains(name, ":") {
				return nil, fmt.Errorf("the configuration has no upstream %q: it has %s", name, listed(slices.Sorted(maps.Keys(file.Upstreams))))
			}
			if err := add(name, s); err != nil {
				return nil, err
			}
			continue
		}
		for _, e := range u.Endpoints {
			address, _, err := e.Dial(u.TLS != nil)
			if err == nil {
				err = add(address, s)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return stubs, nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// listen implements proxy.State.Listen.
func (g *gateway) listen(address string) (net.Listener, error) {
	addr, err := addressOf(address)
	if err != nil {
		return nil, err
	}
	l := newListener(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listeners[address] = l
	return l, nil
}

// dialUpstream implements upstream.Dial. Deadlines are the clock's.
func (g *gateway) dialUpstream(ctx context.Context, address string) (net.Conn, error) {
	near, err := g.dial(ctx, "tcp", address)
	tcp, ours := near.(*net.TCPConn)
	if err != nil || !ours || g.stubOf(address) == nil {
		return near, err
	}
	remote, err := addressOf(address)
	if err != nil {
		remote = near.RemoteAddr()
	}
	return &timed{TCPConn: tcp, clock: g.host.clock, remote: remote}, nil
}

// dialSocket implements luavm.Options.Dial. Who asks is a script: what it cannot
// have is logged, for it may not say.
func (g *gateway) dialSocket(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := g.dial(ctx, network, address)
	if errors.Is(err, errNoStub) {
		g.opener.Print(observe.LevelError, nil, err.Error())
	}
	return nc, err
}

func (g *gateway) stubOf(address string) *stub {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stubs[address]
}

// errNoStub is the refusal of a connection that would leave the process.
var errNoStub = errors.New("no stub stands for it among perigee.gateway's upstreams")

// dial makes a connection to the stub for an address.
func (g *gateway) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s := g.stubOf(address)
	if s == nil && g.network {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	if s == nil || network != "tcp" {
		return nil, fmt.Errorf("connecting to %s (%s): %w: %w", address, network, errNoStub, syscall.ECONNREFUSED)
	}
	if s.refuses {
		return nil, fmt.Errorf("the stub for %s refuses: %w", address, syscall.ECONNREFUSED)
	}
	near, far, err := g.host.pairs.dial()
	if err != nil {
		return nil, err
	}
	if !g.hold(far) {
		_, _ = near.Close(), far.Close()
		return nil, net.ErrClosed
	}
	g.running.Go(func() {
		defer g.drop(far)
		if s.speaks {
			g.host.speak(s, far)
			return
		}
		g.host.serve(s, far)
	})
	return near, nil
}

// hold keeps a connection to close with the gateway; false: it is closed.
func (g *gateway) hold(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns == nil {
		return false
	}
	g.conns[c] = struct{}{}
	return true
}

func (g *gateway) drop(c net.Conn) {
	_ = c.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

// closeLimit bounds how long a gateway may take to end.
const closeLimit = 2 * time.Second

// close ends the gateway and counts what has run in it.
func (g *gateway) close() {
	defer g.host.clock.act()() // timers that end with it may sleep
	g.mu.Lock()
	conns := g.conns
	g.conns = nil
	g.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
	if g.server != nil {
		if g.file != nil {
			g.host.suite.coverage.add(g.name, g.server.Lua().Scripts)
			ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
			_ = g.server.Drain(ctx)
			cancel()
		}
		g.server.Close()
	}
	_ = g.opener.Close(closeLimit)
	g.running.Wait()
}

// closeGateway is the verb close.
func (h *host) closeGateway(_ *luavm.Op, command *table) (any, error) {
	g, err := h.gateway(command)
	if err != nil {
		return nil, nil // it is closed already
	}
	h.mu.Lock()
	delete(h.gateways, command.integer("gateway"))
	h.mu.Unlock()
	g.close()
	h.mu.Lock()
	h.ended += g.sinceMark()
	h.mu.Unlock()
	return nil, nil
}

// reloadGateway is the verb reload: another configuration, named as for gateway.
func (h *host) reloadGateway(_ *luavm.Op, command *table) (any, error) {
	g, err := h.gateway(command)
	if err != nil {
		return nil, err
	}
	file, name, err := h.readConfig(command)
	if err != nil {
		return nil, err
	}
	h.suite.coverage.add(g.name, g.server.Lua().Scripts)
	if err := g.apply(file); err != nil {
		return nil, err
	}
	g.name = name
	return nil, nil
}

// mark notes where a test begins in the log.
func (g *gateway) mark() { g.marked = len(g.log.from(0)) }

// sinceMark is what was logged in this test.
func (g *gateway) sinceMark() string {
	_ = g.opener.Reopen() // writes what waits
	return g.log.from(g.marked)
}

// gatewayLog is the verb log: everything that the gateway has logged.
func (h *host) gatewayLog(_ *luavm.Op, command *table) (any, error) {
	g, err := h.gateway(command)
	if err != nil {
		return nil, err
	}
	if err := g.opener.Reopen(); err != nil {
		return nil, err
	}
	return g.log.from(0), nil
}

// settle waits until exchanges whose answers are there have ended: their log
// phase comes last.
func (g *gateway) settle() {
	until(func() bool { return g.state.Metrics.InFlight.Value() <= g.out.Load() })
}
