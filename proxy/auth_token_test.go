package proxy_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// signer is a key of an issuer.
type signer struct {
	kid string
	key ed25519.PrivateKey
}

func newSigner(t *testing.T, kid string) *signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{kid, key}
}

func b64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign makes a token of more claims than the usual.
func (s *signer) sign(more string) string { return s.signAs("user-1", more) }

func (s *signer) signAs(sub string, more ...string) string {
	header := fmt.Sprintf(`{"alg":"EdDSA","typ":"JWT","kid":%q}`, s.kid)
	payload := fmt.Sprintf(`{"iss":"https://idp.test","aud":"orders","sub":%q,"exp":%d%s}`, sub, time.Now().Unix()+600, strings.Join(more, ""))
	in := b64url([]byte(header)) + "." + b64url([]byte(payload))
	return in + "." + b64url(ed25519.Sign(s.key, []byte(in)))
}

// jwk is the public half.
func (s *signer) jwk() string {
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","use":"sig","kid":%q,"x":%q}`, s.kid, b64url(s.key.Public().(ed25519.PublicKey)))
}

// keyServer is an issuer's web server: what it answers can be changed, and it
// can die and come back.
type keyServer struct {
	addr    string
	fetches atomic.Int64

	mu     sync.Mutex
	answer http.HandlerFunc
	server *http.Server
}

func newKeyServer(t *testing.T, keys ...*signer) *keyServer {
	t.Helper()
	s := &keyServer{addr: "127.0.0.1:0"}
	s.publish(keys...)
	s.start(t)
	t.Cleanup(s.die)
	return s
}

func (s *keyServer) start(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	s.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetches.Add(1)
		s.mu.Lock()
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	})}
	go func() { _ = s.server.Serve(ln) }()
}

func (s *keyServer) die() { _ = s.server.Close() }

func (s *keyServer) set(answer http.HandlerFunc) {
	s.mu.Lock()
	s.answer = answer
	s.mu.Unlock()
}

func (s *keyServer) say(status int, text string) {
	s.set(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	})
}

func (s *keyServer) publish(keys ...*signer) {
	var list []string
	for _, k := range keys {
		list = append(list, k.jwk())
	}
	s.say(200, `{"keys":[`+strings.Join(list, ",")+`]}`)
}

const tokenAuth = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
consumers: {acme: {groups: [gold], issuers: [idp], keys: [{plain: acme-key-0123456789}]}}
auth:
  issuers:
    idp:
      issuer: https://idp.test
      audiences: [orders]
      algorithms: [EdDSA]
      jwks: {url: "http://%[2]s/keys", %[3]s}
upstreams: {up: {endpoints: ["%[1]s"]}}
routes:
  - name: any
    match: {paths: [/any]}
    auth: {jwt: {}, headers: {X-Consumer: $consumer, X-Plan: $jwt_claim_plan, X-Groups: $consumer_groups}}
    upstream: up
  - name: key
    match: {paths: [/key]}
    auth: {api_key: {}, allow: {groups: [gold]}, headers: {X-Consumer: $consumer}}
    upstream: up
  - name: scoped
    match: {paths: [/scoped]}
    auth: {jwt: {forward: true}, allow: {scopes: [read, write]}}
    upstream: up
  - name: both
    match: {paths: [/both]}
    auth: {jwt: {}, api_key: {}, require: all}
    respond: {body: "$consumer $consumer_credential"}
  - name: either
    match: {paths: [/either]}
    auth: {jwt: {cookie: token, query: access_token, header: X-Token, scheme: none}, api_key: {}}
    respond: {body: "$consumer $consumer_credential"}
  - name: lua
    match: {paths: [/lua]}
    auth: {jwt: {}}
    lua: {content: 'ngx.say(ngx.var.consumer, " ", ngx.var.jwt_claim_plan, " ", tostring(ngx.var.jwt_claim_none), " ", ngx.location.capture("/inner").body)'}
  - {name: inner, match: {paths: ["= /inner"]}, internal: true, respond: {body: "inner $consumer"}}
