package auth

import (
	"bytes"
	stdjson "encoding/json"
	"strings"
	"testing"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/wire"
)

// Whatever is shown, nothing panics, and only what was signed is let in.
func FuzzToken(f *testing.F) {
	m := minted()
	for _, list := range [][]attack{forged(m), misshapen(m), untrue(m)} {
		for _, a := range list {
			f.Add(a.token)
		}
	}
	good := map[string]bool{}
	for _, token := range []string{m.rs256(rsaHeader, claimsText("")), m.eddsa(`{"alg":"EdDSA"}`, claimsText(""))} {
		good[token] = true
		f.Add(token)
	}
	for _, a := range misshapen(m) { // one of them is deep, and good
		good[a.token] = good[a.token] || a.want == observe.AuthAllowed
	}
	p := world(f, 128)
	f.Fuzz(func(t *testing.T, token string) {
		r := p.judge(token, "first", "second")
		if (r.outcome == observe.AuthAllowed) != good[token] || (r.identity != nil) != good[token] {
			t.Errorf("%q: %s", token, r.outcome)
		}
	})
}

// What is taken of a payload is what encoding/json reads, and never with a name
// twice.
func FuzzClaims(f *testing.F) {
	for _, text := range []string{
		claimsText(""), `{}`, `{"a":1,"a":2}`, `{"a":[{"b":1,"b":2}]}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"a":1}x`, `{"a":1} {}`,
		`{"a":1e400,"b":-0,"c":1E+2}`, `[]`, `null`, `{"a":nul}`, `{"\u0061":1,"a":2}`, ` {}`, `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, ok := readClaims(text)
		if !ok {
			return
		}
		d := stdjson.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("taken, and no JSON: %v", err)
		}
		if len(c) != len(want) {
			t.Fatalf("%d names, want %d", len(c), len(want))
		}
		for _, v := range c.vars() {
			if strings.ContainsAny(v.Value, "\r\n\x00") {
				t.Errorf("claim %q has a control character: %q", v.Name, v.Value)
			}
			if s, text := want[v.Name].(string); text && s != v.Value && clean(s) != v.Value {
				t.Errorf("claim %q is %q, want %q", v.Name, v.Value, s)
			}
		}
	})
}

// A key set from the network: nothing panics, and no secret is taken.
func FuzzJWKS(f *testing.F) {
	for _, text := range []string{a2Key, a3Key, edKey, `{"keys":[` + a2Key + `,` + a3Key + `]}`, `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`, `{"kty":"RSA","n":"AA","e":"AQ"}`, `[]`, `{"keys":[null,1,{}]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseJWKS(text)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys and %v", len(keys), err)
		}
		for _, k := range keys {
			if _, secret := k.key.([]byte); secret || k.fits("HS256") {
				t.Error("a secret is taken")
			}
		}
	})
}

// Where a credential is found: nothing panics, what is found is not sent on, and
// not recorded.
func FuzzPlace(f *testing.F) {
	f.Add("/?key=secret&a=1", "X-Api-Key: a\r\nCookie: k=b; c=d\r\n")
	f.Add("/?%6bey=s%26ecret", "Cookie: k=\"q\"; k=\r\n")
	f.Add("/?key", "Authorization: apikey  x\r\nAuthorization: Basic y\r\n")
	p := newPlace("Authorization", "ApiKey", "key", "k", "")
	f.Fuzz(func(t *testing.T, target, fields string) {
		ex := exchange.Acquire(nil, &exchange.Conn{})
		defer exchange.Release(ex)
		ex.Raw = []byte("GET " + target + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n")
		if n, err := wire.ScanRequest(&ex.Head, ex.Raw, 0, wire.Limits{}); err != nil || n != len(ex.Raw) {
			return
		}
		ex.BeginRequest()
		_, query, _ := strings.Cut(target, "?")
		ex.Query = []byte(query)
		ex.Record.Query = ex.Query
		value, outcome := p.find(ex)
		if outcome != observe.AuthAllowed {
			return
		}
		secret := string(value)
		p.remove(ex)
		again := string(ex.Req.Header()) + "?" + string(ex.Query) + "?" + string(ex.Record.Query)
		if len(secret) > 12 && !strings.Contains(fields+target, secret+secret) && strings.Count(fields+target, secret) == 1 && strings.Contains(again, secret) {
			t.Errorf("%q is left in %q", secret, again)
		}
	})
}
