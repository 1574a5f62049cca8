package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync/atomic"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// signingKey is a key that checks signatures. It belongs to its source and is
// shared by all that it verified.
type signingKey struct {
	id        string
	algorithm string // the one that its owner ties it to; "": none
	key       any    // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey or []byte
	print     [32]byte
	// gone: a later set of the issuer does not have it. What it verified is not
	// believed any more.
	gone atomic.Bool
}

// fits tells whether the key's type can check signatures of an algorithm, and
// its owner does not say otherwise. It is what keeps a public key from being
// taken for a shared secret.
func (k *signingKey) fits(algorithm string) bool {
	if k.algorithm != "" && k.algorithm != algorithm {
		return false
	}
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		switch key.Curve.Params().BitSize {
		case 256:
			return algorithm == "ES256"
		case 384:
			return algorithm == "ES384"
		case 521:
			return algorithm == "ES512"
		}
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	case []byte:
		return strings.HasPrefix(algorithm, "HS") && len(key) >= secretBytes(algorithm)
	}
	return false
}

// secretBytes is the least length of a shared secret (RFC 7518 §3.2).
func secretBytes(algorithm string) int {
	switch algorithm {
	case "HS384":
		return 48
	case "HS512":
		return 64
	}
	return 32
}

// leastRSA is the shortest RSA modulus in bits (RFC 7518 §3.3).
const leastRSA = 2048

// newSigningKey makes a key of what a parser has read.
func newSigningKey(key any, id, algorithm string) (*signingKey, error) {
	k := &signingKey{id: id, algorithm: algorithm, key: key}
	switch public := key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < leastRSA || bits > 16384 {
			return nil, fmt.Errorf("an RSA key of %d bits is not between %d and 16384", bits, leastRSA)
		}
		if public.E < 3 || public.E%2 == 0 {
			return nil, fmt.Errorf("an RSA key has the exponent %d", public.E)
		}
		if guessable(public.N) {
			return nil, errors.New("an RSA key was made by a faulty device (CVE-2017-15361): it can be computed from its public half")
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	case []byte:
		if len(public) < secretBytes("") {
			return nil, fmt.Errorf("a secret of %d bytes is shorter than 32", len(public))
		}
		k.print = sha256.Sum256(append([]byte(id+"\x00"+algorithm+"\x00secret\x00"), public...))
		return k, nil
	default:
		return nil, errors.New("a key is neither RSA, nor P-256, P-384, P-521 or Ed25519")
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, errors.New("a key is not one that signatures can be checked with")
	}
	k.print = sha256.Sum256(append([]byte(id+"\x00"+algorithm+"\x00"), der...))
	return k, nil
}

