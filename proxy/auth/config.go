package auth

import (
	"fmt"
	"sort"
	"strings"

	"perigee/proxy/unit"
)

// Settings is the auth block of the file: what the routes' auth blocks share.
type Settings struct {
	// ConsumersFile is a YAML file with more consumers and keys ({consumers:
	// {NAME: {...}}, keys: [{sha256: ..., consumer: NAME}]}). It is read again
	// when it changes; one that cannot be used leaves the former content in force.
	ConsumersFile string `yaml:"consumers_file,omitempty" config:"path"`
	// Reread is how often files of keys and consumers are looked at. Default 2s.
	Reread unit.Duration `yaml:"reread"`
	// Issuers are those whose tokens are believed, by a name for routes to use.
	Issuers map[string]Issuer `yaml:"issuers,omitempty"`
	// TokenCache is how many verified tokens are remembered until they expire, so
	// that one that comes again costs no signature check. Default 16384; 0: none.
	TokenCache int `yaml:"token_cache"`
}

// SetDefaults sets the sizes and times.
func (s *Settings) SetDefaults() { s.Reread, s.TokenCache = unit.Duration(2e9), 16384 }

// Consumer is one who asks: a customer, a program, a team.
type Consumer struct {
	// Groups, roles and scopes are words for rules, limits and scripts.
	Groups []string `yaml:"groups,omitempty"`
	// Roles are asked for by allow.roles and deny.roles.
	Roles []string `yaml:"roles,omitempty"`
	// Scopes are asked for by allow.scopes.
	Scopes []string `yaml:"scopes,omitempty"`
	// Keys are the consumer's API keys.
	Keys []Key `yaml:"keys,omitempty"`
	// Issuers are names of auth.issuers whose tokens may name this consumer, and
	// get its groups, roles and scopes beside their own. Tokens of others that
	// name it are refused.
	Issuers []string `yaml:"issuers,omitempty"`
}

// Key is one API key. The key itself need not be in any file: its SHA-256 is
// enough (printf %s KEY | sha256sum).
type Key struct {
	// SHA256 is the SHA-256 of the key, 64 hexadecimal digits. It is masked in
	// dumps: a short key could be guessed from it.
	SHA256 unit.Secret `yaml:"sha256,omitempty"`
	// Plain is the key itself, for keys that are in a secret store already:
	// plain: ${file:/run/secrets/key}.
	Plain unit.Secret `yaml:"plain,omitempty"`
	// ID names the key among its consumer's, for logs and $consumer_key. It is no
	// secret.
	ID string `yaml:"id,omitempty"`
	// Expires is the first moment at which the key is refused: 2027-01-31 (UTC), or
	// 2027-01-31T12:00:00Z. Default never.
	Expires string `yaml:"expires,omitempty"`
}

// Config is a route's auth block: who may ask, and how they say who they are.
type Config struct {
	// APIKey takes API keys.
	APIKey *APIKey `yaml:"api_key,omitempty"`
	// JWT takes JSON Web Tokens.
	JWT *JWT `yaml:"jwt,omitempty"`
	// External takes who asks from variables: what a rewrite script has looked up,
	// or a client's certificate says.
	External *External `yaml:"external,omitempty"`
	// Require says whether any one of the methods is enough (default), or all of
	// them are needed. A credential that is shown must be good in both cases.
	Require Require `yaml:"require,omitempty"`
	// Optional lets requests pass that show nothing, as nobody: $consumer is empty.
	Optional bool `yaml:"optional,omitempty"`
	// Allow lets those pass who fit all of its lists. Default: everybody who is
	// known.
	Allow Allow `yaml:"allow,omitempty"`
	// Deny keeps those out who are in any of its lists.
	Deny Deny `yaml:"deny,omitempty"`
	// Headers are set for the upstream from who was found out, variables
	// evaluated: {X-Consumer: $consumer, X-Plan: $jwt_claim_plan}. What a client
	// sends under these names is always removed.
	Headers map[string]unit.Template `yaml:"headers,omitempty"`
	// Realm is what challenges name (WWW-Authenticate). Default perigee.
	Realm string `yaml:"realm,omitempty"`
}

// SetDefaults sets any.
func (c *Config) SetDefaults() { c.Require, c.Realm = RequireAny, "perigee" }

// String says in words what clients must show.
func (c *Config) String() string {
	var methods []string
	if c.APIKey != nil {
		methods = append(methods, "an API key")
	}
	if c.JWT != nil {
		methods = append(methods, "a token")
	}
	if c.External != nil {
		methods = append(methods, c.External.Consumer.String())
	}
	word := " or "
	if c.Require == RequireAll {
		word = " and "
	}
	text := strings.Join(methods, word)
	if c.Optional {
		text += ", or nothing"
	}
	return text
}

