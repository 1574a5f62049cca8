//go:build cgo && luajit

package luatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// selfSigned writes a certificate and its key to a folder.
func selfSigned(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a.example"}, DNSNames: []string{"a.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"site.crt": {Type: "CERTIFICATE", Bytes: cert}, "site.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTLS: specs reach listeners with TLS as clients do, and stubs stand for
// upstreams with TLS without it.
func TestTLS(t *testing.T) {
	path := written(t, `
it("speaks TLS where the listener does", function()
	local api = perigee.upstream "secret"
	local gw = perigee.gateway {upstreams = {api = api}, config = [[
listeners:
  - address: ":8080"
  - address: ":8443"
    tls: {certificates: [{cert: site.crt, key: site.key}]}
upstreams:
  api: {endpoints: ["https://api.example"]}
routes:
  - name: api
    match: {paths: ["/api"]}
    upstream: api
  - name: a
    lua: {content: "ngx.print(ngx.var.scheme, ' ', ngx.var.server_port, ' ', ngx.var.remote_addr)"}
]]}
	assert.are.equal("http 8080 127.0.0.1", gw:get("/").body)
	assert.are.equal("https 8443 192.0.2.7", gw:get("/", {listener = ":8443", host = "a.example", from = "192.0.2.7"}).body)
	assert.are.equal("secret", gw:get("/api").body)
	assert.error_matches(function() gw:get("/", {listener = ":1"}) end, 'no listener ":1": it has :8080, :8443', 1, true)
	assert.error_matches(function() gw:get("/", {from = "nobody"}) end, '"nobody" is no IP address', 1, true)
end)`)
	selfSigned(t, filepath.Dir(path))
	if s, out := run(t, Options{Paths: []string{path}}); !s.OK() {
		t.Errorf("%s", out)
	}
}
