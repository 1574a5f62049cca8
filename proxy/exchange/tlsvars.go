package exchange

import (
	"crypto/tls"
	"slices"
)

// TLSVariables are nginx's variables of a client's TLS handshake that are known
// here; they are empty without TLS.
var TLSVariables = []string{
	"ssl_protocol", "ssl_cipher", "ssl_server_name",
	"ssl_client_verify", "ssl_client_s_dn", "ssl_client_i_dn",
}

var tlsVersions = map[uint16]string{tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3"}

// Handshake is what a connection remembers of its TLS handshake: scripts are given
// it with every request, so it is written once.
type Handshake struct {
	values [6]string // of TLSVariables
	// Protocol was chosen by ALPN; "": none was.
	Protocol string
}

// NewHandshake writes down what is known of a handshake. Names of certificates
// are written as RFC 2253 says, as nginx does.
func NewHandshake(s *tls.ConnectionState) *Handshake {
	h := &Handshake{Protocol: s.NegotiatedProtocol}
	h.values = [6]string{tlsVersions[s.Version], tls.CipherSuiteName(s.CipherSuite), s.ServerName, "NONE"}
	if len(s.VerifiedChains) > 0 {
		h.values[3] = "SUCCESS"
	}
	if len(s.PeerCertificates) > 0 {
		h.values[4] = s.PeerCertificates[0].Subject.String()
		h.values[5] = s.PeerCertificates[0].Issuer.String()
	}
	return h
}

// TLSVariable is the value of one of TLSVariables.
func (c *Conn) TLSVariable(name string) string {
	i := slices.Index(TLSVariables, name)
	if c.Handshake == nil || i < 0 {
		return ""
	}
	return c.Handshake.values[i]
}
