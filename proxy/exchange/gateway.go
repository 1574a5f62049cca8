package exchange

import (
	"net/netip"
	"time"

	"perigee/luavm"
	"perigee/proxy/wire"
)

// Gateway is what a driver needs to know of what it moves exchanges for. The
// functions are called from many threads and must not block.
type Gateway struct {
	// Begin prepares an acquired exchange whose Raw and Head are set.
	Begin func(ex *Exchange)
	// Advance moves the exchange until it is finished (true) or waits for ops
	// (false). At true it waits for none.
	Advance func(ex *Exchange) bool
	// Subrequests makes the exchanges that a script's op waits for; none: the op
	// is complete.
	Subrequests func(op *luavm.Op) []*Exchange
	// HasPage tells whether a refusal has an error page: then Begin gets an
	// exchange whose Raw is a StandIn. nil: none has.
	HasPage func(why *wire.Error) bool
	// Refused counts a request that never became an exchange.
	Refused func(conn *Conn, why *wire.Error)
	// Recovered is told of a panic on a driver's thread.
	Recovered func(value any)
	// Trusted tells whether a peer is one of trusted_proxies.
	Trusted func(addr netip.Addr) bool
	// Opened and Closed count connections per listener.
	Opened, Closed func(listener string)
	// Others is how many connections other drivers have open, which count
	// against ClientLimits.Connections; nil: none.
	Others func() int
}

// ClientLimits bound what clients may use. Zero durations are no bound.
type ClientLimits struct {
	Connections int           // at once; further ones are closed at accept
	Head        wire.Limits   // of a request head
	HeaderTime  time.Duration // from a head's first byte to its last
	IdleTime    time.Duration // between two requests of a connection
	BodyTime    time.Duration // between two reads of a body
	SendTime    time.Duration // between two writes of an answer
	BodyTemp    string        // folder of bodies that are too long for memory
	Requests    int           // of a connection, which the last one's answer closes; 0: any number
}

// Last tells whether a connection's n-th request is its last.
func (l *ClientLimits) Last(n uint64) bool { return l.Requests > 0 && n >= uint64(l.Requests) }
