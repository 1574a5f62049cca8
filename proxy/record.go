package proxy

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// beginRecord notes what is known when a request has arrived.
func (g *Gateway) beginRecord(ex *exchange.Exchange) {
	rec := &ex.Record
	conn := ex.Conn
	rec.Connection, rec.Serial = conn.ID, uint32(conn.Requests)
	rec.Peer, rec.Listener = conn.Peer, conn.Listener
	rec.Client = conn.Peer
	if conn.Trusted {
		rec.Client = g.forwardedFor(ex)
	}
	rec.Scheme = "http"
	if conn.TLS {
		rec.Scheme = "https"
	}
	rec.Protocol = "HTTP/1.1"
	if ex.Head.Minor == 0 {
		rec.Protocol = "HTTP/1.0"
	}
	rec.Method = ex.Head.Method.Of(ex.Raw)
	rec.Host = ex.Head.Host.Of(ex.Raw)
	if f, ok := ex.Head.Find(wire.FieldUserAgent); ok {
		rec.UserAgent = f.Value.Of(ex.Raw)
	}
	if f, ok := ex.Head.Find(wire.FieldReferer); ok {
		rec.Referer = f.Value.Of(ex.Raw)
	}
	newID(&rec.ID)
}

// newID makes a request id: 32 hexadecimal digits. Ids must not collide, not be
// secret.
func newID(id *[32]byte) {
	for i := 0; i < len(id); i += 16 {
		word := rand.Uint64()
		binary.LittleEndian.PutUint64(id[i:], hexDigits(uint32(word)))
		binary.LittleEndian.PutUint64(id[i+8:], hexDigits(uint32(word>>32)))
	}
}

// hexDigits are the eight hexadecimal digits of x as bytes of a word, the lowest
// digit in the lowest byte. Each byte is given a digit; where that is above 9, six
// more carry into the byte's upper half, which tells which bytes are to be letters.
func hexDigits(x uint32) uint64 {
	d := uint64(x)
	d = (d | d<<16) & 0x0000ffff0000ffff
	d = (d | d<<8) & 0x00ff00ff00ff00ff
	d = (d | d<<4) & 0x0f0f0f0f0f0f0f0f
	letters := (d + 0x0606060606060606) >> 4 & 0x0101010101010101
	return d + 0x3030303030303030 + letters*('a'-'0'-10)
}

// forwardedFor walks X-Forwarded-For from its end as long as the addresses are
// trusted proxies; the first that is not is the client (nginx: real_ip_recursive
// on).
func (g *Gateway) forwardedFor(ex *exchange.Exchange) netip.AddrPort {
	trusted := g.current.Load().File.TrustedProxies
	client := ex.Conn.Peer
	for i := len(ex.Head.Fields) - 1; i >= 0; i-- {
		f := &ex.Head.Fields[i]
		if f.ID != wire.FieldXForwardedFor {
			continue
		}
		list := f.Value.Of(ex.Raw)
		for len(list) > 0 {
			at := len(list)
			for at > 0 && list[at-1] != ',' {
				at--
			}
			addr, err := netip.ParseAddr(string(wire.TrimOWS(list[at:])))
			if err != nil {
				return client // what lies beyond was not written by a trusted one
			}
			client = netip.AddrPortFrom(addr.Unmap(), 0)
			if !trusted.Contains(addr.Unmap()) {
				return client
			}
			list = list[:max(at-1, 0)]
		}
	}
	return client
}
