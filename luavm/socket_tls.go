package luavm

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"sync"
	"time"

	"perigee/luavm/shim"
)

// Arguments of a handshake, in Op.Int. PG_HANDSHAKE_*.
const (
	handshakeVerify  = 1
	handshakeSession = 2 // the script wants a session to resume from
)

// A handshake is one sslhandshake under way.
type handshake struct {
	settings *SocketSettings
	name     string // expected of the peer and sent as SNI; may be empty
	verify   bool
}

// handshakeSocket makes a TLS connection of a plain one. Data is the server's
// name, Data2 the client's certificates and behind them its key, all DER. Int2 names the session
// to resume. Number is the code OpenSSL would give, Reply what failed.
func handshakeSocket(op *Op, c *shim.Sock, k *conn) {
	h := handshake{settings: op.w.slot.sockets, name: string(op.Data), verify: op.Int&handshakeVerify != 0}
	sessions := &op.VM().sessions
	config := h.settings.config.Clone()
	config.ServerName = h.name
	config.VerifyConnection = h.check
	if len(op.Data2) > 0 {
		cert, err := identity(op.Data2)
		if err != nil {
			op.refuse(0, err.Error())
			return
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	k.session = &tlsSession{}
	if was := sessions.get(uint32(op.Int2)); was != nil {
		k.session.state = was.last()
	}
	config.ClientSessionCache = k.session
	_ = k.nc.SetDeadline(time.Now().Add(op.bounded()))
	op.OnCancel(k.cancel)
	conn := tls.Client(k.nc, config)
	err := conn.Handshake()
	var bad *verifyError
	switch {
	case err == nil:
		k.tls = conn
		k.reading.disarm()
		k.writing.disarm()
		c.Flags |= shim.SockTLS
		c.Session = sessions.add(k.session)
	case errors.As(err, &bad):
		op.refuse(bad.code, bad.text)
	case isTimeout(err):
		op.refuse(0, "timeout")
	default:
		op.refuse(-1, err.Error())
	}
}

// identity takes a client's certificates and key apart. Its errors are
// OpenResty's.
func identity(der []byte) (*tls.Certificate, error) {
	var parts [][]byte
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return nil, errors.New("invalid client certificate chain")
		}
		parts = append(parts, bytes.Clone(v.FullBytes))
		der = rest
	}
	if len(parts) < 2 {
		return nil, errors.New("invalid client certificate chain")
	}
	last := len(parts) - 1
	leaf, err := x509.ParseCertificate(parts[0])
	if err != nil {
		return nil, errors.New("ssl set client certificate failed")
	}
	key, err := privateKey(parts[last])
	if err != nil || !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(leaf.PublicKey) {
		return nil, errors.New("ssl set client private key failed")
	}
	return &tls.Certificate{Certificate: parts[:last], PrivateKey: key, Leaf: leaf}, nil
}

func privateKey(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
		return nil, errors.New("a key that cannot sign")
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	return x509.ParseECPrivateKey(der)
}

// refuse ends a handshake that failed.
func (op *Op) refuse(code int, why string) {
	op.Result, op.Number = sockRefused, float64(code)
	op.Reply = append(op.Reply[:0], why...)
}

// A verifyError is a certificate that is not accepted: OpenSSL's number and
// words, which scripts compare with. Code 0 is a wrong host.
type verifyError struct {
	code int
	text string
}

func (e *verifyError) Error() string { return fmt.Sprintf("%d: %s", e.code, e.text) }

// hostMismatch is a good certificate of somebody else.
const hostMismatch = "certificate host mismatch"

func (h *handshake) check(state tls.ConnectionState) error {
	if !h.verify {
		return nil
	}
	certs := state.PeerCertificates
	if len(certs) == 0 {
		return &verifyError{1, "unspecified certificate verification error"}
	}
	t := &h.settings.options.TLS
	pool := x509.NewCertPool()
	for _, c := range certs[1:] {
		pool.AddCert(c)
	}
	chains, err := certs[0].Verify(x509.VerifyOptions{
		Roots: t.Trusted, Intermediates: pool,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return explained(certs, err)
	}
	if err := t.limits(chains); err != nil {
		return err
	}
	if h.name != "" && !namesHost(certs[0], h.name) {
		return &verifyError{0, hostMismatch}
	}
	return nil
}

// namesHost tells whether a certificate is for a host: by its alternative
// names, or where it has none by its common name, as OpenSSL does for nginx.
func namesHost(cert *x509.Certificate, host string) bool {
	if cert.VerifyHostname(host) == nil {
		return true
	}
	if len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.EmailAddresses)+len(cert.URIs) > 0 {
		return false
	}
	old := *cert
	old.DNSNames = []string{cert.Subject.CommonName}
	return old.VerifyHostname(host) == nil
}

