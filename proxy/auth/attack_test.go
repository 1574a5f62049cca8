package auth

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"unicode/utf16"

	"perigee/proxy/observe"
)

// An attack is a token that must be refused.
type attack struct {
	name  string
	token string
	want  observe.AuthOutcome
}

const rsaHeader = `{"alg":"RS256","typ":"JWT","kid":"rsa"}`

// forged are attacks on who signed.
func forged(m *mint) []attack {
	good := claimsText("")
	public := publicPEM(&m.rsa.PublicKey)
	in, sig := m.es256(`{"alg":"ES256","kid":"ec"}`, good)
	order := m.ec.Params().N
	zeros := b64(make([]byte, 64))
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])})
	if err != nil {
		panic(err)
	}
	highS := append(bytes.Clone(sig[:32]), order.FillBytes(make([]byte, 32))...)
	rs := m.rs256(rsaHeader, good)
	dot := strings.LastIndexByte(rs, '.')
	rsIn, rsSig := rs[:dot], rs[dot+1:]
	rawSig, _ := base64.RawURLEncoding.DecodeString(rsSig)
	ed := m.eddsa(`{"alg":"EdDSA","kid":"ed"}`, good)
	list := []attack{
		{"another key", rs256(m.otherRSA, rsaHeader, good), observe.AuthSignature},
		{"another key, no kid", rs256(m.otherRSA, `{"alg":"RS256"}`, good), observe.AuthSignature},
		{"RSA public key in PEM as the secret", hs256([]byte(public), `{"alg":"HS256","kid":"rsa"}`, good), observe.AuthAlgorithm},
		{"the same without the last line end", hs256([]byte(strings.TrimSpace(public)), `{"alg":"HS256","kid":"rsa"}`, good), observe.AuthAlgorithm},
		{"modulus as the secret", hs256(m.rsa.N.Bytes(), `{"alg":"HS256"}`, good), observe.AuthAlgorithm},
		{"empty secret", hs256(nil, `{"alg":"HS256"}`, good), observe.AuthAlgorithm},
		{"the other issuer's secret", hs256(m.secret, `{"alg":"HS256"}`, good), observe.AuthAlgorithm},
		{"kid is a file", hs256(nil, `{"alg":"HS256","kid":"../../../../../dev/null"}`, good), observe.AuthAlgorithm},
		{"kid is a file, RS256", rs256(m.otherRSA, `{"alg":"RS256","kid":"/proc/sys/kernel/randomize_va_space"}`, good), observe.AuthUnknownKey},
		{"kid is SQL", rs256(m.otherRSA, `{"alg":"RS256","kid":"x' UNION SELECT 'key';--"}`, good), observe.AuthUnknownKey},
		{"kid has a NUL", rs256(m.otherRSA, `{"alg":"RS256","kid":"rsa\u0000"}`, good), observe.AuthUnknownKey},
		{"kid in other case", m.rs256(`{"alg":"RS256","kid":"RSA"}`, good), observe.AuthUnknownKey},
		{"kid of a key of another type", m.rs256(`{"alg":"RS256","kid":"ec"}`, good), observe.AuthUnknownKey},
		{"kid is a number", m.rs256(`{"alg":"RS256","kid":1}`, good), observe.AuthMalformed},
		{"kid is a list", m.rs256(`{"alg":"RS256","kid":["rsa"]}`, good), observe.AuthMalformed},
		{"jku", rs256(m.otherRSA, `{"alg":"RS256","kid":"rsa","jku":"http://127.0.0.1:1/keys"}`, good), observe.AuthSignature},
		{"x5u", rs256(m.otherRSA, `{"alg":"RS256","kid":"rsa","x5u":"http://127.0.0.1:1/cert"}`, good), observe.AuthSignature},
		{"jwk", rs256(m.otherRSA, fmt.Sprintf(`{"alg":"RS256","jwk":{"kty":"RSA","e":"AQAB","n":%q}}`, b64(m.otherRSA.N.Bytes())), good), observe.AuthSignature},
		{"jwk of no key", rs256(m.otherRSA, `{"alg":"RS256","jwk":{"kty":"oct","k":"AA"}}`, good), observe.AuthMalformed},
		{"x5c", rs256(m.otherRSA, `{"alg":"RS256","x5c":["AAAA"]}`, good), observe.AuthMalformed},
		{"psychic signature", in + "." + zeros, observe.AuthSignature},
		{"r and s beyond the order", in + "." + b64(append(order.FillBytes(make([]byte, 32)), order.FillBytes(make([]byte, 32))...)), observe.AuthSignature},
		{"s is the order", in + "." + b64(highS), observe.AuthSignature},
		{"signature in DER", in + "." + b64(der), observe.AuthSignature},
		{"signature a byte short", in + "." + b64(sig[:63]), observe.AuthSignature},
		{"signature a byte long", in + "." + b64(append(bytes.Clone(sig), 0)), observe.AuthSignature},
		{"Ed25519 of zeros", ed[:strings.LastIndexByte(ed, '.')] + "." + zeros, observe.AuthSignature},
		// 333 of 342 characters: no base64 ends so. (After 334 it does, if four bits of a signature happen to be zero.)
		{"RS256 truncated", rs[:len(rs)-9], observe.AuthMalformed},
		{"RS256 a byte short", rsIn + "." + b64(rawSig[:255]), observe.AuthSignature},
		{"RS256 with a zero before", rsIn + "." + b64(append([]byte{0}, rawSig...)), observe.AuthSignature},
		{"PSS called RS256", m.ps256(rsaHeader, good), observe.AuthSignature},
		{"PS256 is not the issuer's", m.ps256(`{"alg":"PS256","kid":"rsa"}`, good), observe.AuthAlgorithm},
		{"RS384 is not the issuer's", m.rs256(`{"alg":"RS384","kid":"rsa"}`, good), observe.AuthAlgorithm},
		{"payload of another token", input(rsaHeader, claimsText(`,"admin":true`)) + "." + rsSig, observe.AuthSignature},
		{"header of another token", b64([]byte(`{"alg":"RS256"}`)) + rs[strings.IndexByte(rs, '.'):], observe.AuthSignature},
		{"another issuer's name", hs256(m.secret, `{"alg":"HS256"}`, strings.Replace(good, idp, "nobody", 1)), observe.AuthIssuer},
		{"signed by one, named as the other", m.rs256(rsaHeader, strings.Replace(good, idp, "machines", 1)), observe.AuthAlgorithm},
	}
	for _, none := range []string{`"none"`, `"None"`, `"NONE"`, `"nOnE"`, `"none "`, `"\u006eone"`, `"rs256"`, `"RS256\u0000"`, `" RS256"`} {
		list = append(list,
			attack{"alg " + none, input(`{"alg":`+none+`}`, good) + "." + rsSig, observe.AuthAlgorithm},
			attack{"alg " + none + " without a signature", input(`{"alg":`+none+`}`, good) + ".", observe.AuthMalformed})
	}
	return list
}

