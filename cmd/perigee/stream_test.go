package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const gigabyte = 1 << 30

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestGigabyte sends a gigabyte each way; the gateway's memory must not follow.
func TestGigabyte(t *testing.T) {
	size := int64(gigabyte)
	if testing.Short() {
		size /= 16
	}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%d %v", n, err)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.CopyN(w, zeros{}, size)
	}))
	defer origin.Close()
	addr := freeAddr(t)
	r := runGateway(t, fmt.Sprintf(`
listeners: [{address: %q}]
admin: {address: "off"}
access_log: {format: "off"}
limits: {body_bytes: 2GiB}
upstreams: {o: {endpoints: [%q]}}
routes: [{name: all, match: {paths: ["/"]}, upstream: o}]
`, addr, strings.TrimPrefix(origin.URL, "http://")), addr)
	res, err := http.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if n != size || err != nil {
		t.Errorf("download: %d bytes, %v", n, err)
	}
	for name, length := range map[string]int64{"with a length": size, "chunked": -1} {
		req, err := http.NewRequest("POST", "http://"+addr, io.LimitReader(zeros{}, size))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("upload %s: %v", name, err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(body) != fmt.Sprintf("%d <nil>", size) {
			t.Errorf("upload %s: the origin got %s", name, body)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var peak int
	if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
		_, _ = fmt.Sscan(after, &peak)
	}
	if peak == 0 || peak > 100<<10 {
		t.Errorf("the gateway held %d KiB at its peak, want at most 100 MiB", peak)
	}
}

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

// issue writes NAME.crt and NAME.key for a host to dir.
func (a *authority) issue(t *testing.T, dir, name, host string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		DNSNames: []string{host}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, name+".crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})))
}

// TestTLS: certificates by name, client certificates, replaced files, and an
// upstream that is verified.
func TestTLS(t *testing.T) {
	dir, ca, other := t.TempDir(), newAuthority(t), newAuthority(t)
	ca.issue(t, dir, "a", "a.test")
	ca.issue(t, dir, "b", "b.test")
	ca.issue(t, dir, "client", "client.test")
	write(t, filepath.Join(dir, "ca.pem"), string(ca.pem))
	write(t, filepath.Join(dir, "other.pem"), string(other.pem))
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key"))
	if err != nil {
		t.Fatal(err)
	}
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "secret ", r.Header.Get("X-Forwarded-Proto"))
	}))
	origin.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	origin.StartTLS()
	defer origin.Close()
	plain, mutual := freeAddr(t), freeAddr(t)
	r := runGateway(t, fmt.Sprintf(`
prefix: %q
listeners:
  - address: %q
    tls: {certificates: [{cert: a.crt, key: a.key}, {cert: b.crt, key: b.key}]}
  - address: %q
    tls: {certificates: [{cert: a.crt, key: a.key}], client_ca: ca.pem}
admin: {address: "off"}
access_log: {format: "off"}
upstreams:
  good: {endpoints: [%q], tls: {ca: ca.pem, server_name: a.test}}
  bad: {endpoints: [%q], tls: {ca: other.pem, server_name: a.test}}
routes:
  - {name: good, match: {paths: ["/good"]}, upstream: good}
  - {name: bad, match: {paths: ["/bad"]}, upstream: bad}
  - {name: rest, match: {paths: ["/"]}, respond: {body: "$scheme\n"}}
`, dir, plain, mutual, origin.Listener.Addr(), origin.Listener.Addr()), plain)

	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	client, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(addr, path, name string, certs ...tls.Certificate) (string, string) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name, Certificates: certs}}
		defer transport.CloseIdleConnections()
		res, err := (&http.Client{Transport: transport}).Get("https://" + addr + path)
		if err != nil {
			return err.Error(), ""
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return fmt.Sprintf("%d %s", res.StatusCode, body), res.TLS.PeerCertificates[0].Subject.CommonName
	}
	for _, c := range []struct {
		name, addr, path, host, want, cert string
		certs                              []tls.Certificate
	}{
		{"first name", plain, "/", "a.test", "200 https\n", "a", nil},
		{"second name", plain, "/", "b.test", "200 https\n", "b", nil},
		{"verified upstream", plain, "/good", "a.test", "200 secret https", "a", nil},
		{"upstream of another authority", plain, "/bad", "a.test", "502 ", "a", nil},
		{"client certificate", mutual, "/", "a.test", "200 https\n", "a", []tls.Certificate{client}},
	} {
		got, cert := ask(c.addr, c.path, c.host, c.certs...)
		if !strings.HasPrefix(got, c.want) || cert != c.cert {
			t.Errorf("%s: %q by certificate %q, want %q by %q", c.name, got, cert, c.want, c.cert)
		}
	}
	if got, _ := ask(mutual, "/", "a.test"); !strings.Contains(got, "certificate required") {
		t.Errorf("without a client certificate: %q", got)
	}
	ca.issue(t, dir, "new", "b.test")
	for _, ext := range []string{".crt", ".key"} {
		if err := os.Rename(filepath.Join(dir, "new"+ext), filepath.Join(dir, "b"+ext)); err != nil {
			t.Fatal(err)
		}
	}
	_ = r.cmd.Process.Signal(syscall.SIGHUP)
	for range 100 {
		if _, cert := ask(plain, "/", "b.test"); cert == "new" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("a replaced certificate is not presented")
}
