package upstream

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/proxy/unit"
	"perigee/proxy/wire"
)

// authority signs certificates and keeps them as files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.key = a.newKey()
	a.cert = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, a.key)
	a.file = a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

func (a *authority) write(name, kind string, der []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue makes a certificate for names and gives its files.
func (a *authority) issue(file string, names ...string) (cert, key string) {
	k := a.newKey()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: file}, KeyUsage: x509.KeyUsageDigitalSignature}
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	signed := a.sign(c, k)
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(file+".pem", "CERTIFICATE", signed.Raw), a.write(file+".key", "EC PRIVATE KEY", der)
}

// tlsOrigin is an origin behind TLS.
func tlsOrigin(t *testing.T, conf *tls.Config, serve func(c *tls.Conn)) string {
	return origin(t, func(tcp *net.TCPConn) {
		c := tls.Server(tcp, conf)
		defer c.Close()
		if c.Handshake() == nil {
			serve(c)
		}
	})
}

func answeringTLS(response string) func(c *tls.Conn) {
	return func(c *tls.Conn) {
		for readRequest(c) {
			if _, err := io.WriteString(c, response); err != nil {
				return
			}
		}
	}
}

func (a *authority) server(names ...string) *tls.Config {
	cert, key := a.issue("server-"+strings.Join(names, "-"), names...)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
}

func tlsEndpoint(t *testing.T, address string, change func(c *Config)) *Endpoint {
	t.Helper()
	c := testConfig(address)
	c.TLS = &TLSConfig{}
	c.TLS.SetDefaults()
	if change != nil {
		change(c)
	}
	return group(t, c).members[0].endpoint
}

const helloAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