// methods counts the ways to show who one is.
func (c *Config) methods() (n int) {
	for _, has := range [...]bool{c.APIKey != nil, c.JWT != nil, c.External != nil} {
		if has {
			n++
		}
	}
	return n
}

// Require says how many of the methods are needed.
type Require string

// The words.
const (
	RequireAny Require = "any"
	RequireAll Require = "all"
)

// Values are the words that are accepted.
func (Require) Values() []string { return []string{string(RequireAny), string(RequireAll)} }

// APIKey is the api_key block. The keys of consumers and of auth.consumers_file
// are always known.
type APIKey struct {
	// Header has the key. Default X-Api-Key, if neither query nor cookie is given.
	Header string `yaml:"header,omitempty"`
	// Scheme is a word before the key in the header: ApiKey for "Authorization:
	// ApiKey 123". Default none.
	Scheme string `yaml:"scheme,omitempty"`
	// Query is a query argument that may have the key. Access lines mask it.
	Query string `yaml:"query,omitempty"`
	// Cookie is a cookie that may have the key.
	Cookie string `yaml:"cookie,omitempty"`
	// KeysFile is a file as auth.consumers_file is, for this route alone.
	KeysFile string `yaml:"keys_file,omitempty" config:"path"`
	// Redis is where keys are looked up that are in no file.
	Redis *Redis `yaml:"redis,omitempty"`
	// Lua is a script that is asked in its place.
	Lua *Script `yaml:"lua,omitempty"`
	// Forward leaves the key in the request that is sent on. Default false: the
	// upstream does not see it.
	Forward bool `yaml:"forward,omitempty"`
}

// JWT is the jwt block.
type JWT struct {
	// Issuers are the names of auth.issuers that are believed here. Default all.
	Issuers []string `yaml:"issuers,omitempty"`
	// Header has the token after "Bearer". Default Authorization, if neither query
	// nor cookie is given.
	Header string `yaml:"header,omitempty"`
	// Scheme is the word before the token. Default Bearer; "none": there is no word.
	Scheme string `yaml:"scheme,omitempty"`
	// Query is a query argument that may have the token. Access lines mask it.
	Query string `yaml:"query,omitempty"`
	// Cookie is a cookie that may have the token.
	Cookie string `yaml:"cookie,omitempty"`
	// Forward leaves the token in the request that is sent on. Default false: the
	// upstream does not see it.
	Forward bool `yaml:"forward,omitempty"`
}

// External is the external block. What its variables say is believed: they must
// not be made of what clients can write.
type External struct {
	// Consumer is who asks; empty: nobody is known. $ssl_client_s_dn, or a variable
	// that a rewrite script sets. Groups, roles and scopes of a consumer that is
	// configured under this name are added.
	Consumer unit.Template `yaml:"consumer"`
	// Groups are the consumer's groups, with commas between them.
	Groups unit.Template `yaml:"groups,omitempty"`
	// Roles are the consumer's roles, with commas between them.
	Roles unit.Template `yaml:"roles,omitempty"`
	// Scopes are the consumer's scopes, with blanks or commas between them.
	Scopes unit.Template `yaml:"scopes,omitempty"`
}

// Allow is the allow block: one must fit each of the lists that are given.
type Allow struct {
	// Consumers are names; being one of them fits.
	Consumers []string `yaml:"consumers,omitempty"`
	// Groups are groups; being in one of them fits.
	Groups []string `yaml:"groups,omitempty"`
	// Roles are roles; having one of them fits.
	Roles []string `yaml:"roles,omitempty"`
	// Scopes are scopes; having all of them fits.
	Scopes []string `yaml:"scopes,omitempty"`
}

// Deny is the deny block.
type Deny struct {
	// Consumers are names that are kept out.
	Consumers []string `yaml:"consumers,omitempty"`
	// Groups are groups whose members are kept out.
	Groups []string `yaml:"groups,omitempty"`
	// Roles are roles whose bearers are kept out.
	Roles []string `yaml:"roles,omitempty"`
}

// problem collects what is wrong.
type problems []unit.Problem

