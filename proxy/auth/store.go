package auth

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

// Redis is where keys are looked up that are neither in the configuration nor in
// files. A key is a hash under prefix and the key's SHA-256 in small hexadecimal
// digits, with the fields consumer, and if there is more to say id, groups, roles,
// scopes (commas between them) and expires:
//
//	HSET perigee:key:6c3d... consumer acme groups gold expires 2027-01-31
type Redis struct {
	// URL is redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS; ?addr=HOST:PORT
	// adds nodes of a cluster, ?master_set=NAME says that the hosts are Sentinels.
	URL unit.Secret `yaml:"url"`
	// Prefix comes before the digits. Default "perigee:key:".
	Prefix string `yaml:"prefix"`
	// TTL is how long an answer is remembered; that there is no such key, for 5s at
	// the most. Default 1m.
	TTL unit.Duration `yaml:"ttl"`
	// Timeout bounds one look-up. Default 100ms. A key that cannot be looked up and
	// is not remembered is answered 503; one that is remembered is taken as it was,
	// for ten times ttl.
	Timeout unit.Duration `yaml:"timeout"`
	// Remember is how many answers are remembered. Default 16384.
	Remember int `yaml:"remember"`
}

// SetDefaults sets the times.
func (r *Redis) SetDefaults() {
	r.Prefix, r.Remember = "perigee:key:", 16384
	r.TTL, r.Timeout = unit.Duration(time.Minute), unit.Duration(100*time.Millisecond)
}

func (r *Redis) check(path string, p *problems) {
	if _, err := rueidis.ParseURL(r.URL.Reveal()); err != nil || r.URL.IsZero() {
		p.add(path+".url", "write redis://HOST:6379", "the url is none of a Redis") // the library's words have the password
	}
	for _, d := range [...]struct {
		key   string
		value unit.Duration
	}{{"ttl", r.TTL}, {"timeout", r.Timeout}} {
		if d.value.Std() < time.Millisecond || d.value.Std() > 24*time.Hour {
			p.add(path+"."+d.key, "remove the key for the default", "%s %q is not between 1ms and 1d", d.key, d.value)
		}
	}
	if r.Remember < ways || r.Remember > 1<<22 {
		p.add(path+".remember", "16384 suits most sites", "remember %d is not between %d and 4194304", r.Remember, ways)
	}
}

// store looks keys up in Redis and remembers the answers. It belongs to the
// registry and outlives reloads with its connections.
type store struct {
	settings  Redis
	borrowers int
	report    func(level observe.Level, message string)
	failing   atomic.Bool

	mu     sync.Mutex
	client rueidis.Client // nil: not connected yet
	tried  time.Time      // when that was tried last
	closed bool

	places []atomic.Pointer[answer]
	mask   uint64
}

// answer is what Redis said of a key.
type answer struct {
	sum      [32]byte
	identity *exchange.Identity // nil: there is no such key
	expires  time.Time          // of the key; zero: never
	fresh    time.Time          // the answer serves until then
	stale    time.Time          // and until then if there is no better one
}

func newStore(c Redis, report func(observe.Level, string)) *store {
	sets := uint64(1) << bits.Len(uint((c.Remember-1)/ways))
	return &store{settings: c, report: report, places: make([]atomic.Pointer[answer], sets*ways), mask: sets - 1}
}

// set is where a key's answer can be. The sum is as good as random, and nobody
// chooses it without knowing the key.
func (s *store) set(sum *[32]byte) []atomic.Pointer[answer] {
	hash := uint64(sum[0]) | uint64(sum[1])<<8 | uint64(sum[2])<<16 | uint64(sum[3])<<24
	at := hash & s.mask * ways
	return s.places[at : at+ways]
}

// find is what is remembered of a key, nil for nothing.
func (s *store) find(sum *[32]byte) *answer {
	set := s.set(sum)
	for i := range set {
		if a := set[i].Load(); a != nil && a.sum == *sum {
			return a
		}
	}
	return nil
}

// put remembers an answer in the place of the same key's, or of the oldest.
func (s *store) put(a *answer) {
	set := s.set(&a.sum)
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

// lookup is an exchange.Task that asks Redis for a key.
type lookup struct {
	store  *store
	sum    [32]byte
	answer *answer // nil: it could not be had
}

// Run implements exchange.Task.
func (l *lookup) Run(*exchange.Exchange, *luavm.Op) {
	s := l.store
	a, err := s.ask(&l.sum)
	switch {
	case err == nil:
		s.put(a)
		l.answer = a
		if s.failing.CompareAndSwap(true, false) {
			s.report(observe.LevelNotice, "auth: keys are looked up in Redis at "+s.settings.name()+" again")
		}
		return
	case s.failing.CompareAndSwap(false, true): // once, not at every key
		s.report(observe.LevelError, "auth: a key cannot be looked up in Redis at "+s.settings.name()+": "+err.Error()+"; keys that are remembered are taken, others are answered 503")
	}
	if old := s.find(&l.sum); old != nil && time.Now().Before(old.stale) {
		l.answer = old
	}
}

var errStore = errors.New("no connection could be made, and none is tried again within a second")

// connect gives the client, made when it is first wanted: a configuration is
// good although its Redis is away.
func (s *store) connect() (rueidis.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, errStore
	case s.client != nil:
		return s.client, nil
	case time.Since(s.tried) < time.Second:
		return nil, errStore
	}
	s.tried = time.Now()
	o, err := rueidis.ParseURL(s.settings.URL.Reveal())
	if err != nil {
		return nil, errors.New("the url is none of a Redis")
	}
	o.DisableCache, o.ClientName = true, "perigee-auth"
	if o.Dialer.Timeout == 0 {
		o.Dialer.Timeout = s.settings.Timeout.Std()
	}
	if s.client, err = rueidis.NewClient(o); err != nil {
		return nil, err
	}
	return s.client, nil
}

// ask asks Redis.
func (s *store) ask(sum *[32]byte) (*answer, error) {
	client, err := s.connect()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.settings.Timeout.Std())
	defer cancel()
	fields, err := client.Do(ctx, client.B().Hgetall().Key(s.settings.Prefix+hex.EncodeToString(sum[:])).Build()).AsStrMap()
	if err != nil {
		return nil, err
	}
	return s.read(sum, fields)
}

// read makes an answer of a hash's fields.
func (s *store) read(sum *[32]byte, fields map[string]string) (*answer, error) {
	now := time.Now()
	ttl := s.settings.TTL.Std()
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

func (s *store) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed = true; s.client != nil {
		s.client.Close()
	}
}

// name is the store without its secrets, for people.
func (r *Redis) name() string {
	_, host, found := strings.Cut(r.URL.Reveal(), "@")
	if !found {
		host = strings.TrimPrefix(strings.TrimPrefix(r.URL.Reveal(), "redis://"), "rediss://")
	}
	host, _, _ = strings.Cut(host, "?")
	return host
}
