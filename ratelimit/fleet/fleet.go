package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	_ "embed" // the scripts
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"perigee/ratelimit"
)

// ErrDown says that the store does not answer, and that nobody was asked.
var ErrDown = errors.New("the store of shared limits does not answer")

// Failures is how many commands in a row must fail, over at least failingFor,
// until the store is taken as down.
const Failures = 5

const (
	failingFor  = 100 * time.Millisecond
	probeEvery  = 200 * time.Millisecond // while it is down
	liveEvery   = time.Second            // while it is not
	liveFor     = 5 * time.Second        // an instance that is silent for so long is gone
	dialTimeout = time.Second
	// coldFor is how long after a failure unknown keys start with empty buckets.
	coldFor = time.Minute
)

// Options say where Redis is.
type Options struct {
	// Addresses are host:port of the server, of Sentinels, or of some nodes of a
	// cluster.
	Addresses []string
	// Sentinel is the name of the master that the Sentinels watch; empty: there
	// are none.
	Sentinel string
	// Cluster says that Addresses are of a cluster.
	Cluster bool
	// Username and Password are of the servers, SentinelUsername and
	// SentinelPassword of the Sentinels.
	Username, Password                 string
	SentinelUsername, SentinelPassword string
	// Database is its number; not in a cluster.
	Database int
	// TLS is used where it is not nil.
	TLS *tls.Config
	// Prefix begins all keys; "perigee:" if it is empty.
	Prefix string
	// Report is told when the store goes down and when it is back; nil: nobody.
	Report func(up bool, why error)
}

// Fleet is a connection to the store of shared limits. It belongs to a process.
// All its methods are safe for concurrent use.
type Fleet struct {
	options  Options
	client   atomic.Pointer[rueidis.Client]
	instance string
	clock    *ratelimit.Monotonic

	failed   atomic.Int32 // in a row
	failing  atomic.Int64 // since when, by clock
	down     atomic.Bool
	lastFail atomic.Int64 // by clock; 0: never
	live     atomic.Int64 // instances, this one included

	commands, errors atomic.Uint64

	queue  chan *lease
	laters chan later
	mu     sync.Mutex
	sets   map[string]*Leases
	stop   chan struct{}
	done   sync.WaitGroup
	once   sync.Once
}

// Open makes a fleet and connects in the background: the store need not be there
// yet. The caller closes it.
func Open(o Options) (*Fleet, error) {
	if len(o.Addresses) == 0 {
		return nil, errors.New("redis: no address")
	}
	if o.Prefix == "" {
		o.Prefix = "perigee:"
	}
	var id [8]byte
	_, _ = rand.Read(id[:])
	f := &Fleet{
		options: o, instance: hex.EncodeToString(id[:]), clock: ratelimit.NewClock(),
		queue: make(chan *lease, 4096), laters: make(chan later, 4096), sets: map[string]*Leases{}, stop: make(chan struct{}),
	}
	f.live.Store(1)
	f.done.Go(f.work)
	return f, nil
}

// Close gives all leases back, as far as the store answers within a second, and
// ends the connections.
func (f *Fleet) Close() {
	f.once.Do(func() {
		close(f.stop)
		f.done.Wait()
		if c := f.client.Load(); c != nil {
			(*c).Close()
		}
	})
}

// Up tells whether decisions are tried.
func (f *Fleet) Up() bool { return !f.down.Load() }

// Live is how many instances there were when the store last said so; at least 1.
func (f *Fleet) Live() int64 { return f.live.Load() }

// Commands counts commands that were sent, Errors those that failed.
func (f *Fleet) Commands() (sent, errs uint64) { return f.commands.Load(), f.errors.Load() }

// Client is how the client connects to the servers, for others who ask the same.
func (o *Options) Client() rueidis.ClientOption {
	option := rueidis.ClientOption{
		InitAddress: o.Addresses, Username: o.Username, Password: o.Password, SelectDB: o.Database,
		TLSConfig: o.TLS, ClientName: "perigee", DisableCache: true, DisableRetry: true, AlwaysPipelining: true,
		ConnWriteTimeout: dialTimeout, ForceSingleClient: !o.Cluster && o.Sentinel == "",
	}
	option.Dialer.Timeout = dialTimeout
	option.Dialer.KeepAlive = dialTimeout
	if o.Sentinel != "" {
		option.Sentinel = rueidis.SentinelOption{
			MasterSet: o.Sentinel, Username: o.SentinelUsername, Password: o.SentinelPassword, TLSConfig: o.TLS,
		}
	}
	return option
}

