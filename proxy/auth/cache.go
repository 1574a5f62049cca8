package auth

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"time"

	"perigee/proxy/exchange"
)

// tokenCache remembers verified tokens. It is a fixed table without locks: a
// token's hash chooses a set of four places, and its own bytes are compared, so
// that no two tokens can be taken for each other.
//
//	hash --> set | place | place | place | place |   each a pointer to a verified
//	                                                 token, or nil
//
// Put overwrites, in this order: the same token, nothing, one that has expired,
// the one that expires first. Reading writes nothing.
type tokenCache struct {
	seed   maphash.Seed
	places []atomic.Pointer[verified]
	mask   uint64
}

const (
	ways = 4
	// longestCached bounds the memory of a place.
	longestCached = 8 << 10
)

// verified is a token whose signature and claims were good.
type verified struct {
	token    []byte
	hash     uint64
	until    time.Time
	issuer   *issuer
	key      *signingKey
	known    *table // the consumers that identity was made with
	identity *exchange.Identity
}

// newTokenCache makes a cache of at least size places; nil for 0.
func newTokenCache(size int) *tokenCache {
	if size == 0 {
		return nil
	}
	sets := uint64(1) << bits.Len(uint((size-1)/ways))
	return &tokenCache{seed: maphash.MakeSeed(), places: make([]atomic.Pointer[verified], sets*ways), mask: sets - 1}
}

func (c *tokenCache) set(hash uint64) []atomic.Pointer[verified] {
	at := hash & c.mask * ways
	return c.places[at : at+ways]
}

// get finds a token that is still good: in time, by a key and with consumers
// that are still in force. c may be nil.
func (c *tokenCache) get(token []byte, now time.Time, known *table) *verified {
	if c == nil {
		return nil
	}
	hash := maphash.Bytes(c.seed, token)
	set := c.set(hash)
	for i := range set {
		v := set[i].Load()
		if v == nil || v.hash != hash || !bytes.Equal(v.token, token) {
			continue
		}
		if !now.Before(v.until) || v.key.gone.Load() || v.known != known {
			return nil
		}
		return v
	}
	return nil
}

// put remembers v; token is copied. c may be nil.
func (c *tokenCache) put(v *verified, token []byte, now time.Time) {
	if c == nil || len(token) > longestCached {
		return
	}
	v.token = bytes.Clone(token)
	v.hash = maphash.Bytes(c.seed, token)
	set := c.set(v.hash)
	victim, first := 0, time.Time{}
	for i := range set {
		old := set[i].Load()
		if old == nil || old.hash == v.hash && bytes.Equal(old.token, token) {
			victim = i
			if old != nil {
				break
			}
			first = time.Unix(0, 0)
			continue
		}
		until := old.until
		if !now.Before(until) {
			until = time.Unix(1, 0)
		}
		if first.IsZero() || until.Before(first) {
			victim, first = i, until
		}
	}
	set[victim].Store(v)
}
