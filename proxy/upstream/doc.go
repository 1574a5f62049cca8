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
//	Conn: one exchange at a time: WriteLast, ReadHead, NextBody
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
// retries by itself. BenchmarkExchange and BenchmarkHostClient compare the two:
// ours takes about 0.75 of its CPU for a small answer. What the driver's
// goroutine calls here may wait; Framing and Group do not and are for any
// driver.
//
// # Several exchanges on one connection
//
// A Conn may be a place on a Trunk, with the same rules; what the exchanges of an
// event loop's wake-up send leaves in one write (trunk.go, share.go):
//
//	pipeline   HTTP/1.1, requests one behind the other, answers in that order;
//	           in event loops only
//	streams    HTTP/2 (package h2); where goroutines drive exchanges, two
//	           goroutines move each trunk (patient.go)
//
// # After a failure
//
// A kept connection may end at any time. The error says what may be done:
//
//	ErrUnsent    nothing left: any request may be sent again
//	ErrStale     ended before an answer on a kept connection: an idempotent
//	             request whose body is at hand may be sent again, on a new one
//	ErrUnserved  the endpoint has left the request aside, as happens on shared
//	             connections: it may be sent again
//	*ConnectError, ErrBusy   another endpoint may be tried with any request
//	other        the endpoint failed: Endpoint.Failed, and the route's rules
//
// # What goes without locks
//
// Three words are shared by threads without one.
//
// Group.plan points to an immutable plan; only its counter of places moves. A
// pick loads the pointer, compares one word with Registry.changes (written only
// when an endpoint begins or ceases to be avoided, so its cache line stays
// shared) and adds 1 to the counter. A plan made meanwhile by another thread
// does not matter: both were right at some time during the pick. Who finds the
// plan outdated makes the next one under Group.mu; two threads may do so one
// after the other and come to the same result.
//
// link.state decides between the end of an exchange and its Cancel. Both are a
// compare-and-swap from the same value, so one of them comes first for all:
//
//	            Release, Hijack
//	epoch 7, running ------------------> epoch 8, running (next exchange)
//	      |
//	      | Cancel with epoch 7           Cancel with epoch 7 finds 8: nothing
//	      v
//	epoch 7, canceled --- Release ---> closed, never kept
//
// Cancel sets the mark and then a deadline in the past; arming sets a deadline
// and then looks at the mark. In whatever order the four steps fall, either the
// past deadline is the last one set, or the mark is seen. When the sender arms
// for a reader that waits already, it looks at the mark on the reader's behalf.
//
// deadlines.waiting and headDue hand the arming of the head's deadline to
// whichever of reader and sender comes second: each writes its own word before
// it reads the other's (Go's atomics are sequentially consistent), so at least
// one of them sees both, and armHead, under the mutex, arms once.
package upstream
