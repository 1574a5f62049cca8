package auth

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

func findKey(t *table, key []byte, now time.Time) (*exchange.Identity, observe.AuthOutcome) {
	sum := sha256.Sum256(key)
	return t.find(&sum, now)
}

func TestKeyTable(t *testing.T) {
	tab := newTable()
	err := tab.add(map[string]Consumer{
		"a": {Groups: []string{"g2", "g1"}, Keys: []Key{{Plain: unit.NewSecret("plain"), ID: "one"}}},
	}, []FileKey{
		{Key: Key{SHA256: unit.NewSecret("2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824")}, Consumer: "a"}, // hello
		{Key: Key{Plain: unit.NewSecret("dated"), Expires: "2027-01-15"}, Consumer: "b"},
		{Key: Key{Plain: unit.NewSecret("timed"), Expires: "2027-01-15T12:00:00+02:00"}, Consumer: "b"},
	})
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	noon := at("2026-06-01T12:00:00Z")
	for _, c := range []struct {
		key      string
		now      time.Time
		outcome  observe.AuthOutcome
		consumer string
	}{
		{"plain", noon, observe.AuthAllowed, "a"}, {"hello", noon, observe.AuthAllowed, "a"},
		{"Hello", noon, observe.AuthUnknown, ""}, {"", noon, observe.AuthUnknown, ""},
		{"dated", at("2027-01-14T23:59:59Z"), observe.AuthAllowed, "b"}, {"dated", at("2027-01-15T00:00:00Z"), observe.AuthExpired, ""},
		{"timed", at("2027-01-15T09:59:59Z"), observe.AuthAllowed, "b"}, {"timed", at("2027-01-15T10:00:00Z"), observe.AuthExpired, ""},
		// What is stored is no key.
		{"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", noon, observe.AuthUnknown, ""},
	} {
		id, outcome := findKey(tab, []byte(c.key), c.now)
		if outcome != c.outcome || id.Name() != c.consumer {
			t.Errorf("%q at %s: %s %q, want %s %q", c.key, c.now, outcome, id.Name(), c.outcome, c.consumer)
		}
	}
	id, _ := findKey(tab, []byte("plain"), noon)
	if again, _ := findKey(tab, []byte("plain"), noon); again != id {
		t.Error("an identity is made twice")
	}
	if got := id.Var("consumer_groups") + " " + id.Var("consumer_key"); got != "g1,g2 one" {
		t.Errorf("identity %q", got)
	}
	key := []byte("plain")
	if n := testing.AllocsPerRun(100, func() { findKey(tab, key, noon) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFindKey(b *testing.B) {
	for _, size := range []int{1000, 100000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			tab := newTable()
			keys := make([][]byte, size)
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "key-%032d", i)
				if err := tab.addKey("a", &Key{Plain: unit.NewSecret(string(keys[i]))}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, outcome := findKey(tab, keys[i%1000], moment); outcome != observe.AuthAllowed {
					b.Fatal(outcome)
				}
				i++
			}
		})
	}
}
