// Package upstream reaches the servers behind the gateway: it chooses an
// endpoint, keeps connections to it, and speaks HTTP/1.1 on them.
//
//	Registry (process)                Group (one configuration's upstream)
//	+----------------------+          +------------------------------+
//	| endpoints by identity|<-borrow--| members: endpoint, weight    |
//	| sweep of idle conns  |          | plan: order of picks         |
//	+----------------------+          +------------------------------+
//	        |                                 | Pick(tried)
//	        v                                 v
//	Endpoint: dialer, idle connections, failures, counters
//	        | Acquire                         ^ Release
//	        v                                 |
//	Conn: one exchange at a time: Write, SentAll, ReadHead, NextBody
//	        | Hijack after 101
//	        v
//	Tunnel
//
// A reload makes new groups; endpoints, their connections and the memory of
// their failures stay as long as some configuration names them.
//
// The transport is the package's own, over the strict scanner of proxy/wire,
// and not fasthttp.HostClient: that one copies a response before it gives it
// out or hides its connection behind a stream, cannot send and receive at the
// same time, cannot be canceled from outside, swallows 1xx and upgrades, and
// retries by itself. What the driver's goroutine calls here may wait; Framing
// and Group do not and are for any driver.
package upstream
