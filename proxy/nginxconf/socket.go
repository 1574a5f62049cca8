package nginxconf

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"perigee/proxy/script"
)

// sockets is what a block says of ngx.socket: keys of lua.socket and lua.ssl.
// In the http block it is for all scripts, elsewhere for a route's.
type sockets struct{ socket, ssl []pair }

// with replaces or adds a key; blocks inside share the old list.
func with(list []pair, key, value string) []pair {
	fresh := make([]pair, 0, len(list)+1)
	for _, p := range list {
		if p.name != key {
			fresh = append(fresh, p)
		}
	}
	return append(fresh, pair{key, value})
}

var socketKeys = map[string]string{
	"lua_socket_connect_timeout": "connect_timeout", "lua_socket_send_timeout": "send_timeout",
	"lua_socket_read_timeout": "read_timeout", "lua_socket_keepalive_timeout": "keepalive",
	"lua_socket_pool_size": "pool_size", "lua_socket_buffer_size": "buffer_size",
	"lua_socket_log_errors": "log_errors", "resolver": "resolver", "resolver_timeout": "resolver_timeout",
}

var sslKeys = map[string]string{
	"lua_ssl_trusted_certificate": "trusted_certificate", "lua_ssl_verify_depth": "verify_depth",
	"lua_ssl_crl": "crl", "lua_ssl_protocols": "protocols", "lua_ssl_ciphers": "ciphers",
}

// sockets carries a directive about sockets over; false: it is not one.
func (m *importer) sockets(d *directive, s *sockets) bool {
	if d.name == "lua_socket_send_lowat" {
		return true // how full the kernel may be is its own matter
	}
	if key, found := sslKeys[d.name]; found {
		if value := m.sslValue(d, key); value != "" {
			s.ssl = with(s.ssl, key, value)
		}
		return true
	}
	key, found := socketKeys[d.name]
	if !found {
		return false
	}
	if value := m.socketValue(d, key); value != "" {
		s.socket = with(s.socket, key, value)
	}
	return true
}

// socketValue is the directive's argument as the key takes it; empty: it was
// left out.
func (m *importer) socketValue(d *directive, key string) string {
	arg := d.arg(0)
	switch key {
	case "log_errors":
		return strconv.FormatBool(arg == "on")
	case "pool_size":
		if n, err := strconv.Atoi(arg); err == nil && n > 0 {
			return arg
		}
		m.leave(d, "%q is no number of connections", arg)
	case "buffer_size":
		if text, ok := size(arg); ok && text != "0" {
			return text
		}
		m.leave(d, "%q is no size", arg)
	case "resolver":
		return m.resolver(d)
	default:
		if text, ok := duration(arg); ok && (text != "0s" || key == "keepalive") {
			return text
		}
		m.leave(d, "%q is no time that can be waited", arg)
	}
	return ""
}

// unresolved says that scripts' sockets find no names, as in nginx where no
// resolver is given: a script that tries is told so there.
func (m *importer) unresolved() {
	if !m.resolves && m.out.runsLua() {
		m.out.sockets.socket = with(m.out.sockets.socket, "resolver", "none")
	}
}

func (o *output) runsLua() bool {
	return o.init != nil || o.initWorker != nil || o.exitWorker != nil ||
		slices.ContainsFunc(o.routes, func(r route) bool { return len(r.lua)+len(r.computed) > 0 }) ||
		slices.ContainsFunc(o.upstreams, func(u upstream) bool { return u.balancer != nil })
}

// resolver is the servers of a resolver directive.
func (m *importer) resolver(d *directive) string {
	m.resolves = true
	var list []string
	for _, arg := range d.args {
		_, err := netip.ParseAddrPort(arg)
		if err != nil {
			_, err = netip.ParseAddr(strings.Trim(arg, "[]"))
		}
		switch {
		case err == nil:
			list = append(list, arg)
		case strings.Contains(arg, "="):
			m.leave(d, "option %q has no equivalent", arg)
		default:
			m.leave(d, "%q is no address: servers are named by IP", arg)
		}
	}
	return strings.Join(list, " ")
}

func (m *importer) sslValue(d *directive, key string) string {
	switch key {
	case "verify_depth":
		if _, err := strconv.ParseUint(d.arg(0), 10, 6); err == nil {
			return d.arg(0)
		}
		m.leave(d, "%q is no number of certificates", d.arg(0))
		return ""
	case "protocols":
		return m.known(d, d.args, script.KnownProtocol)
	case "ciphers":
		if d.arg(0) == "DEFAULT" {
			return ""
		}
		return m.known(d, strings.Split(d.arg(0), ":"), script.KnownCipher)
	}
	path := d.arg(0)
	if !filepath.IsAbs(path) {
		path = filepath.Join(m.conf, path)
	}
	return escape(path)
}

// known are the names that perigee knows too; the others are left out.
func (m *importer) known(d *directive, names []string, known func(string) bool) string {
	var list []string
	for _, name := range names {
		if known(name) {
			list = append(list, name)
		} else {
			m.leave(d, "%q is not known", name)
		}
	}
	return strings.Join(list, " ")
}

// sockets writes the keys socket and ssl of a lua block.
func (m mapping) sockets(s sockets) {
	m.pairs("socket", s.socket, func(inner mapping, p pair) {
		if p.name == "resolver" {
			inner.text(p.name, p.value)
			return
		}
		inner.plain(p.name, p.value)
	})
	m.pairs("ssl", s.ssl, func(inner mapping, p pair) {
		switch p.name {
		case "protocols", "ciphers":
			list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
			for _, word := range strings.Fields(p.value) {
				list.Content = append(list.Content, scalar(word))
			}
			inner.add(p.name, list)
		case "verify_depth":
			inner.plain(p.name, p.value)
		default:
			inner.text(p.name, p.value)
		}
	})
}
