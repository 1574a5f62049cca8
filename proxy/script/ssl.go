package script

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"perigee/luavm"
	"perigee/proxy/unit"
)

// SSL is how sslhandshake speaks TLS and whom it trusts; as Socket, for all
// scripts or for a route's own. What is not trusted matters only to scripts
// that ask for verification.
type SSL struct {
	// TrustedCertificate is a PEM file of the certificates that are trusted.
	// Default: the system's. nginx: lua_ssl_trusted_certificate.
	TrustedCertificate string `yaml:"trusted_certificate,omitempty" config:"path"`
	// VerifyDepth is how many certificates may stand between the peer's and a
	// trusted one. Default 1. nginx: lua_ssl_verify_depth.
	VerifyDepth *int `yaml:"verify_depth,omitempty"`
	// CRL is a PEM file of revocation lists, one of each issuer in a chain. nginx:
	// lua_ssl_crl.
	CRL string `yaml:"crl,omitempty" config:"path"`
	// Protocols are the versions that may be spoken: TLSv1, TLSv1.1, TLSv1.2,
	// TLSv1.3. Default TLSv1.2 and TLSv1.3. nginx: lua_ssl_protocols.
	Protocols []string `yaml:"protocols,omitempty"`
	// Ciphers are the suites of TLS 1.2 and older, by OpenSSL's names. Default:
	// those that are held to be safe. nginx: lua_ssl_ciphers.
	Ciphers []string `yaml:"ciphers,omitempty"`
}

var versions = map[string]uint16{
	"TLSv1": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11,
	"TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13,
}

// suites are OpenSSL's names of what crypto/tls can speak.
var suites = map[string]uint16{
	"AES128-SHA": tls.TLS_RSA_WITH_AES_128_CBC_SHA, "AES256-SHA": tls.TLS_RSA_WITH_AES_256_CBC_SHA,
	"AES128-SHA256": tls.TLS_RSA_WITH_AES_128_CBC_SHA256, "DES-CBC3-SHA": tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
	"AES128-GCM-SHA256": tls.TLS_RSA_WITH_AES_128_GCM_SHA256, "AES256-GCM-SHA384": tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-AES128-SHA": tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "ECDHE-RSA-AES256-SHA": tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	"ECDHE-ECDSA-AES128-SHA": tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "ECDHE-ECDSA-AES256-SHA": tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	"ECDHE-RSA-AES128-SHA256": tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, "ECDHE-ECDSA-AES128-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
	"ECDHE-RSA-AES128-GCM-SHA256": tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES256-GCM-SHA384": tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-CHACHA20-POLY1305": tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
}

// KnownCipher tells whether sockets can speak the suite of OpenSSL's name.
func KnownCipher(name string) bool { return suites[name] != 0 }

// KnownProtocol tells whether sockets can speak the version of nginx's name.
func KnownProtocol(name string) bool { return versions[name] != 0 }

// Check reports what is not known. Files are looked at when they are read.
func (s *SSL) Check(path string) (problems []unit.Problem) {
	if s == nil {
		return nil
	}
	report := func(key, message, hint string) {
		problems = append(problems, unit.Problem{Path: unit.Join(path, key), Message: message, Hint: hint})
	}
	if n := s.VerifyDepth; n != nil && (*n < 0 || *n > 100) {
		report("verify_depth", fmt.Sprintf("%d is no number of certificates", *n), "write 0 to 100")
	}
	for _, name := range s.Protocols {
		if !KnownProtocol(name) {
			report("protocols", fmt.Sprintf("TLS version %q is not known", name), "write TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3")
		}
	}
	for _, name := range s.Ciphers {
		if !KnownCipher(name) {
			report("ciphers", fmt.Sprintf("cipher suite %q is not known", name), "write names as ECDHE-RSA-AES128-GCM-SHA256")
		}
	}
	return problems
}

// over is s with what it leaves out taken from all; s may be nil.
func (s *SSL) over(all *SSL) SSL {
	if s == nil {
		return *all
	}
	out := *s
	inherit(&out.VerifyDepth, all.VerifyDepth)
	if out.TrustedCertificate == "" {
		out.TrustedCertificate = all.TrustedCertificate
	}
	if out.CRL == "" {
		out.CRL = all.CRL
	}
	if out.Protocols == nil {
		out.Protocols = all.Protocols
	}
	if out.Ciphers == nil {
		out.Ciphers = all.Ciphers
	}
	return out
}

// read makes luavm's settings of checked ones.
func (s *SSL) read() (t luavm.SocketTLS, err error) {
	if s.TrustedCertificate != "" {
		text, err := os.ReadFile(s.TrustedCertificate)
		if err != nil {
			return t, fmt.Errorf("lua.ssl.trusted_certificate: %w", err)
		}
		t.Trusted = x509.NewCertPool()
		if !t.Trusted.AppendCertsFromPEM(text) {
			return t, fmt.Errorf("lua.ssl.trusted_certificate: %s holds no PEM certificate", s.TrustedCertificate)
		}
	}
	if s.VerifyDepth != nil {
		t.VerifyDepth = *s.VerifyDepth
		if t.VerifyDepth == 0 {
			t.VerifyDepth = -1 // luavm's 0 is its default
		}
	}
	if s.CRL != "" {
		if t.Revoked, err = readLists(s.CRL); err != nil {
			return t, fmt.Errorf("lua.ssl.crl: %w", err)
		}
	}
	for _, name := range s.Protocols {
		v := versions[name]
		if t.MinVersion == 0 || v < t.MinVersion {
			t.MinVersion = v
		}
		t.MaxVersion = max(t.MaxVersion, v)
	}
	for _, name := range s.Ciphers {
		t.Ciphers = append(t.Ciphers, suites[name])
	}
	return t, nil
}

func readLists(path string) (lists []*x509.RevocationList, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if !strings.HasSuffix(block.Type, "CRL") {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		lists = append(lists, list)
	}
	if len(lists) == 0 {
		return nil, fmt.Errorf("%s holds no PEM revocation list", path)
	}
	return lists, nil
}
