package exchange

import "crypto/tls"

// TLSVariables are nginx's variables of a client's TLS handshake that are known
// here; they are empty without TLS.
var TLSVariables = []string{
	"ssl_protocol", "ssl_cipher", "ssl_server_name",
	"ssl_client_verify", "ssl_client_s_dn", "ssl_client_i_dn",
}

var tlsVersions = map[uint16]string{tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3"}

// TLSVariable is the value of one of TLSVariables. Names of certificates
// are written as RFC 2253 says, as nginx does.
func (c *Conn) TLSVariable(name string) string {
	s := c.Handshake
	if s == nil {
		return ""
	}
	switch name {
	case "ssl_protocol":
		return tlsVersions[s.Version]
	case "ssl_cipher":
		return tls.CipherSuiteName(s.CipherSuite)
	case "ssl_server_name":
		return s.ServerName
	case "ssl_client_verify":
		if len(s.VerifiedChains) > 0 {
			return "SUCCESS"
		}
		return "NONE"
	}
	if len(s.PeerCertificates) == 0 {
		return ""
	}
	if name == "ssl_client_i_dn" {
		return s.PeerCertificates[0].Issuer.String()
	}
	return s.PeerCertificates[0].Subject.String()
}
