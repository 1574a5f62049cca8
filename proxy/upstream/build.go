package upstream

import (
	"errors"
	"fmt"
	"net"
	"time"

	"perigee/proxy/wire"
)

// Failure memory of every endpoint: nginx's max_fails=1 and fail_timeout=10s.
const (
	maxFails    = 1
	failTimeout = 10 * time.Second
)

// maxMembers is how many endpoints a group can tell apart.
const maxMembers = 1 << 16

// NewGroup builds the upstream called name, borrowing its endpoints from r. The
// configuration has been checked (Config.Check); what can still fail is reading
// certificate files. Close ends the group's use.
func NewGroup(r *Registry, name string, c *Config) (*Group, error) {
	if len(c.Endpoints) > maxMembers {
		return nil, fmt.Errorf("upstream %s: %d endpoints; %d is the most", name, len(c.Endpoints), maxMembers)
	}
	material, err := c.material()
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", name, err)
	}
	g := &Group{name: name, registry: r}
	for _, ec := range c.Endpoints {
		e, err := c.borrow(r, name, ec, c.hostName(), material)
		if err != nil {
			g.Close()
			return nil, fmt.Errorf("upstream %s: %w", name, err)
		}
		g.members = append(g.members, member{e, ec.Weight})
	}
	g.named.open = func(p Peer) (*Endpoint, error) {
		sni := p.ServerName
		if sni == "" {
			sni = c.hostName()
		}
		return c.borrow(r, name, EndpointConfig{Address: p.Address}, sni, material)
	}
	g.replan()
	return g, nil
}

// material reads the files for TLS; verification by the system's authorities is
// what an https:// endpoint gets without settings.
func (c *Config) material() (*tlsMaterial, error) {
	if c.TLS != nil {
		return readTLS(*c.TLS)
	}
	return readTLS(TLSConfig{Verify: true})
}

func (c *Config) borrow(r *Registry, name string, ec EndpointConfig, sni string, m *tlsMaterial) (*Endpoint, error) {
	hostport, secure, err := ec.Dial(c.TLS != nil)
	if err != nil {
		return nil, err
	}
	id := identity{upstream: name, address: hostport, h2: c.Protocol.HTTP2()}
	if secure {
		id.tls = m.digest + " " + sni
	}
	return r.borrow(id, c.limits(), func() *Endpoint {
		e := &Endpoint{}
		if secure {
			config := m.client(hostport, sni)
			if id.h2 {
				config.NextProtos = []string{"h2"}
			}
			e.dialer = newDialer(hostport, config)
		} else {
			e.dialer = newDialer(hostport, nil)
		}
		return e
	})
}

// hostName is the server name that the Host setting implies; "" when it depends
// on the request or is the endpoint's.
func (c *Config) hostName() string {
	text, literal := c.Host.Literal()
	if !literal || text == HostPass || text == HostEndpoint {
		return ""
	}
	if host, _, err := net.SplitHostPort(text); err == nil {
		return host
	}
	return text
}

func (c *Config) limits() *Limits {
	return &Limits{
		Idle:         c.Keepalive.Idle,
		IdleTimeout:  c.Keepalive.IdleTimeout.Std(),
		Connections:  c.Keepalive.MaxConns,
		Pipeline:     c.Pipeline,
		PipelineWait: c.PipelineWait.Std(),
		Failures:     maxFails,
		Cooldown:     failTimeout,
		Head:         wire.Limits{HeaderBytes: maxHeadBytes, Fields: maxHeadFields},
	}
}

// Bounds of a response head. nginx's proxy_buffer_size (one page) refuses larger
// heads by default; applications with long cookies need more.
const (
	maxHeadBytes  = 64 << 10
	maxHeadFields = 256
)

// Timeouts gives the bounds in the form that Acquire takes.
func (t TimeoutConfig) Timeouts() Timeouts {
	return Timeouts{
		Connect:  t.Connect.Std(),
		Send:     t.Send.Std(),
		Response: t.Response.Std(),
		Read:     t.Read.Std(),
	}
}

// Override gives t with the fields that a route sets.
func (t Timeouts) Override(route TimeoutConfig) Timeouts {
	for _, f := range [...]struct {
		mine  *time.Duration
		other time.Duration
	}{
		{&t.Connect, route.Connect.Std()}, {&t.Send, route.Send.Std()},
		{&t.Response, route.Response.Std()}, {&t.Read, route.Read.Std()},
	} {
		if f.other > 0 {
			*f.mine = f.other
		}
	}
	return t
}

// errNotHeld is a mistake of the caller: see Hijack.
var errNotHeld = errors.New("connection was not upgraded: its last response head is not a 101")
