package luavm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
)

// Resolve gives the addresses of a name. Its error may be a *net.DNSError.
type Resolve func(ctx context.Context, name string) ([]netip.Addr, error)

func systemResolver(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

// ErrNoResolver is what NoResolver answers.
var ErrNoResolver = errors.New("no resolver defined")

// NoResolver knows no names at all.
func NoResolver(context.Context, string) ([]netip.Addr, error) { return nil, ErrNoResolver }

// ResolverAt asks the DNS servers at the given addresses (IP:port) in turn.
// Names are whole: no search domains are tried.
func ResolverAt(servers []string) Resolve {
	var next atomic.Uint32
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, servers[int(next.Add(1)-1)%len(servers)])
	}}
	return func(ctx context.Context, name string) ([]netip.Addr, error) {
		return r.LookupNetIP(ctx, "ip", strings.TrimSuffix(name, ".")+".")
	}
}

// rotation spreads connects over the addresses of names.
var rotation atomic.Uint32

// lookup picks one address of a name. Others are not tried when it fails, as
// in nginx: a script that wants to tries again. The error is for the script.
func (s *SocketSettings) lookup(ctx context.Context, name string) (netip.Addr, error) {
	within, cancel := context.WithTimeout(ctx, s.options.ResolveTimeout)
	defer cancel()
	all, err := s.options.Resolve(within, name)
	if err == nil && len(all) > 0 {
		return all[int(rotation.Add(1)%uint32(len(all)))], nil
	}
	if err == ErrNoResolver {
		return netip.Addr{}, errors.New("no resolver defined to resolve \"" + name + "\"")
	}
	// nginx asks again until its time is up when a server cannot be reached.
	code, why := 110, "Operation timed out"
	var dns *net.DNSError
	switch {
	case err == nil, errors.As(err, &dns) && dns.IsNotFound:
		code, why = 3, "Host not found"
	case dns != nil && dns.Err == "server misbehaving": // it answered, but not this
		code, why = 2, "Server failure"
	}
	return netip.Addr{}, errors.New(name + " could not be resolved (" + strconv.Itoa(code) + ": " + why + ")")
}
