package auth

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

// memory is the answers of whoever was asked for keys: Redis, a script.
type memory struct {
	ttl    time.Duration
	places []atomic.Pointer[answer]
	mask   uint64
}

// answer is what was said of a key.
type answer struct {
	sum      [32]byte
	identity *exchange.Identity // nil: there is no such key
	expires  time.Time          // of the key; zero: never
	fresh    time.Time          // the answer serves until then
	stale    time.Time          // and until then if there is no better one
}

func newMemory(ttl unit.Duration, answers int) *memory {
	sets := uint64(1) << bits.Len(uint((answers-1)/ways))
	return &memory{ttl: ttl.Std(), places: make([]atomic.Pointer[answer], sets*ways), mask: sets - 1}
}

// set is where a key's answer can be. The sum is as good as random, and nobody
// chooses it without knowing the key.
func (m *memory) set(sum *[32]byte) []atomic.Pointer[answer] {
	hash := uint64(sum[0]) | uint64(sum[1])<<8 | uint64(sum[2])<<16 | uint64(sum[3])<<24
	at := hash & m.mask * ways
	return m.places[at : at+ways]
}

// find is what is remembered of a key, nil for nothing.
func (m *memory) find(sum *[32]byte) *answer {
	set := m.set(sum)
	for i := range set {
		if a := set[i].Load(); a != nil && a.sum == *sum {
			return a
		}
	}
	return nil
}

// old is what is remembered of a key and serves where nothing better can be had.
func (m *memory) old(sum *[32]byte) *answer {
	if a := m.find(sum); a != nil && time.Now().Before(a.stale) {
		return a
	}
	return nil
}

// put remembers an answer in the place of the same key's, or of the oldest.
func (m *memory) put(a *answer) {
	set := m.set(&a.sum)
	victim := 0
	var oldest time.Time
	for i := range set {
		old := set[i].Load()
		if old == nil || old.sum == a.sum {
			victim = i
			break
		}
		if oldest.IsZero() || old.stale.Before(oldest) {
			victim, oldest = i, old.stale
		}
	}
	set[victim].Store(a)
}

// judge says what an answer makes of a key at a moment.
func (a *answer) judge(now time.Time) (*exchange.Identity, observe.AuthOutcome) {
	switch {
	case a.identity == nil:
		return nil, observe.AuthUnknown
	case !a.expires.IsZero() && !now.Before(a.expires):
		return nil, observe.AuthExpired
	}
	return a.identity, observe.AuthAllowed
}

// read makes an answer of what is said of a key; no fields: there is none.
func (m *memory) read(sum *[32]byte, fields map[string]string) (*answer, error) {
	now := time.Now()
	ttl := m.ttl
	if len(fields) == 0 {
		ttl = min(ttl, 5*time.Second)
		return &answer{sum: *sum, fresh: now.Add(ttl), stale: now.Add(ttl)}, nil
	}
	k := Key{ID: fields["id"], Expires: fields["expires"]}
	expires, err := k.expiry()
	if err != nil {
		return nil, err
	}
	consumer := fields["consumer"]
	if consumer == "" || len(consumer) > maxConsumer || !printable(consumer) || !printable(k.ID) {
		return nil, fmt.Errorf("the consumer or the id of a key is not between 1 and %d printable characters", maxConsumer)
	}
	return &answer{
		sum: *sum, expires: expires, fresh: now.Add(ttl), stale: now.Add(10 * ttl),
		identity: exchange.NewIdentity(exchange.Identity{
			Consumer: consumer, Credential: observe.AuthAPIKey.String(), Key: k.ID,
			Groups: words(fields["groups"], ","), Roles: words(fields["roles"], ","), Scopes: words(fields["scopes"], ", "),
		}, nil),
	}, nil
}
