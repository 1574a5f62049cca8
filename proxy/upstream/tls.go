package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
)

// sessions is how many TLS sessions one endpoint's cache holds for resumption.
const sessions = 64

// tlsMaterial is a TLSConfig with its files read.
type tlsMaterial struct {
	config TLSConfig
	roots  *x509.CertPool // nil for the system's
	certs  []tls.Certificate
	// digest is of the settings and the files' content, so that a renewed
	// certificate makes new connections at the next reload.
	digest string
}

func readTLS(c TLSConfig) (*tlsMaterial, error) {
	m := &tlsMaterial{config: c}
	sum := sha256.New()
	fmt.Fprintf(sum, "%v\x00%s\x00", c.Verify, c.ServerName)
	if c.CA != "" {
		pem, err := readInto(sum, c.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		m.roots = x509.NewCertPool()
		if !m.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: %s holds no PEM certificate", c.CA)
		}
	}
	if c.Cert != "" {
		cert, err := readInto(sum, c.Cert)
		if err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		key, err := readInto(sum, c.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.key: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert %s with tls.key %s: %w", c.Cert, c.Key, err)
		}
		m.certs = []tls.Certificate{pair}
	}
	m.digest = hex.EncodeToString(sum.Sum(nil))
	return m, nil
}

func readInto(sum io.Writer, path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(sum, "%d\x00", len(b))
	_, err = sum.Write(b)
	return b, err
}

// Client gives the settings for a connection of another kind than to an endpoint:
// to a store, to a collector. Files are read now; who connects says the name.
func (t *TLSConfig) Client() (*tls.Config, error) {
	m, err := readTLS(*t)
	if err != nil {
		return nil, err
	}
	c := m.client("", "")
	c.NextProtos = nil
	return c, nil
}

// client gives the settings for one endpoint. name is what is sent as SNI and
// verified when the configuration names none.
func (m *tlsMaterial) client(hostport, name string) *tls.Config {
	if m.config.ServerName != "" {
		name = m.config.ServerName
	}
	if name == "" {
		name, _, _ = net.SplitHostPort(hostport)
	}
	return &tls.Config{
		ServerName:         name,
		RootCAs:            m.roots,
		Certificates:       m.certs,
		InsecureSkipVerify: !m.config.Verify,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
}
