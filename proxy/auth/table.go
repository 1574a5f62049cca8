package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
)

// table is all consumers and keys that a route knows, at one moment. It does not
// change once it is in use.
type table struct {
	consumers map[string]Consumer
	keys      map[[32]byte]*apiKey
}

// apiKey is a key and whose it is. Its identity is made when it is shown for the
// first time: of very many keys most are not, for a long time.
type apiKey struct {
	sum          [32]byte
	consumer, id string
	expires      time.Time // zero: never
	identity     atomic.Pointer[exchange.Identity]
}

func newTable() *table {
	return &table{consumers: map[string]Consumer{}, keys: map[[32]byte]*apiKey{}}
}

// find looks a key up by its SHA-256. Time tells nothing of keys that exist: what is compared
// are hashes, which nobody can steer towards another's.
func (t *table) find(sum *[32]byte, now time.Time) (*exchange.Identity, observe.AuthOutcome) {
	k := t.keys[*sum]
	if k == nil || subtle.ConstantTimeCompare(k.sum[:], sum[:]) != 1 {
		return nil, observe.AuthUnknown
	}
	if !k.expires.IsZero() && !now.Before(k.expires) {
		return nil, observe.AuthExpired
	}
	id := k.identity.Load()
	if id == nil {
		own := t.consumers[k.consumer]
		id = exchange.NewIdentity(exchange.Identity{
			Consumer: k.consumer, Credential: observe.AuthAPIKey.String(), Key: k.id,
			Groups: clone(own.Groups), Roles: clone(own.Roles), Scopes: clone(own.Scopes),
		}, nil)
		k.identity.Store(id)
	}
	return id, observe.AuthAllowed
}

// addConsumer adds a consumer without its keys.
func (t *table) addConsumer(name string, c Consumer) error {
	switch _, twice := t.consumers[name]; {
	case twice:
		return fmt.Errorf("consumer %q is there twice", name)
	case name == "" || len(name) > maxConsumer || !printable(name):
		return fmt.Errorf("consumer name %q is not between 1 and %d printable characters", name, maxConsumer)
	}
	for _, list := range [...][]string{c.Groups, c.Roles, c.Scopes} {
		for _, word := range list {
			if word == "" || !printable(word) {
				return fmt.Errorf("consumer %q has a group, role or scope that is empty or not printable", name)
			}
		}
	}
	t.consumers[name] = c
	return nil
}

// addKey adds a key of a consumer, who need not be there. Errors do not have the key in them.
func (t *table) addKey(consumer string, k *Key) error {
	if consumer == "" || len(consumer) > maxConsumer || !printable(consumer) {
		return fmt.Errorf("consumer name %q of a key is not between 1 and %d printable characters", consumer, maxConsumer)
	}
	sum, err := k.sum()
	if err != nil {
		return err
	}
	if other := t.keys[sum]; other != nil {
		return fmt.Errorf("the key is one of consumer %q already", other.consumer)
	}
	expires, err := k.expiry()
	if err != nil {
		return err
	}
	if !printable(k.ID) {
		return fmt.Errorf("id %q is not printable", k.ID)
	}
	t.keys[sum] = &apiKey{sum: sum, consumer: consumer, id: k.ID, expires: expires}
	return nil
}

func clone(list []string) []string { return append([]string(nil), list...) }

// sum is the key's SHA-256.
func (k *Key) sum() (sum [32]byte, err error) {
	switch {
	case k.Plain.IsZero() == k.SHA256.IsZero():
		return sum, errors.New("a key is one of sha256 and plain")
	case !k.Plain.IsZero():
		return sha256.Sum256([]byte(k.Plain.Reveal())), nil
	}
	raw, err := hex.DecodeString(k.SHA256.Reveal())
	if err != nil || len(raw) != len(sum) {
		return sum, errors.New("sha256 of a key is not 64 hexadecimal digits")
	}
	return [32]byte(raw), nil
}

// expiry is when the key ends.
func (k *Key) expiry() (at time.Time, err error) {
	if k.Expires == "" {
		return at, nil
	}
	for _, layout := range [...]string{time.DateOnly, time.RFC3339} {
		if at, err = time.Parse(layout, k.Expires); err == nil {
			return at, nil
		}
	}
	return at, fmt.Errorf("expires %q is neither 2027-01-31 nor 2027-01-31T12:00:00Z", k.Expires)
}

// add joins everything of some sources.
func (t *table) add(consumers map[string]Consumer, keys []FileKey) error {
	for name, c := range consumers {
		if err := t.addConsumer(name, c); err != nil {
			return err
		}
	}
	for name := range consumers {
		for i := range consumers[name].Keys {
			if err := t.addKey(name, &consumers[name].Keys[i]); err != nil {
				return fmt.Errorf("consumer %q, key %d: %w", name, i+1, err)
			}
		}
	}
	for i := range keys {
		if err := t.addKey(keys[i].Consumer, &keys[i].Key); err != nil {
			return fmt.Errorf("key %d: %w", i+1, err)
		}
	}
	return nil
}
