package nginxconf

import (
	"slices"
	"strconv"
	"strings"

	"perigee/proxy/unit"
)

// upstream carries an upstream block over.
func (m *importer) upstream(d *directive) {
	u := upstream{name: d.arg(0), host: d.arg(0)}
	for _, child := range d.block {
		switch child.name {
		case "server":
			if e, ok := m.endpoint(child); ok {
				u.endpoints = append(u.endpoints, e)
			}
		case "keepalive":
			u.idle = child.arg(0)
		case "keepalive_timeout":
			text, ok := duration(child.arg(0))
			if !ok || text == "0s" {
				m.leave(child, "%q is no time that a connection can be kept", child.arg(0))
				break
			}
			u.idleTime = text
		case "zone": // what workers share is shared here anyway
		case "balancer_by_lua", "balancer_by_lua_block", "balancer_by_lua_file":
			u.balancer = m.source(child)
		default:
			m.leave(child, "has no equivalent yet")
		}
	}
	if len(u.endpoints) == 0 {
		m.leave(d, "upstream %q has no server that is carried over", u.name)
		return
	}
	m.out.upstreams = append(m.out.upstreams, u)
}

func (m *importer) endpoint(d *directive) (endpoint, bool) {
	e := endpoint{address: d.arg(0)}
	if strings.HasPrefix(e.address, "unix:") {
		m.leave(d, "upstreams are reached over TCP")
		return e, false
	}
	for _, option := range d.options() {
		if weight, found := strings.CutPrefix(option, "weight="); found {
			e.weight = weight
		} else if option == "down" {
			e.weight = "0"
		} else if option != "max_fails=1" && option != "fail_timeout=10s" && option != "fail_timeout=10" { // as it is here
			m.leave(d, "option %q has no equivalent yet", option)
		}
	}
	return e, true
}

// proxy carries proxy_pass over into r: an upstream block's name, or host:port,
// of which an upstream is made; with variables it stays as it is.
func (m *importer) proxy(r *route, s scope, pattern string) {
	d := s.content
	target := constants(d.arg(0), &s)
	scheme, rest, found := strings.Cut(target, "://")
	host, uri := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		host, uri = rest[:i], rest[i:]
	}
	switch {
	case strings.HasPrefix(host, "unix:"):
		m.leave(d, "upstreams are reached over TCP")
		return
	case strings.Contains(target, "$"):
		text, err := template(target)
		if err != nil || !strings.HasPrefix(target, "$") && (!found || scheme != "http" && scheme != "https") {
			m.leave(d, "%q is no http:// or https:// address", target)
			return
		}
		r.target, r.sending = text, s.sending
		r.sending.redirects = slices.DeleteFunc(r.sending.redirects, func(one redirect) bool { return one == (redirect{}) })
		r.told()
		return
	case !found || scheme != "http" && scheme != "https":
		m.leave(d, "%q is no http:// or https:// address", target)
		return
	}
	r.sending = s.sending
	r.sending.address(pattern, target, uri)
	r.sending.name(host, scheme)
	if uri != "" && !sentPath(r, pattern, uri) {
		m.leave(d, "the path %q cannot replace the location's: it has a query or escapes, or the location is no path", uri)
		return
	}
	r.upstream = m.out.upstreamFor(host, scheme == "https")
	if scheme == "https" {
		m.useTLS(d, r.upstream, s.sending.ssl)
	}
	r.told()
}

// constants fills in what is the same for every request.
func constants(text string, s *scope) string {
	if s.port != "" {
		text = strings.ReplaceAll(text, "$server_port", s.port)
	}
	return text
}

// sentPath has uri sent on in the place of what the location matched.
func sentPath(r *route, pattern, uri string) bool {
	p, err := unit.ParsePattern(pattern)
	if err != nil || p.Regexp != nil || p.Text == "" || p.Text[0] != '/' || strings.HasPrefix(p.Text, "/@") || strings.ContainsAny(uri, "?#%") {
		return false
	}
	if uri != p.Text {
		r.sending.path = escape(uri)
	}
	return true
}

// upstreamFor returns the name of the upstream for proxy_pass's host, which it
// makes when no upstream block has that name.
func (o *output) upstreamFor(host string, tls bool) string {
	for i := range o.upstreams {
		if o.upstreams[i].name == host {
			o.upstreams[i].tls = o.upstreams[i].tls || tls
			return host
		}
	}
	name := strings.NewReplacer(":", "-", "[", "", "]", "").Replace(host)
	if name == "" || name[0] == '-' {
		name = "upstream" + strconv.Itoa(len(o.upstreams)+1) + name
	}
	for i := range o.upstreams {
		if o.upstreams[i].name == name {
			o.upstreams[i].tls = o.upstreams[i].tls || tls
			return name
		}
	}
	o.upstreams = append(o.upstreams, upstream{name: name, host: "endpoint", tls: tls, endpoints: []endpoint{{address: host}}})
	return name
}
