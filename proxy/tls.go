package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"perigee/proxy/config"
	"perigee/proxy/observe"
)

// serverTLS reads the files of a listener's tls block; nil without one. The
// certificate is chosen by SNI; the first is for clients that name none.
func serverTLS(c *config.TLS) (*tls.Config, error) {
	if c == nil {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if c.MinVersion == config.TLS13 {
		t.MinVersion = tls.VersionTLS13
	}
	for _, pair := range c.Certificates {
		cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", pair.Cert, pair.Key, err)
		}
		t.Certificates = append(t.Certificates, cert)
	}
	if c.ClientCA != "" {
		pem, err := os.ReadFile(c.ClientCA)
		if err != nil {
			return nil, err
		}
		t.ClientCAs = x509.NewCertPool()
		if !t.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("no certificate in " + c.ClientCA)
		}
		t.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return t, nil
}

// certificates describes what the listeners show. The same name twice at a
// listener is one of two keys: the one that ends first counts.
func certificates(file *config.File, tlsConfigs map[string]*tls.Config) (all []observe.Certificate) {
	at := map[[2]string]int{}
	for i := range file.Listeners {
		address := file.Listeners[i].Address
		t := tlsConfigs[address]
		if t == nil {
			continue
		}
		for _, c := range t.Certificates {
			name := c.Leaf.Subject.CommonName
			if len(c.Leaf.DNSNames) > 0 {
				name = c.Leaf.DNSNames[0]
			}
			key := [2]string{address, name}
			if j, again := at[key]; again {
				if c.Leaf.NotAfter.Before(all[j].NotAfter) {
					all[j].NotAfter = c.Leaf.NotAfter
				}
				continue
			}
			at[key] = len(all)
			all = append(all, observe.Certificate{Listener: address, Name: name, NotAfter: c.Leaf.NotAfter})
		}
	}
	return all
}

// listen opens a TCP address, or a unix socket for "unix:/path".
func listen(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		return net.Listen("tcp", address)
	}
	ln, err := net.Listen("unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return ln, err
	}
	// A process that was killed leaves its socket behind: nobody answers there.
	if c, dead := net.Dial("unix", path); dead == nil {
		c.Close()
		return nil, err
	} else if !errors.Is(dead, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return net.Listen("unix", path)
}
