package proxy

import (
	"bytes"
	"strconv"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/upstream"
)

// findOutlet sets where the request is sent on; false: an answer was made
// instead.
func (g *Gateway) findOutlet(ex *exchange.Exchange) bool {
	r := ex.Route
	if r.Group == nil {
		g.fail(ex, 404, "no_content")
		return false
	}
	ex.Outlet = &r.Outlet
	// What an outlet before it has left: an error page is sent on, too.
	ex.Peer, ex.Attempts, ex.FirstAttempt = exchange.Peer{}, 0, 0
	ex.Sent = ex.Sent[:0]
	ex.SendTarget(nil)
	if r.Target == nil {
		replacePath(ex, &r.Proxy)
		return true
	}
	ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], r.Target.Text)
	a, ok := splitAddress(ex.Scratch)
	if !ok {
		g.state.report(observe.LevelError, ex, "proxy.target became "+strconv.Quote(string(ex.Scratch))+", which is no http:// or https:// address")
		g.fail(ex, 500, "target")
		return false
	}
	ex.Authority = append(ex.Authority[:0], a.authority...)
	if len(a.uri) > 0 {
		if a.uri[0] != '/' {
			ex.Sent = append(ex.Sent, '/')
		}
		ex.Sent = appendSent(ex.Sent, a.uri)
	}
	if named := r.Target.Named[string(a.authority)]; named != nil {
		ex.Outlet = named
		return true
	}
	ex.Peer = exchange.Peer{Peer: upstream.Peer{Address: string(a.scheme) + string(a.authority)}, Fixed: true}
	return true
}

// replacePath makes what is sent on as the request's target where the route's
// path is another one there.
func replacePath(ex *exchange.Exchange, p *exchange.Proxy) {
	if p.Path == "" || ex.Place.Relocated {
		return
	}
	matched := 0
	for _, pattern := range p.Replaces {
		if len(pattern.Text) > matched && pattern.Match(ex.Path) {
			matched = len(pattern.Text)
		}
	}
	ex.Sent = exchange.AppendEscaped(append(ex.Sent, p.Path...), ex.Path[matched:])
	if len(ex.Query) > 0 {
		ex.Sent = appendSent(append(ex.Sent, '?'), ex.Query)
	}
}

// address is a text scheme://authority/path?query in its parts.
type address struct {
	scheme    []byte // with ://
	authority []byte
	uri       []byte // path and query, empty when there is none
}

// splitAddress reads an http:// or https:// address. What stands behind the
// authority is not looked at.
func splitAddress(text []byte) (a address, ok bool) {
	for _, scheme := range [...]string{"http://", "https://"} {
		if bytes.HasPrefix(text, []byte(scheme)) {
			a.scheme, a.authority = text[:len(scheme)], text[len(scheme):]
		}
	}
	if at := bytes.IndexAny(a.authority, "/?#"); at >= 0 {
		a.authority, a.uri = a.authority[:at], a.authority[at:]
	}
	for _, c := range a.authority {
		if c <= ' ' || c >= 0x7f || c == '@' || c == '\\' {
			return a, false
		}
	}
	return a, len(a.authority) > 0
}

// appendSent appends path and query for a request line, as they are but for the
// bytes that would end it.
func appendSent(dst, uri []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range uri {
		if c <= ' ' || c == 0x7f || c == '#' {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}
