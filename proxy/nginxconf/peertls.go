package nginxconf

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// peerTLS is how connections to an upstream are made and verified. nginx does
// not verify unless told so.
type peerTLS struct {
	verify              bool
	ca, name, cert, key string
}

// peerTLS carries proxy_ssl_* over. False: the directive is about something else.
func (m *importer) peerTLS(d *directive, t *peerTLS) bool {
	switch d.name {
	case "proxy_ssl_verify":
		t.verify = d.arg(0) == "on"
	case "proxy_ssl_trusted_certificate":
		t.ca = m.certFile(d.arg(0))
	case "proxy_ssl_certificate":
		t.cert = m.certFile(d.arg(0))
	case "proxy_ssl_certificate_key":
		t.key = m.certFile(d.arg(0))
	case "proxy_ssl_name":
		if strings.Contains(d.arg(0), "$") {
			m.leave(d, "the name that an upstream is asked for does not depend on requests")
			return true
		}
		t.name = d.arg(0)
	case "proxy_ssl_server_name", "proxy_ssl_session_reuse":
		// the name is always sent, sessions are always resumed
	default:
		return false
	}
	return true
}

// use makes t the upstream's, unless another route has said something else.
func (m *importer) useTLS(d *directive, name string, t peerTLS) {
	if !t.verify {
		t.ca = ""
	}
	for i := range m.out.upstreams {
		u := &m.out.upstreams[i]
		switch {
		case u.name != name:
		case u.peer == nil:
			u.peer = &t
		case *u.peer != t:
			m.leave(d, "connections to upstream %s are made as another location says", name)
		}
	}
}

// yaml is the tls block.
func (t *peerTLS) yaml() *yaml.Node {
	m := newMapping()
	if !t.verify {
		m.plain("verify", "false")
	}
	m.text("ca", t.ca)
	m.text("server_name", escape(t.name))
	m.text("cert", t.cert)
	m.text("key", t.key)
	if len(m.node.Content) == 0 { // as where nothing is said
		m.plain("verify", "true")
	}
	return m.node
}