`

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

func TestTokens(t *testing.T) {
	a := newSigner(t, "a")
	keys := newKeyServer(t, a)
	g := proxytest.Start(t, fmt.Sprintf(tokenAuth, mirror(t), keys.addr, "refresh: 1h"))
	good := a.sign(`,"plan":"big","groups":["x"]`)
	const key = "acme-key-0123456789"
	const asked, bad = `Bearer realm="perigee"`, `Bearer realm="perigee", error="invalid_token"`
	for _, c := range []struct {
		name, path string
		headers    []string
		status     int
		challenge  string
		has        string
	}{
		{"none", "/any", nil, 401, asked, ""},
		{"another scheme", "/any", []string{"Authorization", "Basic YTpi"}, 401, asked, ""},
		{"empty", "/any", bearer(""), 401, bad, ""},
		{"no token", "/any", bearer("x"), 401, bad, ""},
		{"two", "/any", append(bearer(good), bearer(good)...), 401, bad, ""},
		{"good", "/any", bearer(good), 200, "", "X-Consumer: user-1\n"},
		{"good again", "/any", bearer(good), 200, "", "X-Plan: big\n"},
		{"another's signature", "/any", bearer(newSigner(t, "a").sign("")), 401, bad, ""},
		{"the header in small letters", "/any", []string{"authorization", "bearer  " + good, "x-plan", "root"}, 200, "", "X-Plan: big\n"},
		{"a consumer of the configuration", "/any", bearer(a.sign(`,"x":1,"groups":["y"]`)), 200, "", "X-Groups: y\n"},
		{"no scope", "/scoped", bearer(a.sign(`,"scope":"read"`)), 403, `Bearer realm="perigee", error="insufficient_scope"`, ""},
		{"scopes", "/scoped", bearer(a.sign(`,"scope":"write x read"`)), 200, "", "Authorization: Bearer "},
		{"all: only a token", "/both", bearer(good), 401, asked, ""},
		{"all: only a key", "/both", []string{"X-Api-Key", key}, 401, asked, ""},
		{"all: two consumers", "/both", append(bearer(good), "X-Api-Key", key), 403, "", ""},
		{"any: a key", "/either", []string{"X-Api-Key", key}, 200, "", "acme api_key"},
		{"any: a token", "/either", []string{"X-Token", good}, 200, "", "user-1 jwt"},
		{"any: a token in a cookie", "/either", []string{"Cookie", "x=1; token=" + good}, 200, "", "user-1 jwt"},
		{"any: a token in the query", "/either?access_token=" + good, nil, 200, "", "user-1 jwt"},
		{"any: two places", "/either?access_token=" + good, []string{"X-Token", good}, 401, bad, ""},
		{"any: a good key and a bad token", "/either", []string{"X-Api-Key", key, "X-Token", "x.y.z"}, 401, bad, ""},
		{"Lua", "/lua", bearer(good), 200, "", "user-1 big nil inner user-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := g.Get(c.path, c.headers...)
			if res.StatusCode != c.status || res.Header.Get("WWW-Authenticate") != c.challenge || !strings.Contains(res.Body, c.has) {
				t.Errorf("%d, challenge %q; want %d, %q, %q\n%s", res.StatusCode, res.Header.Get("WWW-Authenticate"), c.status, c.challenge, c.has, res.Body)
			}
			if c.path == "/any" && strings.Contains(res.Body, "Authorization") {
				t.Errorf("the upstream has the token:\n%s", res.Body)
			}
		})
	}
	if strings.Contains(g.Log.String(), good[:40]) {
		t.Errorf("the log has the token:\n%s", g.Log)
	}
	if keys.fetches.Load() != 1 {
		t.Errorf("%d fetches", keys.fetches.Load())
	}
}

// A token must not name a consumer who is known by keys, wherever that is.
func TestTokensMustNotNameOthers(t *testing.T) {
	a := newSigner(t, "a")
	keys := newKeyServer(t, a)
	path := filepath.Join(t.TempDir(), "keys.yaml")
	if err := os.WriteFile(path, []byte("consumers: {boss: {groups: [root]}}\nkeys: [{plain: boss-key-0123456789, consumer: boss}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := proxytest.Start(t, fmt.Sprintf(tokenAuth, mirror(t), keys.addr, "refresh: 1h")+fmt.Sprintf(`
  - name: file
    match: {paths: [/file]}
    auth: {jwt: {}, api_key: {keys_file: %q}}
    respond: {body: "$consumer $consumer_groups"}
