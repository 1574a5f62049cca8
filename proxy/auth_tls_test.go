package proxy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// Over TLS a client's certificate says who asks,
// and requests wait for key sets as they do without.
func TestAuthOverTLS(t *testing.T) {
	dir := t.TempDir()
	selfSigned(t, dir, "client.test")
	selfSigned(t, dir, "server.test")
	a, b := newSigner(t, "a"), newSigner(t, "b")
	keys := newKeyServer(t, a)
	g := proxytest.Start(t, fmt.Sprintf(`
listeners:
  - address: "127.0.0.1:0"
    tls: {certificates: [{cert: %[1]s/server.test.crt, key: %[1]s/server.test.key}], client_ca: %[1]s/client.test.crt}
admin: {address: "off"}
access_log: {format: "off"}
consumers: {"CN=client.test": {groups: [machines]}}
auth:
  issuers:
    idp: {issuer: "https://idp.test", audiences: [orders], algorithms: [EdDSA], jwks: {url: "http://%[2]s/", refresh: 1h, min_refresh: 1ms, wait: 20s, timeout: 20s}}
routes:
  - {name: cert, match: {paths: [/cert]}, auth: {external: {consumer: $ssl_client_s_dn}, allow: {groups: [machines]}}, respond: {body: $consumer}}
  - {name: token, match: {paths: [/token]}, auth: {jwt: {}}, respond: {body: $consumer}}
`, dir, keys.addr))
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.test.crt"), filepath.Join(dir, "client.test.key"))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: 60 * time.Second}
	get := func(path, token string) string {
		req, err := http.NewRequest("GET", "https://"+g.Addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return fmt.Sprint(res.StatusCode, " ", strings.TrimSpace(string(body)))
	}
	if got := get("/cert", ""); got != "200 CN=client.test" {
		t.Errorf("by certificate: %s", got)
	}
	if got := get("/token", a.sign("")); got != "200 user-1" {
		t.Errorf("by token: %s", got)
	}
	keys.publish(b)
	until(t, "a token of the new key is taken", func() bool { return get("/token", b.sign("")) == "200 user-1" })
}
