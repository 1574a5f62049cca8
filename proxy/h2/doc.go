// Package h2 is the client's side of HTTP/2 (RFC 9113) for who speaks HTTP/1.1:
// what goes in and comes out of a Stream is the text of an HTTP/1.1 message. It
// does no I/O, waits for nothing and has no lock: bytes that have come are given
// to Conn.Feed, and what is to be sent is appended to a buffer of the caller's.
//
//	"GET / HTTP/1.1\r\n..." --> Stream.Send --> HEADERS, DATA --> out
//	"HTTP/1.1 200 \r\n..."  <-- Stream.Read <-- HEADERS, DATA <-- Feed
//
// # Why not x/net/http2
//
// Its Transport has goroutines, timers and a lock per connection and an
// http.Request per exchange; its Framer allocates per frame. The frames are 40
// lines here. Of HPACK the Huffman code is x/net's. The table that grows with
// the fields is not used in either direction: we announce a size of 0, and send
// literals. So a stream's fields do not depend on other streams', and a peer
// cannot make a table grow; what it costs is some bytes per message, on networks
// where those are cheap. Decoded fields are remembered, a few, by the bytes they
// came as (decode.go), and as what the last heads began with (opening.go).
//
// # Bounds
//
// A peer can make a Conn hold 16 KiB of fields it has sent, per stream one window
// of body (Window) and one head (Limits.HeaderBytes), and what answers its PING
// and SETTINGS frames, up to mostControl. Frames that break the rules end the
// connection (the error of Feed) or, where only one stream is hurt, that stream.
package h2
