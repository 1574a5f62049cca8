// Package sockets passes listening sockets from process to process, so that a
// service can be started, and replaced by a newer binary, while clients connect.
//
//	systemd ---- LISTEN_PID LISTEN_FDS LISTEN_FDNAMES ---------+
//	                                                           v
//	old perigee -- PERIGEE_LISTEN (address=fd;...) --> Inherited() Set
//	      |            PERIGEE_READY  (a pipe)                 |
//	      |                                            Take(address): listeners
//	      |                                            Rest(): what nobody took
//	      +<------------- one byte: ready --------------- Announce()
//	      drains, exits
//
// A socket is one queue of connections whichever process accepts from it: while
// both have it none is refused, and what the old one has not accepted when it
// closes its descriptor waits for the new one.
package sockets
