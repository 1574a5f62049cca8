package proxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// selfSigned writes NAME.crt and NAME.key to dir.
func selfSigned(t testing.TB, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// shown is the name in the certificate that a client is shown.
func shown(g *proxytest.Gateway, c *tls.Config) (name, version string, err error) {
	c.InsecureSkipVerify = true
	conn, err := tls.Dial("tcp", g.Addr, c)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		return "", "", err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return "", "", err
	}
	state := conn.ConnectionState()
	return state.PeerCertificates[0].Subject.CommonName, tls.VersionName(state.Version), nil
}

func TestHandshakeScripts(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"base.test", "other.test"} {
		selfSigned(t, dir, name)
	}
	const load = `
local ssl = require "ngx.ssl"
local function read(path) local f = assert(io.open("DIR/" .. path)) local s = f:read("*a") f:close() return s end
`
	for _, c := range []struct{ name, hello, cert, sni, want, version, failure, log string }{
		{"nothing is set", "", `assert(ngx.get_phase() == "ssl_cert")`, "base.test", "base.test", "TLS 1.3", "", ""},
		{"another certificate, as DER", "", `
if ssl.server_name() ~= "other.test" then return end
assert(ssl.clear_certs())
assert(ssl.set_der_cert(assert(ssl.cert_pem_to_der(read("other.test.crt")))))
assert(ssl.set_der_priv_key(assert(ssl.priv_key_pem_to_der(read("other.test.key")))))`, "other.test", "other.test", "TLS 1.3", "", ""},
		{"another certificate, parsed, after a wait", "", `
ngx.sleep(0.01)
assert(ssl.set_cert(assert(ssl.parse_pem_cert(read("other.test.crt")))))
assert(ssl.set_priv_key(assert(ssl.parse_pem_priv_key(read("other.test.key")))))`, "x.test", "other.test", "TLS 1.3", "", ""},
		{"key of another certificate", "", `
assert(ssl.set_cert(assert(ssl.parse_pem_cert(read("other.test.crt")))))
assert(ssl.set_priv_key(assert(ssl.parse_pem_priv_key(read("base.test.key")))))`, "x.test", "", "", "internal error", "private key does not match"},
		{"no PEM", "", `assert(select(2, ssl.cert_pem_to_der("x")) == "PEM_read_bio_X509_AUX() failed")
assert(not ssl.parse_pem_priv_key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"))`, "a.test", "base.test", "TLS 1.3", "", ""},
		{"addresses", "", `
assert(ssl.raw_client_addr() == "\127\0\0\1" and select(2, ssl.raw_server_addr()) == "inet")
assert(type(ssl.server_port()) == "number" and ssl.get_tls1_version_str() == "TLSv1.3")`, "a.test", "base.test", "TLS 1.3", "", ""},
		{"refused", "", `ngx.exit(ngx.ERROR)`, "a.test", "", "", "internal error", ""},
		{"refused by name", `if require "ngx.ssl.clienthello".get_client_hello_server_name() == "bad.test" then ngx.exit(ngx.ERROR) end`, "", "bad.test", "", "", "internal error", ""},
		{"versions", `assert(require "ngx.ssl.clienthello".set_protocols({"TLSv1.2"}))`, "", "a.test", "base.test", "TLS 1.2", "", ""},
		{"error", "", `error("boom")`, "a.test", "", "", "internal error", "boom"},
		{"asks for the client's certificate", "", `assert(ssl.verify_client(ssl.parse_pem_cert(read("base.test.crt"))))`, "a.test", "", "", "certificate required", ""},
		{"request API", "", `ngx.say("x")`, "a.test", "", "", "internal error", "API disabled in the context of ssl_certificate_by_lua*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			scripts := ""
			for key, text := range map[string]string{"client_hello": c.hello, "certificate": c.cert} {
				if text == "" {
					continue
				}
				text = strings.ReplaceAll(load+text, "DIR", dir)
				scripts += "\n        " + key + ": |\n          " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n          ")
			}
			g := proxytest.Start(t, fmt.Sprintf(`
listeners:
  - address: "127.0.0.1:0"
    tls:
      certificates: [{cert: %[1]s/base.test.crt, key: %[1]s/base.test.key}]
      lua:%[2]s
admin: {address: "off"}
access_log: {format: "off"}
routes: [{name: all, match: {paths: ["/"]}, respond: {status: 200}}]
`, dir, scripts))
			for range 2 {
				name, version, err := shown(g, &tls.Config{ServerName: c.sni})
				if c.failure != "" {
					if err == nil || !strings.Contains(err.Error(), c.failure) {
						t.Errorf("%v, want %q", err, c.failure)
					}
				} else if err != nil || name != c.want || version != c.version {
					t.Errorf("%q, %s, %v; want %q, %s", name, version, err, c.want, c.version)
				}
			}
			if c.log != "" && !g.WaitLog(c.log) {
				t.Errorf("the log lacks %q:\n%s", c.log, g.Log)
			}
		})
	}
}
