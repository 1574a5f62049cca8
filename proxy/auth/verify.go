package auth

import (
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
)

// issuer is a configured issuer with its keys.
type issuer struct {
	name   string
	config Issuer
	inline []*signingKey
	set    *keySet // nil: all keys are inline
	types  []string
}

// verifier checks tokens against issuers.
type verifier struct{ cache *tokenCache }

// maxTried bounds how many keys one token is tried with: each costs a signature
// check, and anybody can send tokens.
const maxTried = 8

// result is what became of a token.
type result struct {
	identity *exchange.Identity
	outcome  observe.AuthOutcome
	wait     *fetchWait // set: the keys are asked for, try again then
	ask      *lookup    // set: the key must be asked for
}

// verify judges a token. allowed are the issuers that are believed where it was
// shown. A token that was good before costs a look into the cache.
func (v *verifier) verify(text []byte, allowed []*issuer, known *table, now time.Time) result {
	if seen := v.cache.get(text, now, known); seen != nil {
		if !slices.Contains(allowed, seen.issuer) {
			return result{outcome: observe.AuthIssuer}
		}
		return result{identity: seen.identity, outcome: observe.AuthAllowed}
	}
	return v.verifyAnew(text, allowed, known, now)
}

func (v *verifier) verifyAnew(text []byte, allowed []*issuer, known *table, now time.Time) result {
	t, outcome := parseToken(text)
	if outcome != observe.AuthAllowed {
		return result{outcome: outcome}
	}
	c, ok := readClaims(t.payload)
	if !ok {
		return result{outcome: observe.AuthMalformed}
	}
	iss, ok := c.text("iss")
	if !ok {
		return result{outcome: observe.AuthClaims}
	}
	at := slices.IndexFunc(allowed, func(i *issuer) bool { return i.config.Issuer == iss })
	if at < 0 {
		return result{outcome: observe.AuthIssuer}
	}
	i := allowed[at]
	if !slices.Contains(i.config.Algorithms, t.header.Algorithm) {
		return result{outcome: observe.AuthAlgorithm}
	}
	if !slices.Contains(i.types, kind(t.header.Type)) {
		return result{outcome: observe.AuthMalformed}
	}
	key, outcome := i.check(&t)
	switch outcome {
	case observe.AuthUnknownKey, observe.AuthKeysUnavailable:
		if i.set != nil {
			return result{outcome: outcome, wait: i.set.ask(now)}
		}
		return result{outcome: outcome}
	case observe.AuthAllowed:
	default:
		return result{outcome: outcome}
	}
	until, outcome := c.judge(i, now)
	if outcome != observe.AuthAllowed {
		return result{outcome: outcome}
	}
	id, outcome := c.identity(i, known)
	if outcome != observe.AuthAllowed {
		return result{outcome: outcome}
	}
	v.cache.put(&verified{until: until, issuer: i, key: key, known: known, identity: id}, text, now)
	return result{identity: id, outcome: observe.AuthAllowed}
}

// check finds the key that signed a token.
func (i *issuer) check(t *token) (*signingKey, observe.AuthOutcome) {
	signed, err := jose.ParseSignedCompact(string(t.text), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(t.header.Algorithm)})
	if err != nil {
		return nil, observe.AuthMalformed
	}
	tried := 0
	try := func(keys []*signingKey) *signingKey {
		for _, k := range keys {
			if k.id != "" && t.header.ID != "" && k.id != t.header.ID || !k.fits(t.header.Algorithm) || tried == maxTried {
				continue
			}
			tried++
			if _, err := signed.Verify(k.key); err == nil && k.salted(t) {
				return k
			}
		}
		return nil
	}
	if k := try(i.inline); k != nil {
		return k, observe.AuthAllowed
	}
	if i.set != nil {
		keys := i.set.current()
		if keys == nil {
			return nil, observe.AuthKeysUnavailable
		}
		if k := try(keys); k != nil {
			return k, observe.AuthAllowed
		}
	}
	if tried == 0 {
		return nil, observe.AuthUnknownKey
	}
	return nil, observe.AuthSignature
}
