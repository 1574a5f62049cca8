package auth

import (
	"context"
	"encoding/hex"
	"errors"
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
	// Store is the entry of redis that has the keys. Its prefix is not theirs.
	Store string `yaml:"store,omitempty" config:"short"`
	// URL is, in the place of store, redis://[USER:PASSWORD@]HOST[:PORT][/DB], or
	// rediss:// for TLS; ?addr=HOST:PORT adds nodes of a cluster, ?master_set=NAME
	// says that the hosts are Sentinels.
	URL unit.Secret `yaml:"url,omitempty"`
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
	_, err := rueidis.ParseURL(r.URL.Reveal())
	switch {
	case r.Store != "" && !r.URL.IsZero():
		p.add(path+".url", "remove one of them", "store and url both say where the keys are")
	case r.Store == "" && r.URL.IsZero():
		p.add(path, "add store: NAME, of an entry of redis", "nothing says where the keys are")
	case r.Store == "" && err != nil:
		p.add(path+".url", "write redis://HOST:6379", "the url is none of a Redis") // the library's words have the password
	}
	p.duration(path+".timeout", r.Timeout)
	p.remembering(path, r.TTL, r.Remember)
}

func (p *problems) duration(path string, d unit.Duration) {
	if d.Std() < time.Millisecond || d.Std() > 24*time.Hour {
		p.add(path, "remove the key for the default", "%s %q is not between 1ms and 1d", path[strings.LastIndexByte(path, '.')+1:], d)
	}
}

// remembering checks how answers are remembered.
func (p *problems) remembering(path string, ttl unit.Duration, answers int) {
	p.duration(path+".ttl", ttl)
	if answers < ways || answers > 1<<22 {
		p.add(path+".remember", "16384 suits most sites", "remember %d is not between %d and 4194304", answers, ways)
	}
}

// Store is how an entry of redis is reached.
type Store struct {
	// Digest tells apart what entries of the same name have been.
	Digest string
	// Client gives the client's options; files are read.
	Client func() (rueidis.ClientOption, error)
}

// storeID is what stores are found again by.
type storeID struct {
	Redis
	digest string
}

// store looks keys up in Redis and remembers the answers. It belongs to the
// registry and outlives reloads with its connections.
type store struct {
	*memory
	id        storeID
	options   func() (rueidis.ClientOption, error)
	borrowers int
	report    func(level observe.Level, message string)
	failing   atomic.Bool

	mu     sync.Mutex
	client rueidis.Client // nil: not connected yet
	tried  time.Time      // when that was tried last
	closed bool
}

func newStore(id storeID, from Store, report func(observe.Level, string)) *store {
	s := &store{memory: newMemory(id.TTL, id.Remember), id: id, options: from.Client, report: report}
	if id.Store == "" {
		s.options = func() (o rueidis.ClientOption, err error) {
			if o, err = rueidis.ParseURL(id.URL.Reveal()); err != nil {
				err = errors.New("the url is none of a Redis") // the library's words have the password
			}
			return o, err
		}
	}
	return s
}

// lookup is the question whose a key is. It is an exchange.Task where Redis is
// asked.
type lookup struct {
	store  *store // nil: a script is asked
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
			s.report(observe.LevelNotice, "auth: keys are looked up in Redis at "+s.id.name()+" again")
		}
		return
	case s.failing.CompareAndSwap(false, true): // once, not at every key
		s.report(observe.LevelError, "auth: a key cannot be looked up in Redis at "+s.id.name()+": "+err.Error()+"; keys that are remembered are taken, others are answered 503")
	}
	l.answer = s.old(&l.sum)
}

// SpanName implements exchange.Traced.
func (*lookup) SpanName() string { return "redis" }

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
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	o.DisableCache, o.ClientName = true, "perigee-auth"
	if o.Dialer.Timeout == 0 || s.id.Store != "" {
		o.Dialer.Timeout = s.id.Timeout.Std()
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
	ctx, cancel := context.WithTimeout(context.Background(), s.id.Timeout.Std())
	defer cancel()
	fields, err := client.Do(ctx, client.B().Hgetall().Key(s.id.Prefix+hex.EncodeToString(sum[:])).Build()).AsStrMap()
	if err != nil {
		return nil, err
	}
	return s.read(sum, fields)
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
	if r.Store != "" {
		return "redis." + r.Store
	}
	_, host, found := strings.Cut(r.URL.Reveal(), "@")
	if !found {
		host = strings.TrimPrefix(strings.TrimPrefix(r.URL.Reveal(), "redis://"), "rediss://")
	}
	host, _, _ = strings.Cut(host, "?")
	return host
}
