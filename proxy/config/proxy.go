package config

import (
	"fmt"

	"perigee/proxy/unit"
	"perigee/proxy/upstream"
)

// Proxy is a route's proxy block.
type Proxy struct {
	// Target is an address, evaluated per request, that serves the route instead
	// of an upstream: http:// or https://, then the name of an upstream or
	// host[:port], then nothing, or the path and query that are sent on instead
	// of the request's. Hosts are looked up when they are connected to; their
	// connections are kept, and timeouts have an upstream's defaults. Who writes
	// the variables chooses whom perigee talks to: keep clients from naming
	// hosts. nginx: proxy_pass with variables.
	Target unit.Template `yaml:"target,omitempty"`
	// Path is sent on in the place of what match.paths says, which is then prefixes
	// and exact paths only: paths: ["/api/"], path: "/" sends /api/x on as /x. A
	// path that a script or rewrite has set is sent on as it is. nginx: proxy_pass
	// with a path.
	Path string `yaml:"path,omitempty"`
	// TLS is for a target's https:// addresses that are no upstreams. Default:
	// verified against the system's authorities.
	TLS *upstream.TLSConfig `yaml:"tls,omitempty"`
	// Host replaces the upstream's host setting for this route: pass, endpoint
	// or a text with variables.
	Host unit.Template `yaml:"host,omitempty"`
	// Headers sets request headers for the upstream, after all scripts; an empty
	// value removes the header. nginx: proxy_set_header.
	Headers map[string]unit.Template `yaml:"headers,omitempty"`
	// Hide are fields of the upstream's answers that are not passed on; scripts do
	// not see them either. nginx: proxy_hide_header.
	Hide []string `yaml:"hide,omitempty"`
	// Redirects replace addresses in the Location and Refresh of the upstream's
	// answers, which clients could not reach: the first that fits counts. nginx:
	// proxy_redirect.
	Redirects []Redirect `yaml:"redirects,omitempty"`
	// InterceptErrors gives an upstream's answers of status 300 and more the
	// error pages that are configured for them. nginx: proxy_intercept_errors.
	InterceptErrors bool `yaml:"intercept_errors,omitempty"`
	// Forwarded says what becomes of X-Forwarded-For, -Proto and -Host, of
	// X-Forwarded-Port, X-Real-IP and Forwarded. own (default): perigee writes
	// the first three, and believes clients only behind trusted_proxies. pass:
	// what the client sent goes on unseen and nothing is added, as in nginx.
	Forwarded ForwardedPolicy `yaml:"forwarded,omitempty"`
	// Close asks endpoints to close the connection behind each answer
	// (Connection: close) and keeps none. nginx: proxy_set_header Connection
	// close.
	Close bool `yaml:"close,omitempty"`
	// Buffering passes an answer on in pieces of 4KiB, its end apart: few larger
	// writes instead of many small ones, for clients that can wait for them. What
	// an endpoint that falls silent leaves of a piece is lost. An answer with
	// X-Accel-Buffering: no is passed on as it comes. nginx: proxy_buffering.
	Buffering bool `yaml:"buffering,omitempty"`
	// Via is the name under which perigee adds itself to the Via header of
	// requests and responses (RFC 9110 section 7.6.3). Default empty: not added,
	// because nginx origins stop compressing for requests that carry Via.
	Via string `yaml:"via,omitempty"`
}

// Redirect is one entry of redirects: from or match, and to.
type Redirect struct {
	// From is the beginning of addresses, variables evaluated, that To replaces.
	From unit.Template `yaml:"from,omitempty"`
	// Match is an expression ("~ re" or "~* re") on whole addresses, whose captures
	// may stand in to.
	Match unit.ValuePattern `yaml:"match,omitempty"`
	// To is what replaces the beginning, or the whole address, variables evaluated.
	To unit.Template `yaml:"to,omitempty"`
}

// ForwardedPolicy says what becomes of the fields by which proxies tell for whom
// they speak.
type ForwardedPolicy string

// The policies.
const (
	ForwardedOwn  ForwardedPolicy = "own"
	ForwardedPass ForwardedPolicy = "pass"
)

// Values are the words that are accepted.
func (ForwardedPolicy) Values() []string {
	return []string{string(ForwardedOwn), string(ForwardedPass)}
}

// answers checks what becomes of the heads of an upstream's answers.
func (p *Proxy) answers() []unit.Problem {
	var problems []unit.Problem
	for i, name := range p.Hide {
		problems = append(problems, unit.CheckHeaderName(fmt.Sprintf("hide[%d]", i), name)...)
	}
	for i := range p.Redirects {
		r, path := &p.Redirects[i], fmt.Sprintf("redirects[%d]", i)
		if r.From.IsZero() == (r.Match.Regexp == nil) {
			problems = append(problems, unit.Problem{
				Path: path, Message: "a redirect has one of from and match", Hint: `write from: "http://..." or match: "~ re"`,
			})
		}
		problems = append(problems, unit.CheckHeaderValue(path+".to", r.To)...)
	}
	return problems
}
