package proxy

import (
	"crypto/tls"
	"fmt"

	"perigee/proxy/script"
)

// handshakes makes what runs the scripts of listeners' TLS handshakes.
func (b *builder) handshakes() error {
	s := b.snapshot
	s.handshakes = make(map[string]*script.Handshake)
	for i := range s.File.Listeners {
		c := &s.File.Listeners[i]
		if c.TLS == nil || c.TLS.Lua == nil {
			continue
		}
		h, err := script.NewHandshake(s.pool, c.Address, c.TLS.Lua, b.scripts())
		if err != nil {
			return placed(s.File, fmt.Sprintf("listeners[%d].tls", i), err)
		}
		s.handshakes[c.Address] = h
	}
	return nil
}

// handshake runs the scripts that the running configuration has for address.
// The VMs of that configuration are held meanwhile.
func (g *Gateway) handshake(address string, hello *tls.ClientHelloInfo, base *tls.Config) (*tls.Config, error) {
	shard := g.state.Metrics.NextShard()
	snap := g.hold(shard)
	defer snap.Leave(shard)
	if h := snap.handshakes[address]; h != nil {
		return h.Run(hello, base)
	}
	return nil, nil
}
