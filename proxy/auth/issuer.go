package auth

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"perigee/proxy/unit"
)

// Issuer is one whose tokens are believed.
type Issuer struct {
	// Issuer is what the tokens' iss says, to the letter. Empty: the issuer of
	// tokens that have no iss.
	Issuer string `yaml:"issuer,omitempty"`
	// Audiences are names of this service: aud of a token must be one of them, or
	// list one.
	Audiences []string `yaml:"audiences,omitempty"`
	// AnyAudience takes tokens for whomever they are meant. Default false: one
	// service could show another's tokens here.
	AnyAudience bool `yaml:"any_audience,omitempty"`
	// Algorithms are those that the issuer signs with: RS256, RS384, RS512, PS256,
	// PS384, PS512, ES256, ES384, ES512, EdDSA; or HS256, HS384, HS512 with a shared
	// secret, but not both kinds. At least one; tokens of others are refused.
	Algorithms []string `yaml:"algorithms"`
	// JWKS is where the issuer publishes its keys.
	JWKS *JWKS `yaml:"jwks,omitempty"`
	// Keys are keys that are written here. They are used beside those of jwks.
	Keys []SigningKey `yaml:"keys,omitempty"`
	// Leeway is how far clocks may be apart: exp, nbf and iat are judged with it.
	// Default 30s.
	Leeway unit.Duration `yaml:"leeway"`
	// WithoutExpiry takes tokens that have no exp. Default false.
	WithoutExpiry bool `yaml:"without_expiry,omitempty"`
	// Types are the typ headers that are taken, without case and without
	// "application/". Default JWT, at+jwt and tokens that have none.
	Types []string `yaml:"types,omitempty"`
	// Consumer is the claim that names the consumer. Default sub. Here and below a
	// name that starts with / is a path of names (a JSON pointer):
	// /realm_access/roles.
	Consumer string `yaml:"consumer"`
	// ConsumerPrefix is put before the claim, to keep the names of one issuer apart
	// from others and from consumers with API keys.
	ConsumerPrefix string `yaml:"consumer_prefix,omitempty"`
	// Groups is the claim with groups, a text or a list of texts. Default groups.
	Groups string `yaml:"groups"`
	// Roles is the claim with roles. Default roles.
	Roles string `yaml:"roles"`
	// Scopes is the claim with scopes, a text with blanks between them or a list.
	// Default scope, or scp where that is missing.
	Scopes string `yaml:"scopes,omitempty"`
}

// SetDefaults sets the usual names of claims.
func (i *Issuer) SetDefaults() {
	i.Leeway = unit.Duration(30e9)
	i.Consumer, i.Groups, i.Roles = "sub", "groups", "roles"
}

// JWKS is a key set (RFC 7517) that is fetched and kept fresh. The last good one
// serves for as long as no better one can be had.
type JWKS struct {
	// URL is http:// or https://. Redirects are not followed.
	URL string `yaml:"url"`
	// CA is a PEM file of authorities for https. Default: the system's.
	CA string `yaml:"ca,omitempty" config:"path"`
	// Refresh is how often the set is fetched. Default 5m. After a failure it is
	// tried again after 1s, 2s, 4s and so on.
	Refresh unit.Duration `yaml:"refresh"`
	// MinRefresh is the shortest time between fetches that are asked for by tokens
	// with an unknown kid. Default 10s.
	MinRefresh unit.Duration `yaml:"min_refresh"`
	// Timeout bounds one fetch. Default 5s.
	Timeout unit.Duration `yaml:"timeout"`
	// Wait is how long a request waits for such a fetch. Default 2s.
	Wait unit.Duration `yaml:"wait"`
}

// SetDefaults sets the times.
func (j *JWKS) SetDefaults() {
	j.Refresh, j.MinRefresh = unit.Duration(5*time.Minute), unit.Duration(10*time.Second)
	j.Timeout, j.Wait = unit.Duration(5*time.Second), unit.Duration(2*time.Second)
}

