package nginxconf

import "strings"

// sending is what a block and those around it say of requests that are sent on.
type sending struct {
	headers  []pair // proxy_set_header
	timeouts []pair // of route.timeouts
	flush    bool   // proxy_buffering off
	catch    bool   // proxy_intercept_errors

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
	case "proxy_buffering":
		to.flush = d.arg(0) == "off"
	case "proxy_intercept_errors":
		to.catch = d.arg(0) == "on"
	default:
		return false
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
	if to.catch {
		told.plain("intercept_errors", "true")
	}
	if target != "" && !strings.HasPrefix(target, "http:") { // nginx does not verify unless told so
		told.pairs("tls", []pair{{"verify", "false"}}, plains)
	}
	m.add("proxy", told.node)
	m.pairs("timeouts", to.timeouts, plains)
}
