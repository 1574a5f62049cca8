package script

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"perigee/luavm"
	"perigee/proxy/unit"
)

// HandshakeConfig are the scripts of a listener's TLS handshakes.
type HandshakeConfig struct {
	// ClientHello runs when a client has said what it can speak; it may refuse
	// it or choose the versions. nginx: ssl_client_hello_by_lua.
	ClientHello *Source `yaml:"client_hello,omitempty"`
	// Certificate runs next and may choose the certificate and key, and ask for
	// the client's, by the module ngx.ssl. nginx: ssl_certificate_by_lua.
	Certificate *Source `yaml:"certificate,omitempty"`
}

// Check reports a block without scripts, and scripts that say both or neither of
// inline text and file.
func (c *HandshakeConfig) Check() []unit.Problem {
	if c.ClientHello == nil && c.Certificate == nil {
		return []unit.Problem{{Message: "the block holds no script", Hint: "add certificate: or client_hello:, or remove lua"}}
	}
	var problems []unit.Problem
	if c.ClientHello != nil {
		problems = c.ClientHello.Check("client_hello")
	}
	if c.Certificate != nil {
		problems = append(problems, c.Certificate.Check("certificate")...)
	}
	return problems
}

// Handshake runs the scripts of a listener's TLS handshakes.
type Handshake struct {
	pool        *luavm.Pool
	hello, cert *luavm.Script
	report      Report
	pairs       pairCache
}

// NewHandshake adds the scripts to pool, which has not been started. The error
// is a *SyntaxError.
func NewHandshake(pool *luavm.Pool, listener string, c *HandshakeConfig, report Report) (*Handshake, error) {
	h := &Handshake{pool: pool, report: report}
	for _, s := range []struct {
		key    string
		source *Source
		script **luavm.Script
	}{{"client_hello", c.ClientHello, &h.hello}, {"certificate", c.Certificate, &h.cert}} {
		if s.source == nil {
			continue
		}
		sc, err := pool.Add(luavm.Source{
			Name:  Name("listener:"+listener, s.key),
			Chunk: s.source.ChunkName("ssl_" + s.key + "_by_lua"), Text: s.source.Text,
		})
		if err != nil {
			return nil, &SyntaxError{Key: s.key, Err: err}
		}
		*s.script = sc
	}
	return h, nil
}

// errRefused ends a handshake by ngx.exit(ngx.ERROR).
var errRefused = errors.New("a script refused the handshake")

// Run runs the scripts for a client and gives the settings for it: base, or a
// copy with what the scripts have set. It may wait for as long as they do. An
// error ends the handshake.
func (h *Handshake) Run(hello *tls.ClientHelloInfo, base *tls.Config) (*tls.Config, error) {
	slot, err := h.pool.Pin(0)
	if err != nil {
		return nil, err
	}
	defer slot.Release()
	if err := fillHandshake(slot, hello); err != nil {
		return nil, err
	}
	var until time.Time
	if h.report.TotalTime > 0 {
		until = time.Now().Add(h.report.TotalTime)
	}
	var want handshakeWish
	for _, s := range []struct {
		script *luavm.Script
		phase  luavm.Phase
	}{{h.hello, luavm.PhaseSSLClientHello}, {h.cert, luavm.PhaseSSLCert}} {
		if s.script == nil {
			continue
		}
		out := slot.Complete(s.script, s.phase, until)
		switch {
		case out.Kind == luavm.Failed:
			h.report.Handshake(out.Err)
			return nil, errors.New("a script of the handshake failed")
		case out.Kind == luavm.Exit && out.Status != 0:
			return nil, errRefused
		}
		want.take(slot)
	}
	c, err := want.settings(&h.pairs, base)
	if err != nil {
		h.report.Handshake(&luavm.ScriptError{Kind: luavm.ErrRuntime, Message: err.Error(), Script: h.cert.Name()})
	}
	return c, err
}

// fillHandshake tells the scripts what is known of the client.
func fillHandshake(slot *luavm.Slot, hello *tls.ClientHelloInfo) error {
	versions := make([]string, len(hello.SupportedVersions))
	for i, v := range hello.SupportedVersions {
		versions[i] = strconv.Itoa(int(v))
	}
	client, _ := hostPort(hello.Conn.RemoteAddr())
	server, port := hostPort(hello.Conn.LocalAddr())
	spoken := uint16(0)
	if len(hello.SupportedVersions) > 0 {
		spoken = min(slices.Max(hello.SupportedVersions), tls.VersionTLS13)
	}
	for v, text := range map[luavm.Variable]string{
		luavm.VarServerName: hello.ServerName, luavm.VarArgs: strings.Join(versions, " "),
		luavm.VarRemoteAddr: client, luavm.VarServerAddr: server, luavm.VarServerPort: port,
		luavm.VarProtocol: strconv.Itoa(int(spoken)),
	} {
		if err := slot.SetVarString(v, text); err != nil {
			return err
		}
	}
	return nil
}