`, path))
	for _, c := range []struct {
		name, path string
		headers    []string
		status     int
		body       string
	}{
		{"a key of the file", "/file", []string{"X-Api-Key", "boss-key-0123456789"}, 200, "boss root"},
		{"a token of that name", "/file", bearer(a.signAs("boss")), 403, ""},
		{"a token of another", "/file", bearer(a.signAs("bob")), 200, "bob"},
		{"a consumer who takes tokens", "/file", bearer(a.signAs("acme")), 200, "acme gold"},
	} {
		if res := g.Get(c.path, c.headers...); res.StatusCode != c.status || c.body != "" && strings.TrimSpace(res.Body) != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.name, res.StatusCode, res.Body, c.status, c.body)
		}
	}
}

// An issuer changes its key: tokens of the new one are taken at once, for the
// request asks for the set and waits; those of the former one no longer.
func TestKeysRotate(t *testing.T) {
	a, b, c := newSigner(t, "a"), newSigner(t, "b"), newSigner(t, "c")
	keys := newKeyServer(t, a)
	g := proxytest.Start(t, fmt.Sprintf(tokenAuth, mirror(t), keys.addr, "refresh: 1h, min_refresh: 1ms, timeout: 20s, wait: 20s"))
	status := func(token string) int { return g.Get("/any", bearer(token)...).StatusCode }
	old := a.sign("")
	if got := status(old); got != 200 {
		t.Fatal(got, g.Log)
	}
	keys.publish(a, b)
	until(t, "a token of the new key is taken", func() bool { return status(b.sign("")) == 200 })
	if got := status(old); got != 200 {
		t.Errorf("a token of the former key, which is still published: %d", got)
	}
	keys.publish(b, c)
	until(t, "a token of the third key is taken", func() bool { return status(c.sign("")) == 200 })
	if got := status(old); got != 401 {
		t.Errorf("a token of a key that is gone: %d", got)
	}
	stay := b.sign("")
	for what, spoil := range map[string]func(){
		"garbled":      func() { keys.say(200, `{"keys":[{"kty":`) },
		"a web page":   func() { keys.say(200, "<html>") },
		"an empty set": func() { keys.publish() },
		"a secret":     func() { keys.say(200, `{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`) },
		"an error":     func() { keys.say(500, "") },
		"a redirect": func() {
			keys.set(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) })
		},
		"an endless one": func() { keys.set(endless) },
	} {
		spoil()
		before := keys.fetches.Load()
		until(t, what+": the set is asked for", func() bool {
			if got := status(newSigner(t, "unknown "+what).sign("")); got != 401 {
				t.Errorf("%s: a token of an unknown key: %d", what, got)
			}
			return keys.fetches.Load() > before
		})
		if got := status(stay); got != 200 {
			t.Errorf("%s: a token of a known key: %d", what, got)
		}
	}
	keys.die()
	if got := status(newSigner(t, "dead").sign("")); got != 401 {
		t.Errorf("dead: a token of an unknown key: %d", got)
	}
	if got := status(stay); got != 200 {
		t.Errorf("dead: a token of a known key: %d", got)
	}
	if !g.WaitLog("the former keys stay in force") || strings.Count(g.Log.String(), "cannot be fetched") != 1 {
		t.Errorf("one failure after another is not reported once:\n%s", g.Log)
	}
	keys.publish(b, a)
	keys.start(t)
	until(t, "the issuer is back and its new key is taken", func() bool { return status(a.sign("")) == 200 })
	var metrics strings.Builder
	_ = g.WriteMetrics(&metrics)
	for _, line := range []string{"perigee_jwks_keys{", "perigee_jwks_age_seconds{", `outcome="failed"}`, `outcome="fetched"}`} {
		if !strings.Contains(metrics.String(), line) {
			t.Errorf("metrics lack %s", line)
		}
	}
}

// endless sends a set that never ends.
func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := fmt.Fprint(w, strings.Repeat(" ", 4096)); err != nil {
			return
		}
	}
}

// Tokens with kids that nobody has are free for anybody to make: they cause one
// fetch in min_refresh, not one each.
func TestUnknownKeysAreAskedForSeldom(t *testing.T) {
	a := newSigner(t, "a")
	keys := newKeyServer(t, a)
	g := proxytest.Start(t, fmt.Sprintf(tokenAuth, mirror(t), keys.addr, "refresh: 1h, min_refresh: 1h"))
	if got := g.Get("/any", bearer(a.sign(""))...).StatusCode; got != 200 {
		t.Fatal(got)
	}
	var all sync.WaitGroup
	for i := range 20 {
		token := newSigner(t, fmt.Sprint("unknown ", i)).sign("")
		all.Add(1)
		go func() {
			defer all.Done()
			if got := g.Get("/any", bearer(token)...).StatusCode; got != 401 {
				t.Errorf("%d", got)
			}
		}()
	}
	all.Wait()
	if n := keys.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// Without any keys a token can be neither taken nor refused: 503, until they
// come. A request waits for them a while.
func TestKeysThatHaveNeverBeenThere(t *testing.T) {
	a := newSigner(t, "a")
	keys := newKeyServer(t)
	release := make(chan struct{})
	keys.set(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		fmt.Fprint(w, `{"keys":[`+a.jwk()+`]}`)
	})
	g := proxytest.Start(t, fmt.Sprintf(tokenAuth, mirror(t), keys.addr, "timeout: 60s, wait: 50ms, min_refresh: 1ms"))
	if got := g.Get("/any", bearer(a.sign(""))...); got.StatusCode != 503 || got.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("%d, %q", got.StatusCode, got.Header.Get("WWW-Authenticate"))
	}
	if got := g.Get("/any").StatusCode; got != 401 {
		t.Errorf("no token: %d", got)
	}
	close(release)
	until(t, "the keys have come", func() bool { return g.Get("/any", bearer(a.sign(""))...).StatusCode == 200 })
}

// Reloads neither fetch the set again nor lose it, and the last configuration
// that wants it takes its goroutine along.
func TestKeySetsOutliveReloads(t *testing.T) {
	a := newSigner(t, "a")
	keys := newKeyServer(t, a)
	text := fmt.Sprintf(tokenAuth, mirror(t), keys.addr, "refresh: 1h")
	g := proxytest.Start(t, text)
	token := a.sign("")
	if got := g.Get("/any", bearer(token)...).StatusCode; got != 200 {
		t.Fatal(got)
	}
	for i := range 5 {
		if err := g.Reload(text + fmt.Sprintf("  - {name: more-%d, match: {paths: [/more]}, respond: {}}\n", i)); err != nil {
			t.Fatal(err)
		}
		if got := g.Get("/any", bearer(token)...).StatusCode; got != 200 {
			t.Fatalf("after reload %d: %d", i, got)
		}
	}
	if n := keys.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// Who is known costs nothing: a key, or a token that was verified before, is no
// allocation on the path of a request that is sent on with headers of its own.
func TestAllocationsOfAuth(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	a := newSigner(t, "a")
	keys := newKeyServer(t, a)
	origin := proxytest.RawOrigin(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	g := proxytest.Start(t, fmt.Sprintf(tokenAuth, origin, keys.addr, "refresh: 1h"))
	for name, request := range map[string]string{
		"key":             "GET /key HTTP/1.1\r\nHost: a\r\nX-Api-Key: acme-key-0123456789\r\n\r\n",
		"token":           "GET /any HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + a.sign(`,"plan":"big"`) + "\r\n\r\n",
		"token forwarded": "GET /scoped HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + a.sign(`,"scope":"read write"`) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			client := proxytest.NewRawClient(t, g.Addr, request)
			round := func() {
				if answer, err := client.Round(); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
					t.Fatalf("%.100q, %v", answer, err)
				}
			}
			for range 300 {
				round()
			}
			if n := allocations(2000, round); n > none {
				t.Errorf("%.4f allocations per request", n)
			}
		})
	}
}