// limits finds a chain that is short enough and not revoked.
func (t *SocketTLS) limits(chains [][]*x509.Certificate) (err error) {
	for _, chain := range chains {
		// The peer's own and the trusted one are not counted.
		if len(chain)-2 > t.VerifyDepth {
			err = &verifyError{22, "certificate chain too long"}
			continue
		}
		if err = t.revoked(chain); err == nil {
			return nil
		}
	}
	return err
}

// revoked looks the chain up in the lists, if there are any: each issuer must
// have one, as in OpenSSL.
func (t *SocketTLS) revoked(chain []*x509.Certificate) error {
	if len(t.Revoked) == 0 {
		return nil
	}
	for i, cert := range chain[:len(chain)-1] {
		list := t.listOf(chain[i+1])
		if list == nil {
			return &verifyError{3, "unable to get certificate CRL"}
		}
		for _, entry := range list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return &verifyError{23, "certificate revoked"}
			}
		}
	}
	return nil
}

func (t *SocketTLS) listOf(issuer *x509.Certificate) *x509.RevocationList {
	for _, list := range t.Revoked {
		if list.CheckSignatureFrom(issuer) == nil {
			return list
		}
	}
	return nil
}

// explained says in OpenSSL's words why a chain was not accepted.
func explained(certs []*x509.Certificate, err error) *verifyError {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if time.Now().Before(invalid.Cert.NotBefore) {
			return &verifyError{9, "certificate is not yet valid"}
		}
		return &verifyError{10, "certificate has expired"}
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return &verifyError{26, "unsupported certificate purpose"}
	case errors.As(err, &invalid) && invalid.Reason == x509.NotAuthorizedToSign:
		return &verifyError{24, "invalid CA certificate"}
	case errors.As(err, &unknown):
		switch last := certs[len(certs)-1]; {
		case !selfSigned(last):
			return &verifyError{20, "unable to get local issuer certificate"}
		case len(certs) == 1:
			return &verifyError{18, "self signed certificate"}
		default:
			return &verifyError{19, "self signed certificate in certificate chain"}
		}
	}
	return &verifyError{1, "unspecified certificate verification error"}
}

func selfSigned(c *x509.Certificate) bool {
	return string(c.RawIssuer) == string(c.RawSubject)
}

// A tlsSession is what one connection learned to resume from: the cache of its
// own handshake. A server may send tickets at any time after it.
type tlsSession struct {
	mu    sync.Mutex
	state *tls.ClientSessionState
}

func (s *tlsSession) last() *tls.ClientSessionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Get implements tls.ClientSessionCache.
func (s *tlsSession) Get(string) (*tls.ClientSessionState, bool) {
	state := s.last()
	return state, state != nil
}

// Put implements tls.ClientSessionCache.
func (s *tlsSession) Put(_ string, state *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != nil {
		s.state = state
	}
}

// sessions are those that a VM's sockets or scripts hold, by number.
type sessions struct {
	mu   sync.Mutex
	last uint32
	held map[uint32]*heldSession
}

type heldSession struct {
	session *tlsSession
	holders int
}

func (t *sessions) add(s *tlsSession) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.held = map[uint32]*heldSession{}
	}
	for t.last++; t.last == 0 || t.held[t.last] != nil; {
		t.last++
	}
	t.held[t.last] = &heldSession{s, 1}
	return t.last
}

func (t *sessions) get(id uint32) *tlsSession {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.held[id]; h != nil {
		return h.session
	}
	return nil
}

// hold adds or takes away a holder; without one the session is forgotten.
func (t *sessions) hold(id uint32, more int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.held[id]
	if h == nil {
		return
	}
	if h.holders += more; h.holders <= 0 {
		delete(t.held, id)
	}
}
