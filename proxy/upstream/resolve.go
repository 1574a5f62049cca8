package upstream

import (
	"context"
	"net"
	"sync"
	"time"
)

// nameTTL is how long the addresses of a name are used without asking again.
// The resolver of the Go library does not tell a record's own TTL, and a name is
// asked for only when a connection is made, so a short time costs little and
// follows a change soon.
const nameTTL = 5 * time.Second

// resolver knows the addresses of one name. Connecting starts at the address
// that worked last time and goes on with the others.
type resolver struct {
	host, port string
	lookup     func(ctx context.Context, host string) ([]net.IPAddr, error)

	mu    sync.Mutex
	known []string
	until monotonic
}

func newResolver(host, port string) *resolver {
	return &resolver{host: host, port: port, lookup: net.DefaultResolver.LookupIPAddr}
}

// addresses gives all of the name's addresses, as host:port. When the name
// cannot be resolved just now, those known before are used on.
func (r *resolver) addresses(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	known, fresh := r.known, now() < r.until
	r.mu.Unlock()
	if fresh {
		return known, nil
	}
	ips, err := r.lookup(ctx, r.host)
	if err != nil {
		if len(known) > 0 {
			return known, nil
		}
		return nil, err
	}
	found := make([]string, len(ips))
	for i, ip := range ips {
		found[i] = net.JoinHostPort(ip.String(), r.port)
	}
	r.mu.Lock()
	r.known, r.until = found, now().add(nameTTL)
	r.mu.Unlock()
	return found, nil
}

// worked moves an address to the front.
func (r *resolver) worked(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) == 0 || r.known[0] == address {
		return
	}
	// A new slice: others may be walking over the old one.
	moved := []string{address}
	for _, a := range r.known {
		if a != address {
			moved = append(moved, a)
		}
	}
	r.known = moved
}
