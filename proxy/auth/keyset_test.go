package auth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

// setOf starts fetching a server's key set.
func setOf(t *testing.T, url string, edit func(*JWKS)) *keySet {
	t.Helper()
	var c JWKS
	c.SetDefaults()
	c.URL = url
	edit(&c)
	s, err := newKeySet(setID{c}, new(observe.KeySetMetrics), func(observe.Level, string) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// A set is fetched again and again without being asked for; a key that stays is
// the same one, a key that is gone knows it.
func TestSetIsKeptFresh(t *testing.T) {
	var mu sync.Mutex
	answer := `{"keys":[` + a2Key + `,` + a3Key + `]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprint(w, answer)
	}))
	defer server.Close()
	s := setOf(t, server.URL, func(c *JWKS) { c.Refresh = unit.Duration(5 * time.Millisecond) })
	wait(t, "fetched", func() bool { return len(s.current()) == 2 })
	first := s.current()
	mu.Lock()
	answer = `{"keys":[` + a3Key + `,` + edKey + `]}`
	mu.Unlock()
	wait(t, "fetched again", func() bool { return len(s.current()) == 2 && s.current()[0] == first[1] })
	wait(t, "the first key is gone", first[0].gone.Load)
	if first[1].gone.Load() {
		t.Error("the key that stays is gone")
	}
	mu.Lock()
	answer = "garbled"
	mu.Unlock()
	wait(t, "refused", func() bool { return s.metrics.Fetches.With("failed").Value() > 0 })
	if len(s.current()) != 2 || first[1].gone.Load() {
		t.Error("a garbled set has replaced a good one")
	}
}

// Requests that wait for a fetch are let go when it ends, or when their time is
// up, and only so many wait.
func TestWaitForSet(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		fmt.Fprint(w, a2Key)
	}))
	defer server.Close()
	s := setOf(t, server.URL, func(c *JWKS) {
		c.Timeout, c.Wait = unit.Duration(time.Minute), unit.Duration(time.Minute)
	})
	var all sync.WaitGroup
	ended := make(chan struct{}, 2*maxWaiting)
	for range maxWaiting + 10 {
		w := s.ask(time.Now())
		if w == nil {
			t.Fatal("nothing to wait for while the first fetch is under way")
		}
		all.Add(1)
		go func() {
			defer all.Done()
			w.Run(nil, nil)
			ended <- struct{}{}
		}()
	}
	wait(t, "those who are too many are let go", func() bool { return len(ended) == 10 })
	close(release)
	all.Wait()
	if len(s.current()) != 1 {
		t.Error("let go without keys")
	}
	if s.ask(time.Now()) != nil {
		t.Error("a fetch is made for everybody who asks")
	}
}

// A key that is asked for too short a time after a fetch is fetched when that is
// over, though nobody asks again.
func TestSetIsFetchedSoon(t *testing.T) {
	var fetches atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetches.Add(1)
		fmt.Fprint(w, a2Key)
	}))
	defer server.Close()
	s := setOf(t, server.URL, func(c *JWKS) { c.MinRefresh = unit.Duration(time.Second) })
	wait(t, "fetched", func() bool { return s.current() != nil })
	for range 5 {
		if s.ask(s.lastFetch()) != nil {
			t.Fatal("asked for twice in min_refresh")
		}
	}
	wait(t, "fetched again", func() bool { return fetches.Load() == 2 })
}

// Configurations come and go; what they borrowed goes with the last of them.
func TestNothingIsLeftOfConfigurations(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, a2Key) }))
	defer server.Close()
	r := NewRegistry(observe.NewMetrics(observe.BuildInfo{}), func(observe.Level, string) {})
	var s Settings
	s.SetDefaults()
	before := runtime.NumGoroutine()
	var last *Parts
	for i := range 200 {
		c := good()
		c.Algorithms, c.Keys, c.JWKS = []string{"RS256"}, nil, new(JWKS)
		c.JWKS.SetDefaults()
		c.JWKS.URL = fmt.Sprint(server.URL, "/", i/50)
		s.Issuers = map[string]Issuer{"a": c}
		next, err := NewParts(r, nil, &s, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		last.Close()
		last = next
	}
	if len(r.sets) != 1 || len(r.parts) != 1 {
		t.Errorf("%d key sets and %d configurations are held", len(r.sets), len(r.parts))
	}
	last.Close()
	r.Close()
	if len(r.sets)+len(r.parts)+len(r.files) != 0 {
		t.Error("something is held at the end")
	}
	server.CloseClientConnections()
	wait(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+2 })
}

func TestParseJWKS(t *testing.T) {
	for _, c := range []struct {
		name, text string
		keys       int
		err        string
	}{
		{"one key", a2Key, 1, ""}, {"a set", `{"keys":[` + a2Key + `,` + edKey + `]}`, 2, ""},
		{"what is not understood is left out", `{"keys":[{"kty":"new"},` + a3Key + `,{"kty":"EC","crv":"P-999","x":"AA","y":"AA"},7]}`, 1, ""},
		{"for encryption", strings.Replace(a2Key, `{`, `{"use":"enc",`, 1), 0, "not for signatures"},
		{"for encryption by alg", strings.Replace(a2Key, `{`, `{"alg":"RSA-OAEP",`, 1), 0, "another algorithm"},
		{"for signing alone", strings.Replace(a2Key, `{`, `{"key_ops":["sign"],`, 1), 0, "not for verifying"},
		{"a secret", `{"kty":"oct","k":"` + a1Secret + `"}`, 0, "not public"},
		{"a private key", strings.Replace(edKey, `{`, `{"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",`, 1), 0, "not public"},
		{"a short key", `{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("A", 10) + strings.Repeat("_", 160) + `"}`, 0, "bits"},
		{"a point beside its curve", strings.Replace(a3Key, "x_FE", "x_FF", 1), 0, "cannot be read"},
		{"no keys", `{"keys":[]}`, 0, "no keys"}, {"null", `null`, 0, "no keys"}, {"a list", `[]`, 0, "no JSON object"}, {"a page", `<html>`, 0, "no JSON object"},
		{"too many", `{"keys":[` + strings.Repeat(a3Key+",", maxKeys) + a3Key + `]}`, 0, "more than 256"},
	} {
		keys, err := parseJWKS([]byte(c.text))
		if len(keys) != c.keys || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %d keys, %v; want %d, %q", c.name, len(keys), err, c.keys, c.err)
		}
		if err != nil && (strings.Contains(err.Error(), a1Secret) || strings.Contains(err.Error(), "nWGxne")) {
			t.Errorf("%s: the error has the key: %v", c.name, err)
		}
	}
}
