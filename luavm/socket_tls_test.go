//go:build cgo && luajit

package luavm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A tlsBed is an authority, a certificate for dog.example and a server that
// answers lines with it.
type tlsBed struct {
	roots   *x509.CertPool
	ca      *x509.Certificate
	key     *ecdsa.PrivateKey
	port    string
	resumed atomic.Int32
}

func newTLSBed(t *testing.T, edit func(*x509.Certificate), config func(*tls.Config)) *tlsBed {
	t.Helper()
	b := &tlsBed{}
	b.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, b.ca, b.ca, &b.key.PublicKey, b.key)
	if err != nil {
		t.Fatal(err)
	}
	b.ca, _ = x509.ParseCertificate(der)
	b.roots = x509.NewCertPool()
	b.roots.AddCert(b.ca)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "dog"}, DNSNames: []string{"dog.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if edit != nil {
		edit(leaf)
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, err = x509.CreateCertificate(rand.Reader, leaf, b.ca, &key.PublicKey, b.key)
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	if config != nil {
		config(c)
	}
	b.port = serveTCP(t, func(nc net.Conn) {
		s := tls.Server(nc, c)
		if s.Handshake() != nil {
			return
		}
		if s.ConnectionState().DidResume {
			b.resumed.Add(1)
		}
		_, _ = io.Copy(s, s)
	})
	return b
}

func (b *tlsBed) settings(edit func(*SocketOptions)) *SocketSettings {
	o := SocketOptions{ReadTimeout: 5 * time.Second, TLS: SocketTLS{Trusted: b.roots}}
	if edit != nil {
		edit(&o)
	}
	return NewSocketSettings(o)
}

const connectTLS = `local s = ngx.socket.tcp() assert(s:connect("127.0.0.1", PORT)) `

func (b *tlsBed) run(t *testing.T, settings *SocketSettings, lua string) (got, log string) {
	t.Helper()
	bed, scripts := newSocketBed(t, Options{Sockets: settings}, strings.ReplaceAll(connectTLS+lua, "PORT", b.port))
	got = bed.run(scripts[0])
	return got, bed.logged()
}

func TestHandshakes(t *testing.T) {
	good := newTLSBed(t, nil, nil)
	old := newTLSBed(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, nil)
	young := newTLSBed(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, nil)
	const ask = `local v, err = s:sslhandshake(nil, "dog.example", true) ngx.print(type(v), " ", err)`
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(2), RevocationTime: time.Now()}},
	}, good.ca, good.key)
	if err != nil {
		t.Fatal(err)
	}
	revoked, _ := x509.ParseRevocationList(list)
	for _, c := range []struct {
		name      string
		bed       *tlsBed
		edit      func(*SocketOptions)
		lua, want string
		log       string
	}{
		{"not verified", old, nil, `ngx.print(type(s:sslhandshake()), " ", s:send("hi\n"), s:receive())`, "cdata 3hi", ""},
		{"no session", good, nil, `ngx.print(s:sslhandshake(false))`, "true", ""},
		{"verified", good, nil, ask, "cdata nil", ""},
		{"verified without a name", good, nil, `ngx.print(type(s:sslhandshake(nil, nil, true)))`, "cdata", ""},
		{"twice", good, nil, `local a = s:sslhandshake() ngx.print(s:sslhandshake(a) == a, type(s:sslhandshake()), s:sslhandshake(false), type(s:getsslsession()))`, "truecdatatruecdata", ""},
		{"unknown issuer", good, func(o *SocketOptions) { o.TLS.Trusted = x509.NewCertPool() }, ask,
			"nil 20: unable to get local issuer certificate", "[4] lua ssl certificate verify error: (20: unable to get local issuer certificate)"},
		{"wrong name", good, nil, `ngx.print(s:sslhandshake(nil, "cat.example", true))`, "nilcertificate host mismatch", `[4] lua ssl certificate does not match host "cat.example"`},
		{"expired", old, nil, ask, "nil 10: certificate has expired", "(10: certificate has expired)"},
		{"not yet valid", young, nil, ask, "nil 9: certificate is not yet valid", ""},
		{"revoked", good, func(o *SocketOptions) { o.TLS.Revoked = []*x509.RevocationList{revoked} }, ask, "nil 23: certificate revoked", ""},
		{"no version in common", good, func(o *SocketOptions) { o.TLS.MaxVersion, o.TLS.MinVersion = tls.VersionTLS11, tls.VersionTLS11 }, ask,
			"nil handshake failed", "[4] SSL_do_handshake() failed (SSL: "},
		{"quiet", good, func(o *SocketOptions) { o.Quiet = true; o.TLS.Trusted = x509.NewCertPool() }, ask, "nil 20: unable to get local issuer certificate", ""},
		{"closed", good, nil, `s:close() ngx.print(s:sslhandshake())`, "nilclosed", ""},
		{"used after a refusal", good, nil, `s:sslhandshake(nil, "cat.example", true) ngx.print(s:send("x"))`, "nilclosed", ""},
		{"too many arguments", good, nil, `ngx.print((pcall(s.sslhandshake, s, nil, "", false, false, 1)))`, "false", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, log := c.bed.run(t, c.bed.settings(c.edit), c.lua)
			if got != c.want {
				t.Errorf("got %q, want %q\n%s", got, c.want, log)
			}
			if !strings.Contains(log, c.log) || c.name == "quiet" && log != "" {
				t.Errorf("log %q, want %q", log, c.log)
			}
		})
	}
}