func TestTLSVerification(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	clientCert, clientKey := a.issue("client", "client")
	strict := a.server("127.0.0.1")
	strict.ClientAuth, strict.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	strict.ClientCAs.AddCert(a.cert)
	strict.MaxVersion = tls.VersionTLS12 // 1.3 tells of the refusal after the handshake
	old := a.server("127.0.0.1")
	old.MaxVersion = tls.VersionTLS11
	old.MinVersion = tls.VersionTLS10
	tests := []struct {
		name   string
		server *tls.Config
		change func(c *Config)
		ok     bool
	}{
		{"own authority", a.server("127.0.0.1"), func(c *Config) { c.TLS.CA = a.file }, true},
		{"system's authorities", a.server("127.0.0.1"), nil, false},
		{"another authority", a.server("127.0.0.1"), func(c *Config) { c.TLS.CA = stranger.file }, false},
		{"another name", a.server("orders.test"), func(c *Config) { c.TLS.CA = a.file }, false},
		{"server_name", a.server("orders.test"), func(c *Config) { c.TLS.CA, c.TLS.ServerName = a.file, "orders.test" }, true},
		{"host", a.server("orders.test"), func(c *Config) { c.TLS.CA, c.Host = a.file, unit.MustTemplate("orders.test:8443") }, true},
		{"host with a variable", a.server("orders.test"), func(c *Config) { c.TLS.CA, c.Host = a.file, unit.MustTemplate("$host") }, false},
		{"verify: false", a.server("orders.test"), func(c *Config) { c.TLS.Verify = false }, true},
		{"no client certificate", strict, func(c *Config) { c.TLS.CA = a.file }, false},
		{"client certificate", strict, func(c *Config) { c.TLS.CA, c.TLS.Cert, c.TLS.Key = a.file, clientCert, clientKey }, true},
		{"TLS 1.1", old, func(c *Config) { c.TLS.Verify = false }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := tlsEndpoint(t, tlsOrigin(t, tt.server, answeringTLS(helloAnswer)), tt.change)
			got, err := exchange(e, testTimeouts, wire.AskedOther)
			if tt.ok {
				if err != nil || got.body != "hello" || !got.kept {
					t.Errorf("%+v, error %v", got, err)
				}
				return
			}
			var ce *ConnectError
			if !errors.As(err, &ce) || ce.Kind != ConnectTLS {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestTLSKeepsAndResumes(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		a := newAuthority(t)
		conf := a.server("orders.test")
		conf.MaxVersion = version
		var mu sync.Mutex
		var states []tls.ConnectionState
		address := tlsOrigin(t, conf, func(c *tls.Conn) {
			mu.Lock()
			states = append(states, c.ConnectionState())
			mu.Unlock()
			answeringTLS(helloAnswer)(c)
		})
		e := tlsEndpoint(t, address, func(c *Config) { c.TLS.CA, c.TLS.ServerName = a.file, "orders.test" })
		for i := range 3 {
			got, err := exchange(e, testTimeouts, wire.AskedOther)
			if err != nil || got.reused != (i > 0) || !got.kept {
				t.Fatalf("%s, exchange %d: %+v, error %v", tls.VersionName(version), i, got, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		c, err := e.AcquireNew(testTimeouts)
		if err != nil {
			t.Fatal(err)
		}
		if err := tryRequest(c, "Write"); err != nil {
			t.Fatal(err)
		}
		c.Release(Finished)
		mu.Lock()
		if len(states) != 2 || states[0].ServerName != "orders.test" || states[0].NegotiatedProtocol != "http/1.1" {
			t.Errorf("%s: %d connections, first to %q with %q", tls.VersionName(version), len(states),
				states[0].ServerName, states[0].NegotiatedProtocol)
		}
		if len(states) == 2 && !states[1].DidResume {
			t.Errorf("%s: the session was not resumed", tls.VersionName(version))
		}
		mu.Unlock()
	}
}

// TestTLSKeptConnectionFails is TestKeptConnectionFails over TLS. Bytes may be
// hidden inside crypto/tls there.
func TestTLSKeptConnectionFails(t *testing.T) {
	a := newAuthority(t)
	tests := []struct {
		name          string
		response      string
		after         func(c *tls.Conn)
		stale, unsent bool
	}{
		{"closed while idle", emptyAnswer, func(c *tls.Conn) { c.Close() }, true, true},
		{"closed without alert", emptyAnswer, func(c *tls.Conn) { c.NetConn().Close() }, true, true},
		{"unasked record", emptyAnswer, func(c *tls.Conn) { io.WriteString(c, emptyAnswer); readRequest(c) }, true, true},
		{"closed on the next request", emptyAnswer, func(c *tls.Conn) { readRequest(c) }, true, false},
	}
	for _, tt := range tests {
		for _, way := range []string{"WriteLast", "Write"} {
			t.Run(tt.name+"/"+way, func(t *testing.T) {
				address := tlsOrigin(t, a.server("127.0.0.1"), func(c *tls.Conn) {
					if readRequest(c) {
						_, _ = io.WriteString(c, tt.response)
						time.Sleep(20 * time.Millisecond)
						tt.after(c)
					}
				})
				e := tlsEndpoint(t, address, func(c *Config) { c.TLS.CA = a.file })
				if got, err := exchange(e, testTimeouts, wire.AskedOther); err != nil || !got.kept {
					t.Fatalf("%+v, error %v", got, err)
				}
				time.Sleep(60 * time.Millisecond)
				c, _, err := e.Acquire(testTimeouts)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Release(Abandoned)
				err = tryRequest(c, way)
				if errors.Is(err, ErrStale) != tt.stale || errors.Is(err, ErrUnsent) != tt.unsent {
					t.Errorf("error %v: stale %v, unsent %v", err, errors.Is(err, ErrStale), errors.Is(err, ErrUnsent))
				}
			})
		}
	}
}

// TestTLSHiddenBytes: two records in one segment, the second behind the end of
// the response. Nothing of it may become the next answer.
func TestTLSHiddenBytes(t *testing.T) {
	a := newAuthority(t)
	address := origin(t, func(tcp *net.TCPConn) {
		held := &holding{Conn: tcp}
		c := tls.Server(held, a.server("127.0.0.1"))
		if c.Handshake() != nil || !readRequest(c) {
			return
		}
		held.hold = true
		_, _ = io.WriteString(c, emptyAnswer)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
		held.hold = false
		_, _ = tcp.Write(held.buf.Bytes())
		readRequest(c)
	})
	e := tlsEndpoint(t, address, func(c *Config) { c.TLS.CA = a.file })
	if _, err := exchange(e, testTimeouts, wire.AskedOther); err != nil {
		t.Fatal(err)
	}
	got, err := exchange(e, testTimeouts, wire.AskedOther)
	if got.reused && !errors.Is(err, ErrUnsent) || strings.Contains(got.body, "poison") {
		t.Errorf("%+v, error %v", got, err)
	}
}

// holding collects what is written while hold is set.
type holding struct {
	net.Conn
	hold bool
	buf  bytes.Buffer
}

func (h *holding) Write(p []byte) (int, error) {
	if h.hold {
		return h.buf.Write(p)
	}
	return h.Conn.Write(p)
}

func TestTLSTimeoutsAndCancel(t *testing.T) {
	a := newAuthority(t)
	address := tlsOrigin(t, a.server("127.0.0.1"), func(c *tls.Conn) { _, _ = io.Copy(io.Discard, c) })
	e := tlsEndpoint(t, address, func(c *Config) { c.TLS.CA = a.file })
	_, err := exchange(e, Timeouts{Connect: 5 * time.Second, Response: 50 * time.Millisecond}, wire.AskedOther)
	if !isTimeout(err) {
		t.Errorf("error %v", err)
	}
	c, _, err := e.Acquire(testTimeouts)
	if err != nil {
		t.Fatal(err)
	}
	k := c.Canceler()
	time.AfterFunc(20*time.Millisecond, k.Cancel)
	if err := tryRequest(c, "WriteLast"); !errors.Is(err, ErrCanceled) {
		t.Errorf("error %v", err)
	}
	c.Release(Abandoned)
}

func TestTLSTunnel(t *testing.T) {
	a := newAuthority(t)
	address := tlsOrigin(t, a.server("127.0.0.1"), func(c *tls.Conn) {
		if readRequest(c) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.Copy(c, c)
		}
	})
	e := tlsEndpoint(t, address, func(c *Config) { c.TLS.CA = a.file })
	c, _, err := e.Acquire(Timeouts{Connect: 5 * time.Second, Response: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := tryRequest(c, "WriteLast"); err != nil {
		t.Fatal(err)
	}
	tunnel, err := c.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.Close()
	time.Sleep(300 * time.Millisecond)
	_, _ = io.WriteString(tunnel, "hello")
	got := make([]byte, 5)
	if _, err := io.ReadFull(tunnel, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, error %v", got, err)
	}
	_ = tunnel.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := tunnel.Read(got); !isTimeout(err) {
		t.Errorf("the tunnel's own deadline: error %v", err)
	}
}
