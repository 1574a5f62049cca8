package script

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"perigee/luavm"
	"perigee/proxy/unit"
)

// Socket is how ngx.socket behaves unless a script says otherwise: for all
// scripts in the top-level lua block, for a route's own in its lua block. A key
// that a route leaves out is as for all.
type Socket struct {
	// ConnectTimeout is how long a connect may take once the address is known.
	// Default 60s. nginx: lua_socket_connect_timeout.
	ConnectTimeout *unit.Duration `yaml:"connect_timeout,omitempty"`
	// SendTimeout is how long the peer may take no bytes. Default 60s. nginx:
	// lua_socket_send_timeout.
	SendTimeout *unit.Duration `yaml:"send_timeout,omitempty"`
	// ReadTimeout is how long the peer may send no bytes. Default 60s. nginx:
	// lua_socket_read_timeout.
	ReadTimeout *unit.Duration `yaml:"read_timeout,omitempty"`
	// Keepalive is how long a connection that setkeepalive gave back stays open
	// unused. Default 60s; 0 means for ever. nginx: lua_socket_keepalive_timeout.
	Keepalive *unit.Duration `yaml:"keepalive,omitempty"`
	// PoolSize is how many unused connections a VM keeps under one name.
	// Default 30. nginx: lua_socket_pool_size.
	PoolSize *int `yaml:"pool_size,omitempty"`
	// BufferSize is how much is read at once at first; more when more is there.
	// Default 4KiB. nginx: lua_socket_buffer_size.
	BufferSize *unit.Size `yaml:"buffer_size,omitempty"`
	// LogErrors says whether failures of sockets are logged. Default true. nginx:
	// lua_socket_log_errors.
	LogErrors *bool `yaml:"log_errors,omitempty"`
	// Resolver says who is asked for the addresses of names: system (default),
	// none, or DNS servers with spaces between. nginx: resolver.
	Resolver string `yaml:"resolver,omitempty"`
	// ResolverTimeout is how long a name may take. Default 30s. nginx:
	// resolver_timeout.
	ResolverTimeout *unit.Duration `yaml:"resolver_timeout,omitempty"`
}

// The words of Socket.Resolver.
const (
	resolverSystem = "system"
	resolverNone   = "none"
)

// Check reports settings that sockets cannot work with.
func (s *Socket) Check(path string) (problems []unit.Problem) {
	if s == nil {
		return nil
	}
	report := func(key, message, hint string) {
		problems = append(problems, unit.Problem{Path: unit.Join(path, key), Message: message, Hint: hint})
	}
	for _, t := range [...]struct {
		key  string
		d    *unit.Duration
		none bool // 0 is allowed
	}{
		{"connect_timeout", s.ConnectTimeout, false}, {"send_timeout", s.SendTimeout, false},
		{"read_timeout", s.ReadTimeout, false}, {"keepalive", s.Keepalive, true},
		{"resolver_timeout", s.ResolverTimeout, false},
	} {
		if t.d != nil && (*t.d < 0 || *t.d == 0 && !t.none || t.d.Std().Milliseconds() > math.MaxInt32) {
			report(t.key, fmt.Sprintf("duration %q is no time that a socket can wait", *t.d), "write for example 60s")
		}
	}
	if n := s.PoolSize; n != nil && (*n < 1 || *n > 1<<20) {
		report("pool_size", fmt.Sprintf("%d connections cannot be kept", *n), "write 1 to 1048576")
	}
	if n := s.BufferSize; n != nil && (*n < 1 || *n > unit.MiB) {
		report("buffer_size", fmt.Sprintf("size %q is no size of a buffer", *n), "write 1 byte to 1MiB")
	}
	if _, err := servers(s.Resolver); err != nil {
		report("resolver", err.Error(), "write system, none, or addresses such as 10.0.0.2 or 10.0.0.2:53")
	}
	return problems
}

// servers are the addresses of DNS servers that a resolver text names.
func servers(text string) (addresses []string, err error) {
	switch text {
	case "", resolverSystem, resolverNone:
		return nil, nil
	}
	for _, word := range strings.Fields(text) {
		at, err := netip.ParseAddrPort(word)
		if err != nil {
			ip, err := netip.ParseAddr(strings.Trim(word, "[]"))
			if err != nil {
				return nil, fmt.Errorf("%q is no address of a DNS server", word)
			}
			at = netip.AddrPortFrom(ip, 53)
		}
		addresses = append(addresses, at.String())
	}
	return addresses, nil
}

// over is s with what it leaves out taken from all; either may be nil.
func (s *Socket) over(all *Socket) Socket {
	if s == nil {
		return *all
	}
	out := *s
	inherit(&out.ConnectTimeout, all.ConnectTimeout)
	inherit(&out.SendTimeout, all.SendTimeout)
	inherit(&out.ReadTimeout, all.ReadTimeout)
	inherit(&out.Keepalive, all.Keepalive)
	inherit(&out.PoolSize, all.PoolSize)
	inherit(&out.BufferSize, all.BufferSize)
	inherit(&out.LogErrors, all.LogErrors)
	inherit(&out.ResolverTimeout, all.ResolverTimeout)
	if out.Resolver == "" {
		out.Resolver = all.Resolver
	}
	return out
}

func inherit[T any](p **T, from *T) {
	if *p == nil {
		*p = from
	}
}

// Sockets are the settings of a route's sockets, or with route nil those of
// all others. all is checked; files are read here.
func Sockets(all *Settings, route *Config) (*luavm.SocketSettings, error) {
	socket, ssl := all.Socket, all.SSL
	if route != nil {
		socket, ssl = route.Socket.over(&all.Socket), route.SSL.over(&all.SSL)
	}
	tls, err := ssl.read()
	if err != nil {
		return nil, err
	}
	o := luavm.SocketOptions{
		ConnectTimeout: std(socket.ConnectTimeout), SendTimeout: std(socket.SendTimeout),
		ReadTimeout: std(socket.ReadTimeout), Keepalive: std(socket.Keepalive),
		Quiet: socket.LogErrors != nil && !*socket.LogErrors,
		TLS:   tls,
	}
	if socket.Keepalive != nil && *socket.Keepalive == 0 {
		o.Keepalive = -1
	}
	if socket.PoolSize != nil {
		o.PoolSize = *socket.PoolSize
	}
	if socket.BufferSize != nil {
		o.BufferSize = int(*socket.BufferSize)
	}
	timeout := 30 * time.Second
	if socket.ResolverTimeout != nil {
		timeout = socket.ResolverTimeout.Std()
	}
	o.ResolveTimeout = timeout
	switch list, _ := servers(socket.Resolver); {
	case socket.Resolver == resolverNone:
		o.Resolve = luavm.NoResolver
	case len(list) > 0:
		o.Resolve = luavm.ResolverAt(list)
	}
	return luavm.NewSocketSettings(o), nil
}

func std(d *unit.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Std()
}