func hostPort(a net.Addr) (host, port string) {
	if a.Network() == "unix" {
		return "unix:" + a.String(), ""
	}
	host, port, _ = net.SplitHostPort(a.String())
	return host, port
}

// handshakeWish is what scripts have set for one handshake.
type handshakeWish struct {
	cert, key   []byte
	cleared     bool
	verify      bool
	authorities []byte
	versions    []uint16
}

func (w *handshakeWish) take(slot *luavm.Slot) {
	var e luavm.Edit
	for slot.NextEdit(&e) {
		if e.Kind != luavm.EditTLS {
			continue
		}
		value := append([]byte(nil), e.Value...)
		switch e.Aux {
		case luavm.TLSClear:
			w.cert, w.key, w.cleared = nil, nil, true
		case luavm.TLSCert:
			w.cert = value
		case luavm.TLSKey:
			w.key = value
		case luavm.TLSVerify:
			w.verify, w.authorities = true, value
		case luavm.TLSProtocols:
			w.versions = nil
			for _, name := range strings.Fields(string(value)) {
				if v, known := versionNumbers[name]; known {
					w.versions = append(w.versions, v)
				}
			}
		}
	}
}

// versionNumbers leaves out what is broken and never spoken.
var versionNumbers = map[string]uint16{"TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}

// settings applies the wish to a copy of base.
func (w *handshakeWish) settings(pairs *pairCache, base *tls.Config) (*tls.Config, error) {
	if w.cert == nil && w.key == nil && !w.cleared && !w.verify && w.versions == nil {
		return nil, nil // base is right as it is
	}
	c := base.Clone()
	c.GetConfigForClient = nil
	if w.cleared {
		c.Certificates = nil
	}
	if w.cert != nil || w.key != nil {
		pair, err := pairs.get(w.cert, w.key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{*pair}
	}
	if len(w.versions) > 0 {
		c.MinVersion, c.MaxVersion = slices.Min(w.versions), slices.Max(w.versions)
	}
	if !w.verify {
		return c, nil
	}
	c.ClientAuth = tls.RequestClientCert
	if len(w.authorities) > 0 {
		list, err := x509.ParseCertificates(w.authorities)
		if err != nil {
			return nil, fmt.Errorf("ngx.ssl.verify_client: %w", err)
		}
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		for _, cert := range list {
			c.ClientCAs.AddCert(cert)
		}
	}
	return c, nil
}

// maxPairs bounds the certificates that are kept parsed.
const maxPairs = 1024

// pairCache keeps certificates that scripts have shown parsed: that costs more
// than the rest of a handshake's script.
type pairCache struct {
	mu    sync.Mutex
	pairs map[[sha256.Size]byte]*tls.Certificate
}

// get is the pair of a chain and its key, both DER.
func (p *pairCache) get(chain, key []byte) (*tls.Certificate, error) {
	sum := sha256.New()
	sum.Write(chain)
	fmt.Fprintf(sum, "\x00%d\x00", len(chain))
	sum.Write(key)
	id := [sha256.Size]byte(sum.Sum(nil))
	p.mu.Lock()
	defer p.mu.Unlock()
	if pair := p.pairs[id]; pair != nil {
		return pair, nil
	}
	pair, err := makePair(chain, key)
	if err != nil {
		return nil, err
	}
	if p.pairs == nil || len(p.pairs) >= maxPairs {
		p.pairs = make(map[[sha256.Size]byte]*tls.Certificate)
	}
	p.pairs[id] = pair
	return pair, nil
}

func makePair(chain, key []byte) (*tls.Certificate, error) {
	list, err := x509.ParseCertificates(chain)
	if err != nil || len(list) == 0 {
		return nil, fmt.Errorf("ngx.ssl: the certificate that was set is none: %v", err)
	}
	private, err := parseKey(key)
	if err != nil {
		return nil, fmt.Errorf("ngx.ssl: the private key that was set is none: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("ngx.ssl: the private key that was set is of no known kind: %w", err)
	}
	var text []byte
	for _, cert := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	pair, err := tls.X509KeyPair(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		return nil, fmt.Errorf("ngx.ssl: %w", err)
	}
	return &pair, nil
}

// parseKey reads a key in the forms that PEM files have.
func parseKey(der []byte) (crypto.PrivateKey, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return x509.ParsePKCS8PrivateKey(der)
}