func TestHandshakeWithSomethingElse(t *testing.T) {
	plain := serveTCP(t, func(c net.Conn) { fmt.Fprintln(c, "220 I speak no TLS") })
	silent := serveTCP(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	bed, scripts := newSocketBed(t, Options{}, `
		local s = ngx.socket.connect("127.0.0.1", `+plain+`) ngx.say(s:sslhandshake())
		s = ngx.socket.connect("127.0.0.1", `+silent+`) s:settimeout(50) ngx.say(s:sslhandshake())`)
	if got, want := bed.run(scripts[0]), "nilhandshake failed\nniltimeout\n"; got != want {
		t.Errorf("got %q, want %q\n%s", got, want, bed.logged())
	}
}

// A session of one connection shortens the next handshake; a kept connection
// needs none at all.
func TestSessionsAreReused(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			b := newTLSBed(t, nil, func(c *tls.Config) { c.MaxVersion = version })
			got, log := b.run(t, b.settings(nil), `
				local first = s:sslhandshake(nil, "dog.example", true)
				s:send("x\n") s:receive()
				assert(s:close())
				for i = 1, 2 do
					assert(s:connect("127.0.0.1", PORT))
					assert(s:sslhandshake(first, "dog.example", true))
					s:send("y\n") ngx.print(s:receive())
					assert(s:setkeepalive(10000))
				end
				assert(s:connect("127.0.0.1", PORT))
				ngx.print(s:getreusedtimes(), s:sslhandshake(first) == first)
				s:send("z\n") ngx.print(s:receive())
				first = nil collectgarbage() collectgarbage()`)
			// Each round but the first gets the connection that the one before kept.
			if got != "yy2truez" || b.resumed.Load() != 1 {
				t.Errorf("got %q, %d resumed\n%s", got, b.resumed.Load(), log)
			}
		})
	}
}

// luaBytes is b as a Lua string.
func luaBytes(b []byte) string {
	var s strings.Builder
	s.WriteByte('"')
	for _, c := range b {
		fmt.Fprintf(&s, "\\%03d", c)
	}
	s.WriteByte('"')
	return s.String()
}

// A script shows a certificate of its own to a server that asks for one.
func TestClientCertificate(t *testing.T) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := x509.MarshalECPrivateKey(key)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	wrong, _ := x509.MarshalECPrivateKey(other)
	b := newTLSBed(t, nil, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert; c.MaxVersion = tls.VersionTLS12 })
	for _, c := range []struct{ name, set, want string }{
		{"none", ``, "nil handshake failed"},
		{"its own", fmt.Sprintf(`assert(s:setclientcert(ssl.parse_der_cert(%s), ssl.parse_der_priv_key(%s)))`, luaBytes(cert), luaBytes(secret)), "cdata nil"},
		{"another's key", fmt.Sprintf(`assert(s:setclientcert(ssl.parse_der_cert(%s), ssl.parse_der_priv_key(%s)))`, luaBytes(cert), luaBytes(wrong)), "nil ssl set client private key failed"},
		{"taken back", fmt.Sprintf(`s:setclientcert(ssl.parse_der_cert(%s), ssl.parse_der_priv_key(%s)) s:setclientcert()`, luaBytes(cert), luaBytes(secret)), "nil handshake failed"},
		{"no key", `ngx.print(s:setclientcert(ssl.parse_der_cert("x"), nil), " ")`, "true nil handshake failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, log := b.run(t, b.settings(nil), `local ssl = require "ngx.ssl" `+c.set+
				` local v, err = s:sslhandshake() ngx.print(type(v), " ", err)`)
			if got != c.want {
				t.Errorf("got %q, want %q\n%s", got, c.want, log)
			}
		})
	}
}
