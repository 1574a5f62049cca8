package exchange

import (
	"perigee/proxy/observe"
	"perigee/proxy/unit"
	"perigee/proxy/upstream"
)

// Route is what a request matched: an ordered list of filters per stage, an
// upstream or a local content, and timeouts. It is built with a snapshot and
// never changes.
type Route struct {
	Name string
	// Steps are the filters that take part in a stage, in running order: the
	// response stages are reversed already.
	Steps [StageCount][]Filter
	// Group is the upstream; nil: the content is made here.
	Group *upstream.Group
	// Endpoints is how many endpoints Group has.
	Endpoints int
	// Internal routes are reached by name, error pages and scripts only.
	Internal bool
	Proxy    Proxy
	// IfModifiedSince is how the condition of that name is judged.
	IfModifiedSince ModifiedPolicy
	// BodyLimit bounds a request's body in bytes; 0: no bound.
	BodyLimit int64
	Metrics   *observe.RouteMetrics
	// Edits tells whether any filter may change the body on its way, so that
	// a Content-Length from the upstream cannot be promised.
	EditsBody bool
}

// Proxy says how a request is sent on.
type Proxy struct {
	// Host is what the Host field becomes.
	Host HostPolicy
	// HostValue is the text of HostTemplate.
	HostValue unit.Template
	// Via is the received-by name added to Via (RFC 9110 §7.6.3); empty: none.
	Via string
	// Attempts bounds how many endpoints one exchange may try.
	Attempts int
	Retry    RetryOn
	Timeouts upstream.Timeouts
	// SetHeaders are laid over the request; an empty template removes.
	SetHeaders []HeaderTemplate
}

// HeaderTemplate is a field whose value is evaluated per request.
type HeaderTemplate struct {
	Name  string
	Value unit.Template
}

// HostPolicy says which Host an upstream sees.
type HostPolicy uint8

// The policies.
const (
	HostPass     HostPolicy = iota // the client's
	HostEndpoint                   // the endpoint's address
	HostTemplate                   // a text of its own
)

// RetryOn is a set of outcomes after which another endpoint is tried.
type RetryOn uint16

// The outcomes, as nginx's proxy_next_upstream names them.
const (
	RetryConnect RetryOn = 1 << iota // no connection could be made
	RetryTimeout                     // connected, no answer in time
	RetryBroken                      // connection broke or answer was no HTTP
	Retry502
	Retry503
	Retry504
)

// OfStatus returns the flag for a response status, 0 if it is never retried.
func OfStatus(status int) RetryOn {
	switch status {
	case 502:
		return Retry502
	case 503:
		return Retry503
	case 504:
		return Retry504
	}
	return 0
}
