package exchange

import (
	"regexp"
	"time"

	"perigee/proxy/observe"
	"perigee/proxy/unit"
	"perigee/proxy/upstream"
)

// Route is what a request matched: an ordered list of filters per stage, an
// upstream or a local content, and timeouts. It is built with a snapshot and
// never changes.
type Route struct {
	Name string
	// Index is its place in the configuration.
	Index int
	// Steps are the filters that take part in a stage, in running order: the
	// response stages are reversed already.
	Steps [StageCount][]Filter
	// Outlet is where requests are sent on; without a Group the content is made
	// here.
	Outlet
	// Target chooses another outlet for each request; nil: Outlet is the one.
	Target *Target
	// Internal routes are reached by name, error pages and scripts only.
	Internal bool
	// IfModifiedSince is how the condition of that name is judged.
	IfModifiedSince ModifiedPolicy
	// DefaultType is the type of answers that name none; empty: none is sent.
	DefaultType string
	// ErrorPages are the answers to statuses that are errors.
	ErrorPages map[int]ErrorPage
	// BodyLimit bounds a request's body in bytes; 0: no bound.
	BodyLimit int64
	// BodyBuffer is the longest body that is read into memory.
	BodyBuffer int64
	// DocumentRoot is what $document_root says.
	DocumentRoot string
	Metrics      *observe.RouteMetrics
	// Adjoins tells whether the access stage begins with the filter that the rewrite
	// stage ends with.
	Adjoins bool
	// Edits tells whether any filter may change the body on its way, so that
	// a Content-Length from the upstream cannot be promised.
	EditsBody bool
}

// Outlet is an upstream with what a route says of sending on to it.
type Outlet struct {
	// Group is the upstream.
	Group *upstream.Group
	// Endpoints is how many endpoints Group has.
	Endpoints int
	// Balancer runs before each attempt at Group and may fill Exchange.Peer;
	// nil: Group chooses.
	Balancer Filter
	Proxy    Proxy
}

// Target is an address that is evaluated per request.
type Target struct {
	// Text is scheme://authority, with a path and query or without.
	Text unit.Template
	// Named are the outlets of authorities that are names of upstreams. All other
	// authorities are addresses, reached by the route's own outlet.
	Named map[string]*Outlet
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
	// RetryWithin is how long after the first attempt another may begin; 0: no
	// bound. RetryAny repeats requests of every method.
	RetryWithin time.Duration
	RetryAny    bool
	Timeouts    upstream.Timeouts
	// Intercept gives statuses of the upstream the route's error pages.
	Intercept bool
	// PassForwarded sends the client's forwarding fields on and adds none.
	PassForwarded bool
	// Close asks endpoints to close behind each answer.
	Close bool
	// Buffering passes an answer on in pieces of BufferPiece bytes at least.
	Buffering bool
	// Path, if not empty, is sent on in the place of what one of Replaces matched,
	// exact paths and prefixes.
	Path     string
	Replaces []unit.Pattern
	// Hide are fields of answers that are not passed on; Redirects say what
	// becomes of addresses in those that are.
	Hide      []string
	Redirects []Redirect
	// SetHeaders are laid over the request; an empty template removes.
	SetHeaders []HeaderTemplate
}

// BufferPiece is the least that is passed on of a buffered answer but its end.
const BufferPiece = 4 << 10

// Redirect replaces an address, or its beginning, that an endpoint sends a client
// to.
type Redirect struct {
	From  unit.Template  // a beginning
	Match *regexp.Regexp // if not nil, instead of From
	To    unit.Template
}

// HeaderTemplate is a field whose value is evaluated per request.
type HeaderTemplate struct {
	Name  string
	Value unit.Template
}

// ErrorPage is what a client gets for a status: the answer of a path that is
// matched again, of a named route, or a redirect.
type ErrorPage struct {
	Path, Redirect unit.Template
	Route          string
	// Status is what the client is told; 0: the status that the page is for,
	// OwnStatus: that of the page itself.
	Status int
}

// OwnStatus leaves an error page the status it answers with.
const OwnStatus = -1

// HostPolicy says which Host an upstream sees.
type HostPolicy uint8

// The policies.
const (
	HostPass     HostPolicy = iota // the client's
	HostEndpoint                   // the endpoint's address
	HostTemplate                   // a text of its own
	HostTarget                     // the authority of the route's Target
)

// RetryOn is a set of outcomes after which another endpoint is tried.
type RetryOn uint16

// The outcomes, as nginx's proxy_next_upstream names them.
const (
	RetryConnect RetryOn = 1 << iota // no connection could be made
	RetryTimeout                     // connected, no answer in time
	RetryBroken                      // connection broke or answer was no HTTP
	Retry403
	Retry404
	Retry429
	Retry500
	Retry502
	Retry503
	Retry504
)

// OfStatus returns the flag for a response status, 0 if it is never retried.
func OfStatus(status int) RetryOn {
	switch status {
	case 403:
		return Retry403
	case 404:
		return Retry404
	case 429:
		return Retry429
	case 500:
		return Retry500
	case 502:
		return Retry502
	case 503:
		return Retry503
	case 504:
		return Retry504
	}
	return 0
}
