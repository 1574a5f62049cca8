// Package wire is the strict reading of HTTP/1.1 message heads and chunked
// bodies that every driver shares, for both directions: requests from clients
// and responses from upstreams.
//
// It exists because a gateway must never disagree with its neighbours about
// where a message ends. A lenient parser in front of another lenient parser is
// how request smuggling works, so whatever has two readings is refused here
// before any other code, fasthttp's parsers included, sees a byte of it.
//
//	bytes from a connection (the caller's buffer; nothing is copied)
//	  |
//	  |  ScanRequest / ScanResponse          one head: n bytes, or more needed
//	  v
//	+-------------------------------------+
//	| start line | field | field | ... CRLF|  RequestHead / ResponseHead:
//	+-------------------------------------+  spans into the buffer, a FieldID
//	  |                                       per field, the body's framing
//	  |  Head.Body says how the body ends
//	  +-- BodyNone         next head follows at once
//	  +-- BodyLength       Head.ContentLength bytes
//	  +-- BodyChunked      Chunks.Next, piece by piece; trailers collected
//	  +-- BodyUntilClose   responses only
//
// # What is accepted
//
// Lines end with CRLF; a bare LF or a bare CR is an error (RFC 9112 §2.2 lets a
// recipient accept a bare LF; we use the liberty not to). A request may be
// preceded by at most 4 empty CRLF lines: RFC 9112 §2.2 asks for one, nginx
// takes any number. The request line is `method SP target SP HTTP/1.x`, one
// space each. Target bytes are visible ASCII without '#', and bytes from 0x80
// up, which nginx passes on as well. Field names are tokens, directly followed
// by a colon; values hold HTAB, SP, visible ASCII and bytes from 0x80 up.
// Folded lines are refused. The only transfer coding is chunked.
//
// What each refusal looks like from outside is in testdata: some 350 hostile
// conversations with their one outcome, which end-to-end tests replay too.
//
// # Cost and ownership
//
// Scanning is linear in the bytes that arrive, however small the pieces: a head
// keeps its place between calls. Nothing is allocated once a head's Fields
// slice has grown to the usual number of fields. Errors are preallocated. The
// package does no I/O, keeps no reference to a caller's buffer after a call
// returns (spans are offsets), and imports nothing of the project.
package wire
