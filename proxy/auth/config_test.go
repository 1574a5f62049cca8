package auth

import (
	"slices"
	"strings"
	"testing"

	"perigee/proxy/unit"
)

func paths(problems []unit.Problem) string {
	var all []string
	for _, p := range problems {
		all = append(all, p.Path)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func good() Issuer {
	var i Issuer
	i.SetDefaults()
	i.Issuer, i.Audiences, i.Algorithms = "https://idp.test", []string{"here"}, []string{"HS256"}
	i.Keys = []SigningKey{{Secret: unit.NewSecret(strings.Repeat("s", 32))}}
	return i
}

func TestCheckIssuer(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(i *Issuer)
		want string
	}{
		{"good", func(*Issuer) {}, ""},
		{"no algorithm", func(i *Issuer) { i.Algorithms = nil }, "issuers.a.algorithms issuers.a.keys[0]"},
		{"none", func(i *Issuer) { i.Algorithms = append(i.Algorithms, "NonE") }, "issuers.a.algorithms issuers.a.algorithms[1]"},
		{"mixed", func(i *Issuer) { i.Algorithms = append(i.Algorithms, "RS256") }, "issuers.a.algorithms"},
		{"unknown algorithm", func(i *Issuer) { i.Algorithms = append(i.Algorithms, "RS1") }, "issuers.a.algorithms issuers.a.algorithms[1]"},
		{"nobody's tokens", func(i *Issuer) { i.Audiences = nil }, "issuers.a"},
		{"all audiences and some", func(i *Issuer) { i.AnyAudience = true }, "issuers.a.any_audience"},
		{"leeway", func(i *Issuer) { i.Leeway = unit.Duration(11 * 60e9) }, "issuers.a.leeway"},
		{"no keys", func(i *Issuer) { i.Keys = nil }, "issuers.a"},
		{"short secret", func(i *Issuer) { i.Keys[0].Secret = unit.NewSecret("short") }, "issuers.a.keys[0]"},
		{"secret too short for the hash", func(i *Issuer) { i.Algorithms = []string{"HS512"} }, "issuers.a.keys[0]"},
		{"two in one", func(i *Issuer) { i.Keys[0].PEM = "x" }, "issuers.a.keys[0]"},
		{"no PEM", func(i *Issuer) { i.Keys[0] = SigningKey{PEM: "x"} }, "issuers.a.keys[0]"},
		{"no URL", func(i *Issuer) { i.JWKS = new(JWKS); i.JWKS.SetDefaults(); i.JWKS.URL = "ftp://x/y" }, "issuers.a.jwks.url"},
		{"a password in the URL", func(i *Issuer) {
			i.JWKS = new(JWKS)
			i.JWKS.SetDefaults()
			i.JWKS.URL = "https://me:secret@x/y"
		}, "issuers.a.jwks.url"},
		{"no pause", func(i *Issuer) {
			i.JWKS = new(JWKS)
			i.JWKS.SetDefaults()
			i.JWKS.URL, i.JWKS.Refresh = "https://x/y", 0
		}, "issuers.a.jwks.refresh"},
		{"nameless claim", func(i *Issuer) { i.Consumer = "" }, "issuers.a.consumer"},
	} {
		issuer := good()
		c.edit(&issuer)
		var s Settings
		s.SetDefaults()
		s.Issuers = map[string]Issuer{"a": issuer}
		problems := s.Check()
		if got := paths(problems); got != c.want {
			t.Errorf("%s: problems at %q, want %q", c.name, got, c.want)
		}
		for _, p := range problems {
			if strings.Contains(p.Message, "sss") || strings.Contains(p.Message, "secret@") {
				t.Errorf("%s: the message has the secret: %s", c.name, p.Message)
			}
		}
	}
}

func TestCheckRoute(t *testing.T) {
	issuers := map[string]Issuer{"a": good()}
	for _, c := range []struct {
		name   string
		config Config
		want   string
	}{
		{"nothing", Config{}, ""},
		{"key", Config{APIKey: &APIKey{}}, "-"},
		{"all of one", Config{APIKey: &APIKey{}, Require: RequireAll}, "require"},
		{"all of two", Config{APIKey: &APIKey{}, JWT: &JWT{}, Require: RequireAll}, "-"},
		{"external", Config{External: &External{Consumer: unit.MustTemplate("$who")}}, "-"},
		{"external of nobody", Config{External: &External{}}, "external.consumer"},
		{"unknown issuer", Config{JWT: &JWT{Issuers: []string{"a", "b"}}}, "jwt.issuers[1]"},
		{"header", Config{APIKey: &APIKey{Header: "a b"}}, "api_key.header"},
		{"realm", Config{APIKey: &APIKey{}, Realm: `a"b`}, "realm"},
		{"empty word", Config{APIKey: &APIKey{}, Allow: Allow{Groups: []string{""}}}, "allow"},
		{"headers", Config{APIKey: &APIKey{}, Headers: map[string]unit.Template{"a b": unit.MustTemplate("x")}}, "headers.a b"},
	} {
		problems := c.config.Check(issuers)
		if got := paths(problems); got != strings.TrimPrefix(c.want, "-") && !strings.Contains(got, "a b") {
			t.Errorf("%s: problems at %q, want %q", c.name, got, c.want)
		}
		if (len(problems) == 0) != (c.want == "-") {
			t.Errorf("%s: %d problems", c.name, len(problems))
		}
	}
	twins := map[string]Issuer{"a": good(), "b": good()}
	if got := paths((&Config{JWT: &JWT{}}).Check(twins)); got != "jwt.issuers" {
		t.Errorf("two of one name: problems at %q", got)
	}
	if got := paths((&Config{JWT: &JWT{Issuers: []string{"b"}}}).Check(twins)); got != "" {
		t.Errorf("one of two: problems at %q", got)
	}
	if got := paths((&Config{JWT: &JWT{}}).Check(nil)); got != "jwt" {
		t.Errorf("no issuers: problems at %q", got)
	}
}

func TestCheckConsumers(t *testing.T) {
	plain := func(s string) Key { return Key{Plain: unit.NewSecret(s)} }
	problems := CheckConsumers(map[string]Consumer{
		"a": {Keys: []Key{plain("one"), plain("one")}},
		"b": {Keys: []Key{plain("one"), {}, {SHA256: unit.NewSecret("abc")}, {Plain: unit.NewSecret("two"), Expires: "soon"}}},
		"c": {Groups: []string{""}}, "d": {Issuers: []string{"none"}}, "": {},
	}, nil)
	want := `[""] a.keys[1] b.keys[0] b.keys[1] b.keys[2] b.keys[3] c d.issuers[0]`
	if got := paths(problems); got != want {
		t.Errorf("problems at %q, want %q", got, want)
	}
}

func TestParseContent(t *testing.T) {
	for _, c := range []struct{ name, text, err string }{
		{"nothing", "", ""},
		{"both", "consumers: {a: {groups: [g], keys: [{plain: one}]}}\nkeys: [{plain: two, consumer: b, id: x}]", ""},
		{"unknown key", "keys: []\nkyes: [{plain: secretvalue}]", "at line 2"},
		{"wrong shape", "keys:\n  - secretvalue", "at line 2"},
		{"no owner", "keys: [{plain: secretvalue}]", "key 1: consumer name"},
		{"twice", "keys: [{plain: secretvalue, consumer: a}, {plain: secretvalue, consumer: b}]", `key 2: the key is one of consumer "a" already`},
		{"no YAML", "keys: [{plain: secretvalue", "not understood"},
		{"two documents", "keys: []\n---\nkeys: []", "second YAML document"},
	} {
		_, err := parseContent([]byte(c.text))
		switch {
		case (err == nil) != (c.err == ""):
			t.Errorf("%s: %v", c.name, err)
		case err != nil && (!strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "secretvalue")):
			t.Errorf("%s: %v, want %q in it and no value", c.name, err, c.err)
		}
	}
}