// SigningKey is a key of an issuer: exactly one of pem, jwks, secret and
// secret_base64.
type SigningKey struct {
	// PEM is a public key or certificate: pem: ${file:issuer.pem}.
	PEM string `yaml:"pem,omitempty"`
	// JWKS is the text of a public key or a set of them in JSON (RFC 7517).
	JWKS string `yaml:"jwks,omitempty"`
	// Secret is the shared secret of HS256 to HS512: at least as many bytes as
	// the algorithm's hash has, 32, 48 or 64.
	Secret unit.Secret `yaml:"secret,omitempty"`
	// SecretBase64 is the same in base64 or base64url.
	SecretBase64 unit.Secret `yaml:"secret_base64,omitempty"`
	// ID is the kid of tokens that are signed by it. Default: any.
	ID string `yaml:"id,omitempty"`
	// Algorithm restricts the key to one of the issuer's algorithms. Default: all
	// that its type can.
	Algorithm string `yaml:"algorithm,omitempty"`
}

var algorithmNames = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512",
}

func (i *Issuer) check(path string, p *problems) {
	if len(i.Algorithms) == 0 {
		p.add(path+".algorithms", "write those that the issuer uses, such as [RS256]", "no algorithm: every token would be refused")
	}
	for n, name := range i.Algorithms {
		at := fmt.Sprintf("%s.algorithms[%d]", path, n)
		switch {
		case strings.EqualFold(name, "none"):
			p.add(at, "remove it", "none is no signature: anybody can make such tokens")
		case !slices.Contains(algorithmNames, name):
			p.add(at, "write some of "+strings.Join(algorithmNames, ", "), "algorithm %q is not known", name)
		}
	}
	if mixed(i.Algorithms) {
		p.add(path+".algorithms", "make two issuers of it", "shared secrets and public keys are mixed: one could be taken for the other")
	}
	if len(i.Audiences) == 0 && !i.AnyAudience {
		p.add(path, "add audiences: [NAME], or any_audience: true", "nothing says for whom this issuer's tokens are meant here")
	}
	if len(i.Audiences) > 0 && i.AnyAudience {
		p.add(path+".any_audience", "remove one of them", "audiences and any_audience contradict each other")
	}
	if i.Leeway.Std() > 10*time.Minute {
		p.add(path+".leeway", "30s suits most clocks", "leeway %q is more than 10m", i.Leeway)
	}
	for _, claim := range [...]struct{ key, text string }{{"consumer", i.Consumer}, {"groups", i.Groups}, {"roles", i.Roles}} {
		if claim.text == "" {
			p.add(path+"."+claim.key, "remove the key for the default", "a claim without a name")
		}
	}
	if i.JWKS == nil && len(i.Keys) == 0 {
		p.add(path, "add jwks: {url: ...} or keys: [{pem: ...}]", "the issuer has no keys")
	}
	if i.JWKS != nil {
		i.JWKS.check(path+".jwks", i.Algorithms, len(i.Keys) > 0, p)
	}
	if _, at, err := inlineKeys(i); err != nil {
		p.add(path+at, "", "%s", err)
	}
}

// mixed tells whether there are algorithms with shared secrets and others.
func mixed(algorithms []string) bool {
	secrets := 0
	for _, name := range algorithms {
		if strings.HasPrefix(name, "HS") {
			secrets++
		}
	}
	return secrets != 0 && secrets != len(algorithms)
}

func (j *JWKS) check(path string, algorithms []string, others bool, p *problems) {
	u, err := url.Parse(j.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		p.add(path+".url", "write https://HOST/PATH", "the url is no http or https address")
	case u.User != nil:
		p.add(path+".url", "remove it: a set of public keys needs none", "the url has a name or a password in it")
	}
	for _, d := range [...]struct {
		key        string
		value      unit.Duration
		least, max time.Duration
	}{
		{"refresh", j.Refresh, time.Millisecond, 7 * 24 * time.Hour}, {"min_refresh", j.MinRefresh, time.Millisecond, time.Hour},
		{"timeout", j.Timeout, time.Millisecond, time.Minute}, {"wait", j.Wait, 0, time.Minute},
	} {
		if d.value.Std() < d.least || d.value.Std() > d.max {
			p.add(path+"."+d.key, "remove the key for the default", "%s %q is not between %s and %s", d.key, d.value, unit.Duration(d.least), unit.Duration(d.max))
		}
	}
	if !slices.ContainsFunc(algorithms, func(name string) bool { return !strings.HasPrefix(name, "HS") }) && !others {
		p.add(path, "use keys: [{secret: ...}] for a shared secret", "a set of public keys signs nothing with %s", strings.Join(algorithms, ", "))
	}
}
