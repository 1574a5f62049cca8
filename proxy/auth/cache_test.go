package auth

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
)

// A token that comes again is answered from the cache: the same identity, no
// signature check, no allocation.
func TestRepeatedTokenCostsNothing(t *testing.T) {
	p := world(t, 64)
	token := []byte(minted().rs256(rsaHeader, claimsText("")))
	allowed := []*issuer{p.issuers["first"]}
	known := p.directories[""].current.Load()
	first := p.verifier.verify(token, allowed, known, moment)
	if first.outcome != observe.AuthAllowed {
		t.Fatal(first.outcome)
	}
	p.issuers["first"].inline = nil // whoever checked the signature again would fail
	var again result
	if n := testing.AllocsPerRun(100, func() { again = p.verifier.verify(token, allowed, known, moment) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if again != first {
		t.Errorf("the second time: %v", again.outcome)
	}
	// Until it expires, leeway included.
	if r := p.verifier.verify(token, allowed, known, moment.Add(629*time.Second)); r != first {
		t.Errorf("before its end: %v", r.outcome)
	}
	if r := p.verifier.verify(token, allowed, known, moment.Add(630*time.Second)); r.outcome == observe.AuthAllowed {
		t.Error("an expired token is answered from the cache")
	}
	// Other consumers, another judgement.
	if r := p.verifier.verify(token, allowed, newTable(), moment); r.outcome == observe.AuthAllowed {
		t.Error("a token is answered from the cache although consumers have changed")
	}
}

// A key that an issuer takes back takes its tokens with it.
func TestTokensOfAKeyThatIsGone(t *testing.T) {
	p := world(t, 64)
	token := minted().rs256(rsaHeader, claimsText(""))
	if r := p.judge(token, "first"); r.outcome != observe.AuthAllowed {
		t.Fatal(r.outcome)
	}
	i := p.issuers["first"]
	i.inline[0].gone.Store(true)
	i.inline = i.inline[1:]
	if r := p.judge(token, "first"); r.outcome == observe.AuthAllowed {
		t.Error("a token of a key that is gone is taken")
	}
}

// The cache answers what was put for exactly that token, whatever else comes and
// goes; it never answers more than it has places for.
func TestTokenCacheModel(t *testing.T) {
	c := newTokenCache(64)
	if len(c.places) != 64 {
		t.Fatalf("%d places", len(c.places))
	}
	known := newTable()
	key := &signingKey{}
	all := map[string]*verified{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		name := fmt.Sprintf("token-%d", random.IntN(200))
		now := moment.Add(time.Duration(random.IntN(10)) * time.Second)
		if random.IntN(2) == 0 {
			v := &verified{until: now.Add(time.Duration(random.IntN(5)) * time.Second), key: key, known: known, identity: &exchange.Identity{Consumer: name}}
			c.put(v, []byte(name), now)
			all[name] = v
			continue
		}
		got := c.get([]byte(name), now, known)
		if got != nil && (got != all[name] || !now.Before(got.until)) {
			t.Fatalf("%s: answered with another or a late one", name)
		}
	}
	held := 0
	for name := range all {
		if c.get([]byte(name), time.Time{}, known) != nil {
			held++
		}
	}
	if held == 0 || held > 64 {
		t.Errorf("%d tokens are held", held)
	}
	c.put(&verified{until: moment.Add(time.Hour), key: key, known: known}, make([]byte, longestCached+1), moment)
	if c.get(make([]byte, longestCached+1), moment, known) != nil {
		t.Error("a giant is kept")
	}
	if none := newTokenCache(0); none.get([]byte("x"), moment, known) != nil {
		t.Error("no cache answers")
	}
}

func TestTokenCacheIsSharedWithoutLocks(t *testing.T) {
	c := newTokenCache(16)
	known, key := newTable(), &signingKey{}
	var all sync.WaitGroup
	for w := range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := range 3000 {
				name := fmt.Sprintf("token-%d", (i*7+w)%40)
				if v := c.get([]byte(name), moment, known); v != nil && v.identity.Consumer != name {
					t.Errorf("%s is answered with %s", name, v.identity.Consumer)
				}
				c.put(&verified{until: moment.Add(time.Hour), key: key, known: known, identity: &exchange.Identity{Consumer: name}}, []byte(name), moment)
			}
		}()
	}
	all.Wait()
}

func BenchmarkVerify(b *testing.B) {
	m := minted()
	es, sig := m.es256(`{"alg":"ES256","kid":"ec"}`, claimsText(""))
	for _, c := range []struct{ name, token string }{
		{"RS256", m.rs256(rsaHeader, claimsText(""))}, {"ES256", es + "." + b64(sig)},
		{"EdDSA", m.eddsa(`{"alg":"EdDSA","kid":"ed"}`, claimsText(""))},
		{"HS256", hs256(m.secret, `{"alg":"HS256"}`, strings.Replace(claimsText(""), idp, "machines", 1))},
	} {
		token := []byte(c.token)
		for name, size := range map[string]int{"each time": 0, "cached": 1024} {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				p := world(b, size)
				allowed := []*issuer{p.issuers["first"], p.issuers["second"]}
				known := p.directories[""].current.Load()
				b.ReportAllocs()
				for b.Loop() {
					if p.verifier.verify(token, allowed, known, moment).outcome != observe.AuthAllowed {
						b.Fatal("refused")
					}
				}
			})
		}
	}
}