// dial connects; it blocks.
func (f *Fleet) dial() error {
	client, err := rueidis.NewClient(f.options.Client())
	if err != nil {
		return fmt.Errorf("redis %v: %w", f.options.Addresses, err)
	}
	f.client.Store(&client)
	return nil
}

// script is one of the scripts with its digest.
type script struct{ text, sha string }

var (
	//go:embed bucket.lua
	bucketText string
	//go:embed window.lua
	windowText string
	//go:embed instances.lua
	instancesText string

	bucketScript    = newScript(bucketText)
	windowScript    = newScript(windowText)
	instancesScript = newScript(instancesText)
)

// run runs a script on one key. The first time a server sees it the text goes
// along.
func (f *Fleet) run(ctx context.Context, s *script, key string, args []string) (rueidis.RedisResult, error) {
	p := f.client.Load()
	if p == nil {
		return rueidis.RedisResult{}, ErrDown
	}
	c := *p
	f.commands.Add(1)
	r := c.Do(ctx, c.B().Evalsha().Sha1(s.sha).Numkeys(1).Key(key).Arg(args...).Build())
	if e, is := rueidis.IsRedisErr(r.Error()); is && e.IsNoScript() {
		f.commands.Add(1)
		r = c.Do(ctx, c.B().Eval().Script(s.text).Numkeys(1).Key(key).Arg(args...).Build())
	}
	return r, r.Error()
}

// numbers runs a script that returns numbers.
func (f *Fleet) numbers(ctx context.Context, s *script, key string, args []string) (n [5]int64, err error) {
	if f.failed.Load() > 0 {
		return f.bounded(ctx, s, key, args)
	}
	r, err := f.run(ctx, s, key, args)
	if err == nil {
		n, err = readNumbers(r)
	}
	f.outcome(err)
	return n, err
}

// bounded is numbers for times when connections are made anew: the library dials
// without an eye on ctx.
func (f *Fleet) bounded(ctx context.Context, s *script, key string, args []string) (n [5]int64, err error) {
	type answer struct {
		n   [5]int64
		err error
	}
	came := make(chan answer, 1)
	go func() {
		var a answer
		r, err := f.run(ctx, s, key, args)
		if a.err = err; err == nil {
			a.n, a.err = readNumbers(r)
		}
		came <- a
	}()
	select {
	case a := <-came:
		n, err = a.n, a.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	f.outcome(err)
	return n, err
}

func readNumbers(r rueidis.RedisResult) (n [5]int64, err error) {
	list, err := r.AsIntSlice()
	if err == nil && len(list) > len(n) {
		err = fmt.Errorf("redis: %d numbers from a script", len(list))
	}
	copy(n[:], list)
	return n, err
}

// outcome keeps count of failures in a row.
func (f *Fleet) outcome(err error) {
	if err == nil {
		if f.failed.Load() != 0 {
			f.failed.Store(0)
		}
		return
	}
	f.errors.Add(1)
	now := f.clock.Now()
	f.lastFail.Store(now)
	n := f.failed.Add(1)
	if n == 1 {
		f.failing.Store(now)
	}
	if n >= Failures && now-f.failing.Load() >= int64(failingFor) {
		f.goDown(err)
	}
}

func (f *Fleet) goDown(why error) {
	if f.down.CompareAndSwap(false, true) && f.options.Report != nil {
		f.options.Report(false, why)
	}
}

// cold is "1" while keys that the store does not know start with an empty bucket.
func (f *Fleet) cold() string {
	if at := f.lastFail.Load(); at != 0 && f.clock.Now()-at < int64(coldFor) {
		return "1"
	}
	return "0"
}

// keyOf is where a key of a limit is in Redis: a digest, because keys may be
// long and what they are made of may be a secret.
func (f *Fleet) keyOf(l *ratelimit.Limit, key []byte) string {
	sum := sha256.Sum256(key)
	return f.options.Prefix + "limit:" + l.Name() + ":" + base64.RawURLEncoding.EncodeToString(sum[:16])
}
