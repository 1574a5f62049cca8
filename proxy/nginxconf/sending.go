package nginxconf

import (
	"net"
	"slices"
	"strings"
)

// sending is what a block and those around it say of requests that are sent on.
type sending struct {
	headers   []pair // proxy_set_header
	timeouts  []pair // of route.timeouts
	flush     bool   // proxy_buffering off
	catch     bool   // proxy_intercept_errors
	hide      []string
	redirects []redirect // proxy_redirect
	ssl       peerTLS
	retry     retry
	chosen    bool // there is one

	// These are what told makes of headers.
	host  string
	close bool
	path  string // proxy_pass's
}

// sending carries over a directive about requests that are sent on. False: it is
// about something else.
func (m *importer) sending(d *directive, s *scope) bool {
	to := &s.sending
	switch d.name {
	case "proxy_set_header":
		m.inherit(d, &to.headers, s)
		if name := strings.ToLower(d.arg(0)); (name == "connection" || name == "upgrade") && !ours(name, d.arg(1)) {
			m.leave(d, "%s is written by perigee itself, upgrades included", d.arg(0))
		}
	case "proxy_connect_timeout", "proxy_send_timeout", "proxy_read_timeout":
		m.proxyTimeout(d, to)
	case "proxy_redirect":
		m.redirects(d, s)
	case "proxy_hide_header":
		if s.own != nil && !s.own[d.name] {
			to.hide, s.own[d.name] = nil, true
		}
		to.hide = append(to.hide[:len(to.hide):len(to.hide)], d.arg(0))
	case "proxy_pass_header": // all are, unless they are hidden
	case "proxy_http_version":
		if d.arg(0) != "1.1" {
			m.leave(d, "upstreams are spoken to in HTTP/1.1")
		}
	case "proxy_buffers", "proxy_buffer_size", "proxy_busy_buffers_size", "proxy_max_temp_file_size",
		"proxy_temp_file_write_size", "proxy_headers_hash_max_size", "proxy_headers_hash_bucket_size", "proxy_socket_keepalive":
		// how much is held, and where, is perigee's own business
	case "proxy_buffering":
		to.flush = d.arg(0) == "off"
	case "proxy_intercept_errors":
		to.catch = d.arg(0) == "on"
	default:
		return m.next(d, &to.retry) || m.peerTLS(d, &to.ssl)
	}
	return true
}

func (m *importer) proxyTimeout(d *directive, to *sending) {
	text, ok := duration(d.arg(0))
	if !ok || text == "0s" {
		m.leave(d, "%q is no time that can be waited", d.arg(0))
		return
	}
	keys := map[string][]string{
		"proxy_connect_timeout": {"connect"},
		"proxy_send_timeout":    {"send"},
		"proxy_read_timeout":    {"response", "read"},
	}
	for _, key := range keys[d.name] {
		to.timeouts = replace(to.timeouts, pair{key, text})
	}
}

// replace sets a name's value in a copy of the list.
func replace(list []pair, p pair) []pair {
	fresh := make([]pair, 0, len(list)+1)
	for _, old := range list {
		if old.name != p.name {
			fresh = append(fresh, old)
		}
	}
	return append(fresh, p)
}

// name fills in what the address of proxy_pass is called in texts.
func (to *sending) name(host, scheme string) {
	port := "80"
	if scheme == "https" {
		port = "443"
	}
	if _, given, err := net.SplitHostPort(host); err == nil {
		port = given
	}
	fill := strings.NewReplacer("$proxy_host", escape(host), "$proxy_port", port)
	to.headers, to.redirects = slices.Clone(to.headers), slices.Clone(to.redirects)
	for i := range to.headers {
		to.headers[i].value = fill.Replace(to.headers[i].value)
	}
	for i := range to.redirects {
		to.redirects[i].from, to.redirects[i].to = fill.Replace(to.redirects[i].from), fill.Replace(to.redirects[i].to)
	}
}

// ours tells whether perigee says the same of a connection to an upstream.
func ours(name, value string) bool {
	if name == "upgrade" {
		return value == "$http_upgrade"
	}
	switch strings.ToLower(value) {
	case "", "close", "upgrade", "$http_connection", "$connection_upgrade":
		return true
	}
	return false
}

// told sorts what the upstream is told: some fields are settings here.
func (r *route) told() {
	to := &r.sending
	var plain []pair
	for _, h := range to.headers {
		switch name := strings.ToLower(h.name); {
		case name == "host":
			to.host = h.value
		case name == "connection" && strings.EqualFold(h.value, "close"):
			to.close = true
		case name == "connection" || name == "upgrade":
			// perigee's own business
		default:
			plain = append(plain, h)
		}
	}
	to.headers = plain
}

// yaml adds the proxy block and the timeouts. nginx adds no field of its own.
func (to *sending) yaml(m mapping, target string) {
	told := newMapping()
	told.text("target", target)
	told.text("path", to.path)
	told.text("host", to.host)
	told.pairs("headers", to.headers, texts)
	told.plain("forwarded", "pass")
	if to.close {
		told.plain("close", "true")
	}
	if !to.flush {
		told.plain("buffering", "true")
	}
	if len(to.hide) > 0 {
		told.add("hide", flow(to.hide))
	}
	told.redirects(to.redirects)
	if to.catch {
		told.plain("intercept_errors", "true")
	}
	if target != "" && !strings.HasPrefix(target, "http:") {
		told.add("tls", to.ssl.yaml())
	}
	m.add("proxy", told.node)
	m.pairs("timeouts", to.timeouts, plains)
}
