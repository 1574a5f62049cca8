package nginxconf

import (
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// listener is an address with what TLS servers behind it say.
type listener struct {
	address       string
	tls           bool
	certs         []pair // certificate and key
	clientCA, min string
	clientHello   *lua
	certificate   *lua
	servers       []*server
	defaultServer *server
}

// server is a server block with the addresses it is reached by.
type server struct {
	d         *directive
	addresses []string
	hosts     []string
}

// servers reads the listen directives of all servers, so that each address
// knows its default server before any route is made.
func (m *importer) servers(list []*directive, top *directive) []*server {
	var all []*server
	for _, d := range list {
		s := &server{d: d}
		found := false
		for _, child := range d.block {
			switch child.name {
			case "listen":
				found = true
				m.listen(child, s)
			case "server_name":
				s.hosts = append(s.hosts, hosts(child.args)...)
			}
		}
		if !found {
			m.listen(&directive{name: "listen", args: []string{"80"}, file: d.file, line: d.line}, s)
		}
		all = append(all, s)
	}
	for _, l := range m.out.listeners {
		m.secure(l, l.defaultServer, top)
		for _, s := range l.servers {
			if s != l.defaultServer {
				m.secure(l, s, top)
			}
		}
	}
	return all
}

// listener finds an address, or makes it.
func (o *output) listener(address string) *listener {
	for _, l := range o.listeners {
		if l.address == address {
			return l
		}
	}
	l := &listener{address: address}
	o.listeners = append(o.listeners, l)
	return l
}

// listen carries one listen directive over.
func (m *importer) listen(d *directive, s *server) {
	address := d.arg(0)
	if !strings.HasPrefix(address, "unix:") {
		if _, err := strconv.Atoi(address); err == nil {
			address = ":" + address
		}
		address = strings.TrimPrefix(address, "*")
		if i := strings.LastIndexByte(address, ':'); i < 0 || strings.HasSuffix(address, "]") {
			address += ":80"
		}
	}
	l := m.out.listener(address)
	for _, option := range d.options() {
		key, _, _ := strings.Cut(option, "=")
		switch key {
		case "ssl":
			l.tls = true
		case "default_server", "default":
			l.defaultServer = s
		case "reuseport", "deferred", "backlog", "rcvbuf", "sndbuf", "so_keepalive", "fastopen", "bind", "setfib", "ipv6only":
		default:
			m.leave(d, "option %q has no equivalent yet", option)
		}
	}
	if l.defaultServer == nil {
		l.defaultServer = s
	}
	if !slices.Contains(s.addresses, address) {
		s.addresses = append(s.addresses, address)
		l.servers = append(l.servers, s)
	}
}

// inServer finds the last directive of a name in a server, or in the http block
// around it.
func inServer(s *server, top *directive, name string) *directive {
	for _, block := range [][]*directive{s.d.block, top.block} {
		for i := len(block) - 1; i >= 0; i-- {
			if block[i].name == name {
				return block[i]
			}
		}
	}
	return nil
}

// secure notes what a server says of TLS. Certificates of all servers count;
// of the rest what the first says.
func (m *importer) secure(l *listener, s *server, top *directive) {
	if !l.tls {
		return
	}
	cert, key := inServer(s, top, "ssl_certificate"), inServer(s, top, "ssl_certificate_key")
	if cert != nil && key != nil {
		p := pair{m.certFile(cert.arg(0)), m.certFile(key.arg(0))}
		if !slices.Contains(l.certs, p) {
			l.certs = append(l.certs, p)
		}
	}
	if d := inServer(s, top, "ssl_verify_client"); d != nil && d.arg(0) != "off" {
		ca := inServer(s, top, "ssl_client_certificate")
		if d.arg(0) != "on" || ca == nil || s != l.defaultServer && l.clientCA != m.certFile(ca.arg(0)) {
			m.leave(d, "all clients of an address must show a certificate that its default server's ssl_client_certificate has signed, or none is asked")
		} else {
			l.clientCA = m.certFile(ca.arg(0))
		}
	}
	if d := inServer(s, top, "ssl_protocols"); d != nil && len(d.args) == 1 && d.args[0] == "TLSv1.3" && s == l.defaultServer {
		l.min = "1.3"
	}
	for _, child := range s.d.block {
		if name, found := strings.CutPrefix(strings.TrimSuffix(strings.TrimSuffix(child.name, "_block"), "_file"), "ssl_"); found {
			switch name {
			case "certificate_by_lua":
				m.handshake(child, &l.certificate)
			case "client_hello_by_lua":
				m.handshake(child, &l.clientHello)
			}
		}
	}
}

// handshake carries a script of handshakes over: an address has one of each.
func (m *importer) handshake(d *directive, at **lua) {
	script := m.source(d)
	switch {
	case script == nil:
	case *at == nil:
		*at = script
	case **at != *script:
		m.leave(d, "an address has one such script; that of the first server stays")
	}
}

// certFile is a file's path: nginx's start at the folder of the configuration.
func (m *importer) certFile(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(m.conf, path)
	}
	return escape(path)
}

