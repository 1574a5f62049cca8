package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// dialer makes connections to one endpoint.
type dialer struct {
	address string         // host:port
	tls     *tls.Config    // nil for plain
	names   *resolver      // nil when address needs no resolution
	direct  netip.AddrPort // the address, if it needs none
	net     net.Dialer
}

// keepAliveProbe is how often the kernel asks whether a silent endpoint still
// exists, so that tunnels and idle connections notice a vanished host.
const keepAliveProbe = 30 * time.Second

func newDialer(address string, tlsConfig *tls.Config) *dialer {
	d := &dialer{address: address, tls: tlsConfig}
	d.net.KeepAlive = keepAliveProbe
	if host, port, err := net.SplitHostPort(address); err == nil && net.ParseIP(host) == nil {
		d.names = newResolver(host, port)
	}
	d.direct, _ = netip.ParseAddrPort(address)
	return d
}

// dial makes a connection for e within timeout, TLS included. The error is a
// *ConnectError.
func (d *dialer) dial(e *Endpoint, timeout time.Duration) (*Conn, error) {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	}
	defer cancel()
	var nc net.Conn
	var err error
	secure := d.tls
	if instead := e.registry.dial.Load(); instead != nil {
		secure = nil
		nc, err = (*instead)(ctx, d.address)
	} else {
		nc, err = d.connect(ctx)
	}
	if err != nil {
		return nil, d.failure(err, ConnectOther)
	}
	c, err := newConn(ctx, e, nc, secure)
	if err != nil {
		return nil, d.failure(err, ConnectTLS)
	}
	return c, nil
}

// connect tries the address, or each address that a name has.
func (d *dialer) connect(ctx context.Context) (net.Conn, error) {
	if d.names == nil {
		return d.net.DialContext(ctx, "tcp", d.address)
	}
	addresses, err := d.names.addresses(ctx)
	if err != nil {
		return nil, err
	}
	for i, a := range addresses {
		var nc net.Conn
		share, cancel := attemptContext(ctx, len(addresses)-i)
		nc, err = d.net.DialContext(share, "tcp", a)
		cancel()
		if err == nil {
			d.names.worked(a)
			return nc, nil
		}
	}
	return nil, err
}

// attemptContext gives one of left attempts its share of the time.
func attemptContext(ctx context.Context, left int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
}

// failure names an error's kind, which is kind if the error does not tell.
func (d *dialer) failure(err error, kind ConnectKind) *ConnectError {
	var dns *net.DNSError
	switch {
	case isTimeout(err) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		kind = ConnectTimeout
	case errors.As(err, &dns):
		kind = ConnectName
	case errors.Is(err, syscall.ECONNREFUSED):
		kind = ConnectRefused
	}
	return &ConnectError{Address: d.address, Kind: kind, Err: err}
}
