package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"sync"
	"testing"
	"time"

	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

// mint makes tokens by hand, so that it can make wrong ones.
type mint struct {
	rsa, otherRSA *rsa.PrivateKey
	ec            *ecdsa.PrivateKey
	ed            ed25519.PrivateKey
	secret        []byte
}

var minted = sync.OnceValue(func() *mint {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	m := &mint{secret: []byte("the secret of the other issuer, 40 bytes")}
	var err error
	m.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	m.otherRSA, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	m.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	_, m.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return m
})

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// input is a token without its signature.
func input(header, payload string) string { return b64([]byte(header)) + "." + b64([]byte(payload)) }

func (m *mint) rs256(header, payload string) string { return rs256(m.rsa, header, payload) }

func rs256(key *rsa.PrivateKey, header, payload string) string {
	in := input(header, payload)
	sum := sha256.Sum256([]byte(in))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return in + "." + b64(sig)
}

func (m *mint) ps256(header, payload string) string {
	in := input(header, payload)
	sum := sha256.Sum256([]byte(in))
	sig, err := rsa.SignPSS(rand.Reader, m.rsa, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	if err != nil {
		panic(err)
	}
	return in + "." + b64(sig)
}

func (m *mint) es256(header, payload string) (in string, sig []byte) {
	in = input(header, payload)
	sum := sha256.Sum256([]byte(in))
	r, s, err := ecdsa.Sign(rand.Reader, m.ec, sum[:])
	if err != nil {
		panic(err)
	}
	sig = make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return in, sig
}

func hs256(secret []byte, header, payload string) string {
	in := input(header, payload)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(in))
	return in + "." + b64(mac.Sum(nil))
}

func (m *mint) eddsa(header, payload string) string {
	in := input(header, payload)
	return in + "." + b64(ed25519.Sign(m.ed, []byte(in)))
}

func publicPEM(key any) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

const (
	idp  = "https://idp.test"
	here = "orders"
)

// moment is when the tests' tokens are judged.
var moment = time.Unix(1_800_000_000, 0)

// claimsText is a good payload with more members.
func claimsText(more string) string {
	return fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"user-1","exp":%d,"nbf":%d,"iat":%d%s}`,
		idp, here, moment.Unix()+600, moment.Unix()-600, moment.Unix()-600, more)
}

// world are two issuers: one with public keys, one with a secret.
func world(t testing.TB, cache int) *Parts {
	t.Helper()
	m := minted()
	var first, second Issuer
	first.SetDefaults()
	first.Issuer, first.Audiences = idp, []string{here, "other"}
	first.Algorithms = []string{"RS256", "ES256", "EdDSA"}
	first.Keys = []SigningKey{
		{PEM: publicPEM(&m.rsa.PublicKey), ID: "rsa"}, {PEM: publicPEM(&m.ec.PublicKey), ID: "ec"},
		{PEM: publicPEM(m.ed.Public()), ID: "ed"},
	}
	second.SetDefaults()
	second.Issuer, second.Audiences = "machines", []string{here}
	second.Algorithms = []string{"HS256"}
	second.Keys = []SigningKey{{Secret: unit.NewSecret(string(m.secret))}}
	second.ConsumerPrefix = "machine:"
	var s Settings
	s.SetDefaults()
	s.TokenCache = cache
	s.Issuers = map[string]Issuer{"first": first, "second": second}
	if problems := s.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	consumers := map[string]Consumer{
		"acme": {Groups: []string{"gold"}, Issuers: []string{"first"}}, "boss": {Groups: []string{"root"}},
	}
	p, err := NewParts(NewRegistry(observe.NewMetrics(observe.BuildInfo{}), func(observe.Level, string) {}), consumers, &s, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// judge verifies a token as a route would that believes the named issuers.
func (p *Parts) judge(token string, names ...string) result {
	var allowed []*issuer
	for _, name := range names {
		allowed = append(allowed, p.issuers[name])
	}
	return p.verifier.verify([]byte(token), allowed, p.directories[""].current.Load(), moment)
}
