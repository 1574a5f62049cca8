package auth

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

// Examples of RFC 7515, appendix A, and RFC 8037, appendix A.
const (
	joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

	a1Secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
	a1       = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + joe + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

	a2Key = `{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}`
	a2    = "eyJhbGciOiJSUzI1NiJ9." + joe + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"

	a3Key = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	a3    = "eyJhbGciOiJFUzI1NiJ9." + joe + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

	edKey = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	ed    = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

	// A.5, not signed.
	a5 = "eyJhbGciOiJub25lIn0." + joe + "."
)

// ofKeys is an issuer with these keys alone.
func ofKeys(t testing.TB, algorithms []string, keys ...SigningKey) *issuer {
	t.Helper()
	var c Issuer
	c.SetDefaults()
	c.Issuer, c.AnyAudience, c.Algorithms, c.Keys = "joe", true, algorithms, keys
	c.Consumer = "iss"
	inline, _, err := inlineKeys(&c)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{name: "joe", config: c, inline: inline, types: []string{"", "jwt"}}
}

func TestExamplesOfTheStandards(t *testing.T) {
	then := time.Unix(1300819379, 0)
	for _, c := range []struct {
		name, token string
		issuer      *issuer
		want        observe.AuthOutcome
	}{
		{"RFC 7515 A.1", a1, ofKeys(t, []string{"HS256"}, SigningKey{SecretBase64: unit.NewSecret(a1Secret)}), observe.AuthAllowed},
		{"RFC 7515 A.2", a2, ofKeys(t, []string{"RS256"}, SigningKey{JWKS: a2Key}), observe.AuthAllowed},
		{"RFC 7515 A.3", a3, ofKeys(t, []string{"ES256"}, SigningKey{JWKS: a3Key}), observe.AuthAllowed},
		{"RFC 7515 A.5", a5, ofKeys(t, []string{"ES256"}, SigningKey{JWKS: a3Key}), observe.AuthMalformed},
		{"A.1 by another's key", a1, ofKeys(t, []string{"RS256"}, SigningKey{JWKS: a2Key}), observe.AuthAlgorithm},
	} {
		var v verifier
		r := v.verify([]byte(c.token), []*issuer{c.issuer}, newTable(), then)
		if r.outcome != c.want {
			t.Errorf("%s: %s, want %s", c.name, r.outcome, c.want)
		}
		if c.want == observe.AuthAllowed && r.identity.Claim("http://example.com/is_root") != "true" {
			t.Errorf("%s: claims %v", c.name, r.identity.Claims())
		}
	}
	signed, _ := parseToken([]byte(ed)) // its payload is no set of claims
	if _, outcome := ofKeys(t, []string{"EdDSA"}, SigningKey{JWKS: edKey}).check(&signed); outcome != observe.AuthAllowed {
		t.Errorf("RFC 8037 A.4: %s", outcome)
	}
}

// wycheproof is as much of a vector file as is read.
type wycheproof struct {
	TestGroups []struct {
		Comment string          `json:"comment"`
		Public  json.RawMessage `json:"public"`
		Private json.RawMessage `json:"private"`
		Tests   []struct {
			TcID    int      `json:"tcId"`
			Comment string   `json:"comment"`
			JWS     any      `json:"jws"` // a text, or the JSON serialization
			Result  string   `json:"result"`
			Flags   []string `json:"flags"`
		} `json:"tests"`
	} `json:"testGroups"`
}

// differences are vectors that are judged otherwise here, with the reason.
var differences = map[string]string{
	"emptyPayload": "the payload of a token is a JSON object",
	"Figure20":     "its key says alg PS256 and its header PS384",
	"Figure27":     "its key says alg ES521, which is no name of an algorithm",

	"InvalidCharacterInsertedInHeader":  "\"?\" is in no base64",
	"InvalidCharacterInsertedInPayload": "\"?\" is in no base64",
	"invalidBase64Padding":              "there is no padding in it: it is the token of two others",
	"invalidBase64PaddingInPayload":     "there is no padding in it: it is the token of two others",
}

// Wycheproof's vectors, github.com/C2SP/wycheproof: they are not part of this
// repository. PERIGEE_WYCHEPROOF names a copy of that one.
func TestWycheproof(t *testing.T) {
	dir := os.Getenv("PERIGEE_WYCHEPROOF")
	if dir == "" {
		t.Skip("set PERIGEE_WYCHEPROOF to a copy of github.com/C2SP/wycheproof")
	}
	count := map[string]int{}
	for _, name := range []string{"json_web_signature_test", "json_web_key_test", "json_web_crypto_test"} {
		text, err := os.ReadFile(filepath.Join(dir, "testvectors_v1", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var file wycheproof
		if err := json.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		for _, group := range file.TestGroups {
			keys, algorithms := vectorKeys(group.Public, group.Private)
			if mixed(algorithms) {
				keys = nil // such an issuer cannot be configured
			}
			for _, test := range group.Tests {
				if test.JWS == nil {
					continue // encryption
				}
				compact, ok := test.JWS.(string)
				if !ok {
					text, _ := json.Marshal(test.JWS)
					compact = string(text)
				}
				accepted := false
				if signed, outcome := parseToken([]byte(compact)); outcome == observe.AuthAllowed && slices.Contains(algorithms, signed.header.Algorithm) {
					i := &issuer{inline: keys}
					_, outcome := i.check(&signed)
					accepted = outcome == observe.AuthAllowed
				}
				count[test.Result]++
				switch {
				case differences[test.Comment] != "", slices.Contains(test.Flags, "Ambiguous"):
					count["differs"]++
				case accepted != (test.Result == "valid"):
					t.Errorf("%s %d, %s: %s: accepted %t, want %s", name, test.TcID, group.Comment, test.Comment, accepted, test.Result)
				}
			}
		}
	}
	t.Log(count)
}

// vectorKeys reads a group's keys as a configuration would: public ones as a
// set, secrets one by one.
func vectorKeys(public, private json.RawMessage) (keys []*signingKey, algorithms []string) {
	raw := public
	if raw == nil {
		raw = private
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	_ = json.Unmarshal(raw, &set)
	if set.Keys == nil {
		set.Keys = []json.RawMessage{raw}
	}
	for _, one := range set.Keys {
		var jwk struct {
			Kty string `json:"kty"`
			K   string `json:"k"`
			Kid string `json:"kid"`
			Alg string `json:"alg"`
		}
		_ = json.Unmarshal(one, &jwk)
		algorithms = append(algorithms, jwk.Alg)
		key := SigningKey{JWKS: string(one)}
		if jwk.Kty == "oct" {
			key = SigningKey{SecretBase64: unit.NewSecret(jwk.K), ID: jwk.Kid, Algorithm: jwk.Alg}
		}
		if found, err := key.parse(); err == nil {
			keys = append(keys, found...)
		}
	}
	return keys, algorithms
}