// tlsDirective tells whether secure has looked at a directive of a server, or
// perigee decides its matter itself.
func tlsDirective(name string) bool {
	switch strings.TrimSuffix(strings.TrimSuffix(name, "_block"), "_file") {
	case "ssl_certificate", "ssl_certificate_key", "ssl_verify_client", "ssl_client_certificate", "ssl_protocols",
		"ssl_certificate_by_lua", "ssl_client_hello_by_lua", "ssl_session_cache", "ssl_session_timeout", "ssl_buffer_size",
		"ssl_prefer_server_ciphers":
		return true
	}
	return false
}

// view is a server as some of its addresses see it: alone, or by its names.
type view struct {
	hosts, listeners []string
	port             string // of all its addresses, if they have one in common
}

// port is the port of those addresses that have one; "" when they differ.
func port(addresses []string) (port string) {
	for _, address := range addresses {
		if strings.HasPrefix(address, "unix:") {
			continue
		}
		_, this, err := net.SplitHostPort(address)
		if err != nil || port != "" && this != port {
			return ""
		}
		port = this
	}
	return port
}

// views splits a server by whether it is the default of an address.
func (m *importer) views(s *server) []view {
	var first, named []string
	for _, address := range s.addresses {
		if m.out.listener(address).defaultServer == s {
			first = append(first, address)
		} else {
			named = append(named, address)
		}
	}
	var list []view
	if len(first) > 0 {
		list = append(list, view{listeners: m.tied(first), port: port(first)})
	}
	if len(named) > 0 && len(s.hosts) > 0 {
		list = append(list, view{hosts: s.hosts, listeners: m.tied(named), port: port(named)})
	}
	return list
}

// tied are the addresses that routes must name; none where all are meant.
func (m *importer) tied(addresses []string) []string {
	if len(addresses) == len(m.out.listeners) {
		return nil
	}
	return addresses
}

func (l *listener) yaml() *yaml.Node {
	m := newMapping()
	m.text("address", l.address)
	if !l.tls {
		return m.node
	}
	t, certs := newMapping(), &yaml.Node{Kind: yaml.SequenceNode}
	for _, c := range l.certs {
		one := newMapping()
		one.node.Style = yaml.FlowStyle
		one.text("cert", c.name)
		one.text("key", c.value)
		certs.Content = append(certs.Content, one.node)
	}
	t.add("certificates", certs)
	t.text("client_ca", l.clientCA)
	t.text("min_version", l.min)
	scripts := newMapping()
	scripts.script("client_hello", l.clientHello)
	scripts.script("certificate", l.certificate)
	t.add("lua", scripts.node)
	m.add("tls", t.node)
	return m.node
}