// salted tells whether a PSS signature has a salt as long as its hash, as RFC
// 7518 §3.5 wants it; the library takes any. Other algorithms have none.
func (k *signingKey) salted(t *token) bool {
	hash, pss := pssHashes[t.header.Algorithm]
	if !pss {
		return true
	}
	public, ok := k.key.(*rsa.PublicKey)
	if !ok {
		return false
	}
	dot := bytes.LastIndexByte(t.text, '.')
	signature, ok := decodePart(t.text[dot+1:])
	sum := hash.New()
	sum.Write(t.text[:dot])
	return ok && rsa.VerifyPSS(public, hash, sum.Sum(nil), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
}

var pssHashes = map[string]crypto.Hash{"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512}

// guessable tells whether a modulus has the mark of ROCA (Nemec and others, CCS
// 2017): modulo every small prime it is a power of 65537.
func guessable(n *big.Int) bool {
	var rest big.Int
	for _, p := range [...]int64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157} {
		want := rest.Mod(n, big.NewInt(p)).Int64()
		power, found := int64(1), false
		for range p {
			found = found || power == want
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}

// maxKeys bounds the keys of one set.
const maxKeys = 256

// parseJWKS reads a set of keys, or one key, in JSON. Keys that cannot check
// signatures are left out, as RFC 7517 §5 says; a set without any usable key is
// an error.
func parseJWKS(text []byte) ([]*signingKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
		Kty  string            `json:"kty"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("it is no JSON object with keys")
	}
	if set.Keys == nil && set.Kty != "" {
		set.Keys = []json.RawMessage{text}
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it has %d keys, more than %d", len(set.Keys), maxKeys)
	}
	var keys []*signingKey
	why := error(errors.New("it has no keys"))
	for _, raw := range set.Keys {
		key, err := parseJWK(raw)
		if err != nil {
			why = fmt.Errorf("it has no usable key: %w", err)
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, why
	}
	return keys, nil
}

func parseJWK(raw []byte) (*signingKey, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(raw); err != nil {
		return nil, errors.New("a key cannot be read") // the parser's words may have the key in them
	}
	if jwk.Use != "" && jwk.Use != "sig" {
		return nil, errors.New("a key is not for signatures")
	}
	if jwk.Algorithm != "" && !contains(algorithmNames, jwk.Algorithm) {
		return nil, errors.New("a key is for another algorithm")
	}
	var more struct {
		Operations []string `json:"key_ops"`
	}
	if err := json.Unmarshal(raw, &more); err != nil {
		return nil, errors.New("a key cannot be read")
	}
	if more.Operations != nil && !contains(more.Operations, "verify") {
		return nil, errors.New("a key is not for verifying")
	}
	if !jwk.IsPublic() {
		return nil, errors.New("a key set has no place for secrets and private keys: they are not public")
	}
	return newSigningKey(jwk.Key, jwk.KeyID, jwk.Algorithm)
}

func contains(list []string, word string) bool {
	for _, one := range list {
		if one == word {
			return true
		}
	}
	return false
}

// inlineKeys reads the keys that are written in the configuration. at is the
// path of the one that is wrong.
func inlineKeys(i *Issuer) (keys []*signingKey, at string, err error) {
	for n := range i.Keys {
		at := fmt.Sprintf(".keys[%d]", n)
		found, err := i.Keys[n].parse()
		if err != nil {
			return nil, at, err
		}
		for _, k := range found {
			if !fitsAny(k, i.Algorithms) {
				return nil, at, fmt.Errorf("the key cannot check any of the issuer's algorithms, %s", strings.Join(i.Algorithms, ", "))
			}
		}
		keys = append(keys, found...)
	}
	return keys, "", nil
}

func fitsAny(k *signingKey, algorithms []string) bool {
	for _, name := range algorithms {
		if k.fits(name) {
			return true
		}
	}
	return false
}

// parse reads a key of the configuration.
func (s *SigningKey) parse() ([]*signingKey, error) {
	given := 0
	for _, set := range [...]bool{s.PEM != "", s.JWKS != "", !s.Secret.IsZero(), !s.SecretBase64.IsZero()} {
		if set {
			given++
		}
	}
	if given != 1 {
		return nil, errors.New("a key is one of pem, jwks, secret and secret_base64")
	}
	if s.Algorithm != "" && !contains(algorithmNames, s.Algorithm) {
		return nil, fmt.Errorf("algorithm %q is not known", s.Algorithm)
	}
	switch {
	case s.JWKS != "":
		keys, err := parseJWKS([]byte(s.JWKS))
		for _, k := range keys {
			if s.ID != "" {
				k.id = s.ID
			}
			if s.Algorithm != "" {
				k.algorithm = s.Algorithm
			}
		}
		return keys, err
	case s.PEM != "":
		key, err := parsePEM(s.PEM)
		if err != nil {
			return nil, err
		}
		return one(newSigningKey(key, s.ID, s.Algorithm))
	case !s.Secret.IsZero():
		return one(newSigningKey([]byte(s.Secret.Reveal()), s.ID, s.Algorithm))
	}
	secret, err := decodeAnyBase64(s.SecretBase64.Reveal())
	if err != nil {
		return nil, err
	}
	return one(newSigningKey(secret, s.ID, s.Algorithm))
}

func one(k *signingKey, err error) ([]*signingKey, error) {
	if err != nil {
		return nil, err
	}
	return []*signingKey{k}, nil
}

func decodeAnyBase64(text string) ([]byte, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	for _, code := range [...]*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
		if b, err := code.DecodeString(text); err == nil {
			return b, nil
		}
	}
	return nil, errors.New("secret_base64 is no base64")
}

// parsePEM reads a public key or the key of a certificate. A private key is
// refused: what only checks signatures should not hold what makes them.
func parsePEM(text string) (any, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("pem holds no PEM block: it begins with -----BEGIN")
	}
	if again, _ := pem.Decode(rest); again != nil && block.Type != "CERTIFICATE" {
		return nil, errors.New("pem holds more than one key: give each an entry")
	}
	switch block.Type {
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("pem holds a certificate that cannot be read")
		}
		return cert.PublicKey, nil
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("pem holds a public key that cannot be read")
		}
		return key, nil
	case "RSA PUBLIC KEY":
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("pem holds a public key that cannot be read")
		}
		return key, nil
	}
	if strings.Contains(block.Type, "PRIVATE") {
		return nil, errors.New("pem holds a private key: give the public one (openssl pkey -pubout)")
	}
	return nil, fmt.Errorf("pem holds a %q, no public key or certificate", block.Type)
}
