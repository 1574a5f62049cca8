// Package loop is the event-loop driver: one goroutine, locked to its thread,
// per core; each polls its own epoll and moves the exchanges of its connections
// without handing anything to another thread.
//
//	            Loop (one thread)
//	epoll ---> source.ready ----+--- client: read, scan the head, begin
//	           (acceptor,       |      '-> task -- Options.Advance --.
//	            client, link,   |           ^                        | false:
//	            socket)         |           | ready                  v it waits
//	timers --> timed.expire ----+           '--- perform each op: done at once,
//	inbox ---> poster.posted ---'                or parked where its event comes
//	           (other threads)
//
// An op is parked at what it waits for: a client's or an endpoint's socket (both
// edge-triggered, registered once, so that a wait costs no system call), a
// timer, or a goroutine that performs what would block (TLS to endpoints, files,
// names, handshakes) and posts its end. When the event comes the same step is
// tried again; what an exchange, a filter or a script sees is the same as under
// the goroutine driver (package serve).
//
// # What it does not serve
//
// Whether loops or goroutines serve a listener is settled when it opens; a loop hands
// no request of its listeners on. What package wire lets in it serves to the end, in
// all forms of HTTP/1.0 and 1.1; what wire refuses, the preface of HTTP/2 among it,
// is answered and counted by reason before there is an exchange. After a 101 the sockets go to goroutines, the
// exchange stays.
//
// # What belongs to whom
//
// Everything of a Loop is touched by its thread alone, but for:
//
//	inbox      guarded by its mutex; a post wakes the loop only if it sleeps
//	sleeping   set before the last look at the inbox and the poll that may
//	           block; who posts clears it, and writes to the eventfd if it
//	           was set. In whatever order the two fall, either the poster
//	           sees it set, or the loop sees the post.
//	stats      counters with one writer
//
// A poster may come too late: its task or socket may have been given to
// another use meanwhile. So a post carries no work, only "look again": the loop
// then asks the exchange, the op or the socket itself.
//
// # Listening
//
// All loops watch the same listening socket, with EPOLLEXCLUSIVE, instead of one
// SO_REUSEPORT socket each: a reload or a drain then loses no connection that
// the kernel has queued to a socket that closes, and connections can be put
// where they cost least. What a request costs depends on how many events a wake
// up brings, so a loop that has time to spare takes them all, and others begin
// to when it has none (see balance.go).
//
// A busy loop that finds few events rests for a moment before it looks again, if
// that is little beside what its exchanges take anyway (rest.go).
//
// # TLS
//
// A handshake computes for longer than a hundred requests and waits for its
// client, so it is a goroutine's of package serve, over a blocking connection.
// Then Server.Take has the descriptor, and the same tls.Conn goes on over a
// transport that never blocks (tls.go):
//
//		serve: accept, handshake --Take--> loop: read, exchange, write ...
//		                                     '--leave--> goroutines of a tunnel
//
//	  - A read that finds nothing is a temporary error, after which crypto/tls goes
//	    on where it was, be it in the middle of a record or of a key update.
//	  - A write goes to memory of the loop. Head, body and end of a short answer are
//	    one record and one system call; of a long one 64 KiB are sealed at a time,
//	    and the next when they have left.
//	  - Bytes may be had though epoll has told of none: what crypto/tls has read
//	    behind the handshake, or behind what it has given. So a client counts as
//	    readable until a read was in vain. For the usual request that read is saved
//	    by following the framing of records (frames.go).
//	  - Deadlines are the loop's timers. Part of a record that comes is no reason to
//	    set one anew.
//	  - A tunnel has the tls.Conn itself, over a blocking connection again.
//
// The rest of the loop sees TLS in four places: client.read, client.say,
// sending.flush and the end of a connection (close_notify). Cleartext pays a
// comparison there.
//
// What crypto/tls keeps of an idle connection (its keys and the buffer of its
// longest record) cannot be taken from it. It allocates one reader of 32 bytes each
// time it goes to the socket: one allocation a request.
//
// # Timers
//
// Almost every deadline is set and never reached. A deadline that moves away
// from now is only noted; the heap is touched when one comes nearer, or when the
// noted one is looked at because the former is due. A request so costs no work
// on the heap.
package loop