// misshapen are attacks on the form.
func misshapen(m *mint) []attack {
	const bad = observe.AuthMalformed
	good := claimsText("")
	rs := m.rs256(rsaHeader, good)
	parts := strings.Split(rs, ".")
	head := func(header string) string { return m.rs256(header, good) }
	body := func(payload string) string { return m.rs256(rsaHeader, payload) }
	// The last character of 256 bytes in base64 has four bits that mean nothing.
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", rs[len(rs)-1])
	bent := rs[:len(rs)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last|1])
	wide := utf16.Encode([]rune(good))
	var utf16LE []byte
	for _, u := range wide {
		utf16LE = append(utf16LE, byte(u), byte(u>>8))
	}
	list := []attack{
		{"nothing", "", bad}, {"dots", "..", bad}, {"one part", parts[0], bad},
		{"two parts", parts[0] + "." + parts[1], bad}, {"four parts", rs + "." + parts[2], bad},
		{"five parts, as encrypted", rs + "." + parts[2] + "." + parts[2], bad},
		{"no signature", parts[0] + "." + parts[1] + ".", bad},
		{"no payload", parts[0] + ".." + parts[2], bad}, {"no header", "." + parts[1] + "." + parts[2], bad},
		{"padded", parts[0] + "=." + parts[1] + "==." + parts[2] + "==", bad},
		{"base64 that is not canonical", bent, bad},
		{"base64 of the other alphabet", strings.NewReplacer("-", "+", "_", "/").Replace(rs) + "+", bad},
		{"a line end", rs[:40] + "\n" + rs[40:], bad}, {"a blank", rs[:40] + " " + rs[40:], bad}, {"a NUL", rs[:40] + "\x00" + rs[40:], bad},
		{"percent", rs[:40] + "%41" + rs[41:], bad}, {"a comma", rs + "," + rs, bad},
		{"as JSON", fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0], parts[2]), bad},
		{"giant", m.rs256(rsaHeader, claimsText(`,"x":"`+strings.Repeat("x", maxToken)+`"`)), bad},
		{"giant header", m.rs256(`{"alg":"RS256","x":"`+strings.Repeat("x", maxToken)+`"}`, good), bad},
		{"deep", body(claimsText(`,"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000))), observe.AuthAllowed},
		{"deep and open", body(claimsText(`,"x":` + strings.Repeat("[", 5000))), bad},
		{"crit unknown", head(`{"alg":"RS256","crit":["exp"],"exp":1}`), bad},
		{"crit empty", head(`{"alg":"RS256","crit":[]}`), bad}, {"crit null", head(`{"alg":"RS256","crit":null}`), bad},
		{"b64 false", parts[0] + "." + good + "." + parts[2], bad},
		{"b64 false in crit", head(`{"alg":"RS256","b64":false,"crit":["b64"]}`), bad},
		{"b64 false alone", head(`{"alg":"RS256","b64":false}`), bad}, {"b64 true", head(`{"alg":"RS256","b64":true}`), bad},
		{"zip", head(`{"alg":"RS256","zip":"DEF"}`), bad},
		{"nested", m.rs256(`{"alg":"RS256","cty":"JWT"}`, rs), bad},
		{"nested without cty", m.rs256(rsaHeader, rs), bad},
		{"alg twice", head(`{"alg":"RS256","alg":"RS256"}`), bad}, {"alg twice, escaped", head(`{"alg":"RS256","\u0061lg":"none"}`), bad},
		{"kid twice", head(`{"alg":"RS256","kid":"rsa","kid":"ec"}`), bad},
		{"a name twice in the header's depth", head(`{"alg":"RS256","x":{"a":1,"a":2}}`), bad},
		{"alg is a list", head(`{"alg":["RS256"]}`), bad}, {"alg is null", head(`{"alg":null}`), bad}, {"no alg", head(`{"kid":"rsa"}`), bad},
		{"alg in other case", head(`{"ALG":"RS256"}`), bad},
		{"typ of another kind", head(`{"alg":"RS256","typ":"logout+jwt"}`), bad}, {"typ is a number", head(`{"alg":"RS256","typ":1}`), bad},
		{"header is a list", head(`[]`), bad}, {"header is a text", head(`"RS256"`), bad}, {"header is null", head(`null`), bad},
		{"header has a tail", head(`{"alg":"RS256"}{}`), bad}, {"header is no UTF-8", head("{\"alg\":\"RS256\",\"x\":\"\xff\"}"), bad},
		{"header has a mark before", head("\ufeff{\"alg\":\"RS256\"}"), bad}, {"header has blanks before", head(" {\"alg\":\"RS256\"}"), bad},
		{"payload is a list", body(`[1]`), bad}, {"payload is a text", body(`"x"`), bad}, {"payload is null", body(`null`), bad},
		{"payload is a number", body(`1`), bad}, {"payload has a tail", body(good + "x"), bad}, {"payload has another", body(good + good), bad},
		{"payload is no UTF-8", body(claimsText(",\"x\":\"\xff\"")), bad}, {"payload is UTF-16", body(string(utf16LE)), bad},
		{"exp twice", body(claimsText(`,"exp":99999999999`)), bad}, {"sub twice, escaped", body(claimsText(`,"\u0073ub":"root"`)), bad},
		{"a name twice in depth", body(claimsText(`,"x":[{"a":1,"a":2}]`)), bad},
	}
	return list
}

// untrue are tokens that are signed well and say what must not be believed.
func untrue(m *mint) []attack {
	const bad = observe.AuthClaims
	now := moment.Unix()
	says := func(from, to string) string {
		text := claimsText("")
		if !strings.Contains(text, from) {
			panic("BUG: " + from)
		}
		return m.rs256(rsaHeader, strings.Replace(text, from, to, 1))
	}
	exp := func(v string) string { return says(fmt.Sprintf(`"exp":%d`, now+600), `"exp":`+v) }
	nbf := func(v string) string { return says(fmt.Sprintf(`"nbf":%d`, now-600), `"nbf":`+v) }
	aud := func(v string) string { return says(`"aud":"`+here+`"`, `"aud":`+v) }
	sub := func(v string) string { return says(`"sub":"user-1"`, `"sub":`+v) }
	iss := func(v string) string { return says(`"iss":"`+idp+`"`, `"iss":`+v) }
	more := func(v string) string { return m.rs256(rsaHeader, claimsText(v)) }
	return []attack{
		{"expired", exp(fmt.Sprint(now - 31)), observe.AuthExpired}, {"expired just now", exp(fmt.Sprint(now - 30)), observe.AuthExpired},
		{"exp 0", exp("0"), observe.AuthExpired}, {"exp negative", exp("-1"), bad}, {"exp a text", exp(`"99999999999"`), bad},
		{"exp huge", exp("1e308"), bad}, {"exp beyond numbers", exp("1e400"), bad}, {"exp of a hundred digits", exp(strings.Repeat("9", 100)), bad},
		{"exp true", exp("true"), bad}, {"exp null", exp("null"), bad}, {"exp a list", exp("[99999999999]"), bad}, {"exp NaN", exp("NaN"), observe.AuthMalformed},
		{"exp a hexadecimal number", exp("0x7fffffffff"), observe.AuthMalformed},
		{"no exp", says(fmt.Sprintf(`"exp":%d,`, now+600), ""), bad}, {"EXP", says(`"exp":`, `"EXP":`), bad},
		{"not yet", nbf(fmt.Sprint(now + 31)), observe.AuthNotYet}, {"nbf a text", nbf(`"0"`), bad}, {"nbf huge", nbf("1e300"), bad},
		{"issued in the future", says(fmt.Sprintf(`"iat":%d`, now-600), fmt.Sprintf(`"iat":%d`, now+3600)), observe.AuthNotYet},
		{"iat a list", says(fmt.Sprintf(`"iat":%d`, now-600), `"iat":[]`), bad},
		{"for others", aud(`"billing"`), observe.AuthAudience}, {"for many others", aud(`["billing","shop"]`), observe.AuthAudience},
		{"aud empty", aud(`[]`), observe.AuthAudience}, {"aud null", aud(`null`), bad}, {"aud a number", aud(`1`), bad},
		{"aud with a number", aud(`["orders",1]`), bad}, {"aud an object", aud(`{"orders":1}`), bad}, {"aud in other case", aud(`"Orders"`), observe.AuthAudience},
		{"aud a part", aud(`"order"`), observe.AuthAudience}, {"no aud", says(`"aud":"`+here+`",`, ""), observe.AuthAudience},
		{"iss with a slash", iss(`"` + idp + `/"`), observe.AuthIssuer}, {"iss in other case", iss(`"HTTPS://idp.test"`), observe.AuthIssuer},
		{"iss a list", iss(`["` + idp + `"]`), bad}, {"iss null", iss("null"), bad}, {"no iss", says(`"iss":"`+idp+`",`, ""), observe.AuthIssuer},
		{"sub a number", sub("1"), bad}, {"sub empty", sub(`""`), bad}, {"sub null", sub("null"), bad}, {"no sub", says(`"sub":"user-1",`, ""), bad},
		{"sub with a line end", sub(`"a\r\nX-Admin: 1"`), bad}, {"sub with a NUL", sub(`"user-1\u0000"`), bad}, {"sub half a character", sub(`"\ud800"`), bad},
		{"sub too long", sub(`"` + strings.Repeat("a", maxConsumer+1) + `"`), bad},
		{"sub of a consumer that it may not be", sub(`"boss"`), observe.AuthConsumer},
		{"groups an object", more(`,"groups":{"root":true}`), bad}, {"groups with a number", more(`,"groups":["a",1]`), bad},
		{"groups with a line end", more(`,"groups":["a\n"]`), bad}, {"roles a number", more(`,"roles":1`), bad}, {"scope a number", more(`,"scope":7`), bad},
		{"scope with a control", more(`,"scope":"a\u0001b"`), bad},
	}
}

func TestTokenAttacksAreRefused(t *testing.T) {
	p := world(t, 1024)
	m := minted()
	// What follows is worth nothing if good tokens are refused, too.
	es, sig := m.es256(`{"alg":"ES256","kid":"ec"}`, claimsText(""))
	for _, c := range []struct{ name, token, consumer string }{
		{"RS256", m.rs256(rsaHeader, claimsText("")), "user-1"},
		{"RS256 without kid and typ", m.rs256(`{"alg":"RS256"}`, claimsText("")), "user-1"},
		{"x5t is passed over", m.rs256(`{"alg":"RS256","kid":"rsa","x5t":"AAAA","jku":"http://x"}`, claimsText("")), "user-1"},
		{"application/at+jwt", m.rs256(`{"alg":"RS256","typ":"application/AT+JWT"}`, claimsText("")), "user-1"},
		{"ES256", es + "." + b64(sig), "user-1"},
		{"EdDSA", m.eddsa(`{"alg":"EdDSA","kid":"ed"}`, claimsText("")), "user-1"},
		{"HS256", hs256(m.secret, `{"alg":"HS256"}`, strings.Replace(claimsText(""), idp, "machines", 1)), "machine:user-1"},
		{"a list of audiences", m.rs256(rsaHeader, strings.Replace(claimsText(""), `"orders"`, `["x","orders"]`, 1)), "user-1"},
		{"within the leeway", m.rs256(rsaHeader, strings.Replace(claimsText(""), fmt.Sprint(moment.Unix()+600), fmt.Sprint(moment.Unix()-29), 1)), "user-1"},
		{"a fraction of a second", m.rs256(rsaHeader, strings.Replace(claimsText(""), fmt.Sprint(moment.Unix()+600), "1.8000001005e9", 1)), "user-1"},
	} {
		for range 2 { // the second time by the cache
			if r := p.judge(c.token, "first", "second"); r.outcome != observe.AuthAllowed || r.identity.Consumer != c.consumer {
				t.Fatalf("%s: %s", c.name, r.outcome)
			}
		}
	}
	seen := map[string]bool{}
	for kind, list := range map[string][]attack{"forged": forged(m), "misshapen": misshapen(m), "untrue": untrue(m)} {
		for _, a := range list {
			if seen[kind+a.name] {
				t.Errorf("two attacks are called %q", a.name)
			}
			seen[kind+a.name] = true
			for range 2 {
				r := p.judge(a.token, "first", "second")
				if r.outcome != a.want || (r.identity != nil) != (a.want == observe.AuthAllowed) {
					t.Errorf("%s: %s: %s, want %s", kind, a.name, r.outcome, a.want)
				}
			}
		}
	}
	t.Logf("%d attacks", len(seen))
	if r := p.judge(hs256(m.secret, `{"alg":"HS256"}`, strings.Replace(claimsText(""), idp, "machines", 1)), "first"); r.outcome != observe.AuthIssuer {
		t.Errorf("a token that is cached for one route is taken at another: %s", r.outcome)
	}
}

// A good token with any one byte changed is no good token, cached or not.
func TestAnyChangedByteIsRefused(t *testing.T) {
	p := world(t, 1024)
	token := minted().rs256(rsaHeader, claimsText(""))
	if r := p.judge(token, "first"); r.outcome != observe.AuthAllowed {
		t.Fatal(r.outcome)
	}
	for i := range token {
		for _, c := range []byte{token[i] ^ 1, token[i] ^ 0x20, 'A', '.'} {
			changed := token[:i] + string(c) + token[i+1:]
			if changed != token {
				if r := p.judge(changed, "first"); r.outcome == observe.AuthAllowed {
					t.Fatalf("byte %d changed from %q to %q is taken", i, token[i], c)
				}
			}
		}
	}
}
