package observe

import (
	"net/netip"
	"time"
)

// Abort says why an exchange ended before its response was complete.
type Abort uint8

// The reasons for which an exchange ends early. Their names (Abort.String) are
// the values in access lines.
const (
	// AbortNone: the exchange ended as it should.
	AbortNone Abort = iota
	// AbortClientGone: the client closed before its answer was complete; the
	// status is 499 unless a response head had left already.
	AbortClientGone
	// AbortClientTimeout: the client was too slow to send its request or to
	// take its answer.
	AbortClientTimeout
	// AbortClientProtocol: the client broke the framing of its body after the
	// exchange had started.
	AbortClientProtocol
	// AbortUpstream: the upstream's response broke off after its head.
	AbortUpstream
	// AbortUpstreamTimeout: the upstream's response stalled after its head.
	AbortUpstreamTimeout
	// AbortInternal: a script or the gateway itself failed after the head.
	AbortInternal
	// AbortShutdown: the drain deadline passed while the exchange was running.
	AbortShutdown
	abortCount
)

var abortNames = [abortCount]string{
	"", "client_gone", "client_timeout", "client_protocol",
	"upstream", "upstream_timeout", "internal", "shutdown",
}

// String returns the reason's name, "" for AbortNone.
func (a Abort) String() string {
	if a >= abortCount {
		return "unknown"
	}
	return abortNames[a]
}

// MaxAttempts is how many attempts at the upstream a record keeps.
const MaxAttempts = 4

// Attempt is one try at an endpoint.
type Attempt struct {
	// Endpoint is the address as configured or resolved, "127.0.0.1:9001". It
	// is not borrowed: it belongs to the endpoint.
	Endpoint string
	// Status of the endpoint's answer; 502 when it could not be reached or
	// broke off, 504 when it took too long (as nginx's $upstream_status), 0
	// while there is none.
	Status int
	// Connect, Header and Response are nginx's $upstream_connect_time,
	// $upstream_header_time and $upstream_response_time: all measured from the
	// attempt's start. Connect is 0 on a kept-alive connection. A negative value
	// means that the attempt did not get that far (nginx's "-").
	Connect  time.Duration
	Header   time.Duration
	Response time.Duration
	// BytesIn and BytesOut are what the attempt received from and sent to the
	// endpoint, heads and chunk framing included.
	BytesIn  int64
	BytesOut int64
}

// Record is everything known of an exchange that metrics, logs and traces read.
// It is embedded by value in the pooled exchange and filled as the exchange
// moves; finish reads it. It owns nothing: its byte slices are borrowed from the
// exchange and are valid until finish returns.
type Record struct {
	// Start is when the first byte of the request was there; it carries the
	// monotonic clock.
	Start time.Time
	// Duration is from Start to the last byte sent, nginx's $request_time.
	Duration time.Duration
	// TTFB is from Start to the first byte of the response head; 0 when none left.
	TTFB time.Duration

	// ID is the request id: 32 lower-case hexadecimal digits, nginx's
	// $request_id; all zero bytes when none was made.
	ID [32]byte
	// TraceID and SpanID are the exchange's place in a trace; all zero: none.
	TraceID [16]byte
	SpanID  [8]byte
	// Connection and Serial are nginx's $connection and $connection_requests:
	// the connection's number in this process and the request's number on it,
	// counted from 1.
	Connection uint64
	Serial     uint32

	Client   netip.AddrPort // the client after trusted_proxies were applied
	Peer     netip.AddrPort // the other end of the connection
	Listener string         // the listener's configured address
	Route    string         // the matched route's name, "" when none matched
	Consumer string         // who auth said it is, "" when nobody asked
	// AuthMethod is what was shown for it, AuthOutcome what auth made of it.
	AuthMethod  AuthMethod
	AuthOutcome AuthOutcome

	// Limit is the limit that refused, delayed or, in a dry run, would have refused
	// the exchange, "" for none; LimitOutcome which of these.
	Limit        string
	LimitOutcome uint8

	Scheme   string // "http" or "https"
	Protocol string // "HTTP/1.1"
	Method   []byte
	Host     []byte // the request's authority, as sent
	Path     []byte // the request target as sent, without its query
	Query    []byte // after the "?", without it
	// Subrequest is the path of a subrequest, whose other fields are of the
	// request that it is made for; empty in records of requests.
	Subrequest []byte

	UserAgent []byte
	Referer   []byte

	// Status is what the client was told; 499 when it left before.
	Status int
	// BytesIn and BytesOut are the exchange's bytes on the client's connection,
	// heads and framing included, nginx's $request_length and $bytes_sent. With
	// TLS they are counted inside it.
	BytesIn  int64
	BytesOut int64
	// RequestBodyBytes and ResponseBodyBytes are contents without framing.
	RequestBodyBytes  int64
	ResponseBodyBytes int64

	// Upstream is the upstream's name, "" when the answer was local.
	Upstream string
	// Attempts holds the tries at endpoints; use AddAttempt and Tries.
	Attempts [MaxAttempts]Attempt
	// Tried counts the attempts made; it can be above MaxAttempts.
	Tried int

	Abort Abort
	// ErrorID is the id that the client was given with a 500 and that the
	// process log has; "" when there was no error.
	ErrorID string

	// Shard spreads counters over cache lines. It is taken once from
	// Metrics.NextShard when the exchange is built and survives Reset: exchanges
	// are pooled per processor, so each processor stays with few shards.
	Shard uint32
}

// Reset makes r ready for the next exchange and lets go of everything borrowed.
// Shard stays.
func (r *Record) Reset() {
	*r = Record{Shard: r.Shard}
}

// AddAttempt starts the next attempt and returns it for filling; the pointer is
// valid until the next AddAttempt or Reset. Beyond MaxAttempts the last one is
// overwritten: the first three tell how it began, the last how it ended.
func (r *Record) AddAttempt(endpoint string) *Attempt {
	a := &r.Attempts[min(r.Tried, MaxAttempts-1)]
	*a = Attempt{Endpoint: endpoint, Connect: -1, Header: -1, Response: -1}
	r.Tried++
	return a
}

// Tries returns the attempts that were kept, in order.
func (r *Record) Tries() []Attempt {
	return r.Attempts[:min(r.Tried, MaxAttempts)]
}

// Last returns the last attempt, nil when there was none.
func (r *Record) Last() *Attempt {
	if r.Tried == 0 {
		return nil
	}
	return &r.Attempts[min(r.Tried, MaxAttempts)-1]
}

// Traced tells whether the exchange has a place in a trace.
func (r *Record) Traced() bool { return r.SpanID != [8]byte{} }

// Retries returns how many attempts followed the first.
func (r *Record) Retries() int {
	return max(r.Tried-1, 0)
}
