package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
)

// setID is what makes two configurations' key sets the same one.
type setID struct{ settings JWKS }

// keySet is an issuer's key set that is fetched. One goroutine fetches; requests
// read what is there.
//
//	start --> fetch --ok--> keys --- refresh ---.
//	            ^ |                             |
//	            | '-- failed: 1s, 2s, 4s ... ---|
//	            '------ ask (an unknown kid) <--'   at once, or when min_refresh
//	                                                after the last one is over
type keySet struct {
	id        setID
	borrowers int
	metrics   *observe.KeySetMetrics
	report    func(level observe.Level, message string)
	client    *http.Client
	cancel    context.CancelFunc

	keys    atomic.Pointer[[]*signingKey] // nil: never fetched
	asked   chan struct{}                 // has an entry while a fetch is wanted at once
	soon    chan struct{}                 // the same, as soon as min_refresh allows
	waiting atomic.Int64

	mu      sync.Mutex
	fetched time.Time     // when the last fetch began
	next    chan struct{} // closed when a fetch that begins from now on has ended
	running chan struct{} // the same of the fetch that is under way; nil: none is
	failing bool
}

// maxSet bounds the text of a key set.
const maxSet = 1 << 20

// newKeySet makes a key set and begins to fetch it.
func newKeySet(id setID, metrics *observe.KeySetMetrics, report func(observe.Level, string)) (*keySet, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ResponseHeaderTimeout: id.settings.Timeout.Std(),
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if id.settings.CA != "" {
		text, err := os.ReadFile(id.settings.CA)
		if err != nil {
			return nil, fmt.Errorf("file %q cannot be read: %w", id.settings.CA, bare(err))
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("no certificate in %q", id.settings.CA)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &keySet{
		id: id, metrics: metrics, report: report, cancel: cancel,
		asked: make(chan struct{}, 1), soon: make(chan struct{}, 1), next: make(chan struct{}),
		client: &http.Client{
			Transport: transport, Timeout: id.settings.Timeout.Std(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	go s.run(ctx)
	return s, nil
}

func (s *keySet) end() { s.cancel() }

// run fetches until the set is given back.
func (s *keySet) run(ctx context.Context) {
	var backoff time.Duration
	due := time.Now()
	for {
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.soon:
			timer.Stop()
			if next := s.lastFetch().Add(s.id.settings.MinRefresh.Std()); next.Before(due) {
				due = next
			}
			continue
		case <-timer.C:
		case <-s.asked:
			timer.Stop()
		}
		if s.fetch(ctx) {
			backoff = 0
			refresh := s.id.settings.Refresh.Std()
			due = time.Now().Add(refresh - time.Duration(rand.Int64N(int64(refresh/10)+1))) // so that a fleet does not ask at once
			continue
		}
		backoff = min(max(2*backoff, time.Second), s.id.settings.Refresh.Std())
		due = time.Now().Add(backoff)
	}
}

// lastFetch is when the last fetch began.
func (s *keySet) lastFetch() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched
}

// fetch fetches once; false: it failed and the former keys stay.
func (s *keySet) fetch(ctx context.Context) bool {
	s.mu.Lock()
	done := s.next
	s.next, s.running, s.fetched = make(chan struct{}), done, time.Now()
	select {
	case <-s.asked: // this fetch is the one
	default:
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running = nil
		s.mu.Unlock()
		close(done)
	}()
	keys, err := s.get(ctx)
	if err == nil {
		s.replace(keys)
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	s.metrics.Fetches.With("failed").Inc()
	if !s.failing { // once, not at every attempt
		s.failing = true
		stay := "the former keys stay in force"
		if s.keys.Load() == nil {
			stay = "there are none yet: tokens of this issuer are answered 503"
		}
		s.report(observe.LevelError, fmt.Sprintf("auth: key set %s cannot be fetched: %s; %s", s.id.settings.URL, err, stay))
	}
	return false
}

// get asks the issuer.
func (s *keySet) get(ctx context.Context) ([]*signingKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.id.settings.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it is answered %d", res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxSet+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSet {
		return nil, errors.New("it is larger than 1 MiB")
	}
	return parseJWKS(text)
}

// replace serves keys from now on. A key that stays is the same one, so that
// what it has verified stays verified; one that is gone takes that with it.
func (s *keySet) replace(keys []*signingKey) {
	former := s.keys.Load()
	outcome := "fetched"
	if former != nil {
		same := len(*former) == len(keys)
		for i, k := range keys {
			if old := samePrint(*former, k); old != nil {
				keys[i] = old
			} else {
				same = false
			}
		}
		if same {
			outcome = "unchanged"
		}
	}
	s.keys.Store(&keys)
	if former != nil {
		for _, old := range *former {
			if samePrint(keys, old) == nil {
				old.gone.Store(true)
			}
		}
	}
	s.metrics.Fetches.With(outcome).Inc()
	s.metrics.Keys.Set(int64(len(keys)))
	s.metrics.SetFetched(time.Now())
	if s.failing || outcome == "fetched" {
		s.report(observe.LevelNotice, fmt.Sprintf("auth: key set %s has been fetched: %d keys", s.id.settings.URL, len(keys)))
	}
	s.failing = false
}

func samePrint(list []*signingKey, k *signingKey) *signingKey {
	for _, one := range list {
		if one.print == k.print {
			return one
		}
	}
	return nil
}

// current are the keys; nil: never fetched.
func (s *keySet) current() []*signingKey {
	if keys := s.keys.Load(); keys != nil {
		return *keys
	}
	return nil
}

// ask asks for a fetch, because a key is missing. It returns what a request can
// wait for, or nil: a fetch was made too short a time ago; there will be another
// as soon as that is over.
func (s *keySet) ask(now time.Time) *fetchWait {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return &fetchWait{s, s.running}
	}
	if !s.fetched.IsZero() && now.Sub(s.fetched) < s.id.settings.MinRefresh.Std() {
		select {
		case s.soon <- struct{}{}:
		default:
		}
		return nil
	}
	select {
	case s.asked <- struct{}{}:
	default: // somebody has asked just now
	}
	return &fetchWait{s, s.next}
}

// fetchWait is an exchange.Task that waits for a fetch.
type fetchWait struct {
	set  *keySet
	done <-chan struct{}
}

// maxWaiting is how many requests wait for one fetch. Anybody can send tokens
// that ask for one; more of them are judged by the keys that are there.
const maxWaiting = 256

// Run implements exchange.Task. Its outcome is the key set itself.
func (w *fetchWait) Run(*exchange.Exchange, *luavm.Op) {
	defer w.set.waiting.Add(-1)
	if w.set.waiting.Add(1) > maxWaiting {
		return
	}
	timer := time.NewTimer(w.set.id.settings.Wait.Std())
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	}
}