func (p *problems) add(path, hint, format string, args ...any) {
	*p = append(*p, unit.Problem{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// Check reports what cannot work in a route's block. issuers are the names of
// the file's issuers.
func (c *Config) Check(issuers map[string]Issuer) []unit.Problem {
	var p problems
	switch methods := c.methods(); {
	case methods == 0:
		p.add("", "add api_key: {} or jwt: {}", "nothing says how clients show who they are")
	case c.Require == RequireAll && methods < 2:
		p.add("require", "add another one, or remove require", "all of one method is any")
	}
	if e := c.External; e != nil && e.Consumer.IsZero() {
		p.add("external.consumer", "name a variable, such as $ssl_client_s_dn", "nothing says who asks")
	}
	if strings.ContainsFunc(c.Realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		p.add("realm", "write plain letters", "realm %q cannot stand between quotes", c.Realm)
	}
	if k := c.APIKey; k != nil {
		p.place("api_key", k.Header, k.Scheme, k.Cookie)
		if k.Redis != nil {
			k.Redis.check("api_key.redis", &p)
		}
		if k.Lua != nil {
			k.Lua.check("api_key.lua", &p)
		}
		if k.Redis != nil && k.Lua != nil {
			p.add("api_key.lua", "keep one of them", "keys are asked for in Redis already")
		}
	}
	if j := c.JWT; j != nil {
		p.place("jwt", j.Header, j.Scheme, j.Cookie)
		for i, name := range j.Issuers {
			if _, ok := issuers[name]; !ok {
				p.add(fmt.Sprintf("jwt.issuers[%d]", i), "auth.issuers has "+list(issuers), "there is no issuer %q", name)
			}
		}
		p.distinct(j.Issuers, issuers)
		if len(issuers) == 0 {
			p.add("jwt", "add auth: {issuers: {...}} to the file", "no issuer is believed, so that every token would be refused")
		}
	}
	p.lists("allow", [][]string{c.Allow.Consumers, c.Allow.Groups, c.Allow.Roles, c.Allow.Scopes})
	p.lists("deny", [][]string{c.Deny.Consumers, c.Deny.Groups, c.Deny.Roles})
	return append(p, unit.CheckHeaders("headers", c.Headers)...)
}

// distinct reports issuers of one route that a token cannot be told apart by.
func (p *problems) distinct(names []string, issuers map[string]Issuer) {
	if len(names) == 0 {
		for name := range issuers {
			names = append(names, name)
		}
		sort.Strings(names)
	}
	seen := map[string]string{}
	for _, name := range names {
		text := issuers[name].Issuer
		if other, twice := seen[text]; twice {
			p.add("jwt.issuers", "name one of them", "%s and %s are both the issuer %q", other, name, text)
		}
		seen[text] = name
	}
}

func (p *problems) lists(path string, lists [][]string) {
	for _, words := range lists {
		for _, word := range words {
			if word == "" {
				p.add(path, "remove it", "an empty name stands in a list")
			}
		}
	}
}

// place checks where a credential is looked for.
func (p *problems) place(path, header, scheme, cookie string) {
	for _, word := range [...]struct{ key, text string }{{"header", header}, {"scheme", scheme}, {"cookie", cookie}} {
		if word.text != "" && !unit.IsToken(word.text) {
			p.add(path+"."+word.key, "write one word without blanks", "%s %q is not one word", word.key, word.text)
		}
	}
}

func list[T any](m map[string]T) string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	if len(names) == 0 {
		return "none"
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

// Check reports what cannot work in the file's block.
func (s *Settings) Check() []unit.Problem {
	var p problems
	if s.Reread.Std() <= 0 {
		p.add("reread", "remove the key for 2s", `duration "0" would look at files without a pause`)
	}
	if s.TokenCache < 0 || s.TokenCache > 1<<22 {
		p.add("token_cache", "16384 tokens suit most sites", "token_cache %d is not between 0 and 4194304", s.TokenCache)
	}
	names := make([]string, 0, len(s.Issuers))
	for name := range s.Issuers {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		issuer := s.Issuers[name]
		issuer.check(unit.Join("issuers", name), &p)
	}
	return p
}

// CheckConsumers reports what cannot work among the file's consumers; the key
// tables are checked when they are built.
func CheckConsumers(consumers map[string]Consumer, issuers map[string]Issuer) []unit.Problem {
	var p problems
	names := make([]string, 0, len(consumers))
	for name := range consumers {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for i, issuer := range consumers[name].Issuers {
			if _, ok := issuers[issuer]; !ok {
				p.add(fmt.Sprintf("%s.issuers[%d]", unit.Join("", name), i), "auth.issuers has "+list(issuers), "there is no issuer %q", issuer)
			}
		}
	}
	t := newTable()
	for _, name := range names {
		if err := t.addConsumer(name, consumers[name]); err != nil {
			p.add(unit.Join("", name), "", "%s", err)
			continue
		}
		for i := range consumers[name].Keys {
			if err := t.addKey(name, &consumers[name].Keys[i]); err != nil {
				p.add(fmt.Sprintf("%s.keys[%d]", unit.Join("", name), i), "", "%s", err)
			}
		}
	}
	return p
}
