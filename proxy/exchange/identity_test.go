package exchange

import "testing"

func TestIdentityVariables(t *testing.T) {
	id := NewIdentity(Identity{
		Consumer: "acme", Credential: "jwt", Issuer: "https://idp.test", Subject: "42",
		Groups: []string{"silver", "gold", "gold"}, Roles: []string{"reader"}, Scopes: []string{"write", "read"},
	}, []Var{{"sub", "42"}, {"https://idp.test/Plan", "big"}, {"aud", "a,b"}})
	ex := Acquire(nil, &Conn{})
	defer Release(ex)
	for _, c := range []struct{ name, before, want string }{
		{"consumer", "", "acme"},
		{"consumer_credential", "", "jwt"},
		{"consumer_group", "", "gold"},
		{"consumer_groups", "", "gold,silver"},
		{"consumer_roles", "", "reader"},
		{"consumer_scopes", "", "read write"},
		{"consumer_key", "", ""},
		{"jwt_issuer", "", "https://idp.test"},
		{"jwt_subject", "", "42"},
		{"jwt_claim_sub", "", "42"},
		{"jwt_claim_https___idp_test_plan", "", "big"},
		{"jwt_claim_none", "", ""},
	} {
		if !KnownVariable(c.name) {
			t.Errorf("$%s is not known", c.name)
		}
		ex.Identify(nil)
		if got := string(ex.AppendVariable(nil, c.name)); got != c.before {
			t.Errorf("$%s of nobody is %q", c.name, got)
		}
		ex.Identify(id)
		if got := string(ex.AppendVariable(nil, c.name)); got != c.want {
			t.Errorf("$%s is %q, want %q", c.name, got, c.want)
		}
	}
	if ex.Record.Consumer != "acme" || id.Claim("https://idp.test/Plan") != "big" || id.Claim("none") != "" {
		t.Error("the record or a claim by its own name is wrong")
	}
	if KnownVariable("jwt_claim_") || KnownVariable("consumer_none") {
		t.Error("names are known that have no value ever")
	}
}

// A pooled exchange must not know its former client.
func TestReleaseForgetsTheIdentity(t *testing.T) {
	ex := Acquire(nil, &Conn{})
	ex.Identify(NewIdentity(Identity{Consumer: "a", Credential: "api_key"}, nil))
	ex.Identify(NewIdentity(Identity{Consumer: "b", Credential: "api_key"}, nil))
	Release(ex)
	if ex.Identity != nil || ex.TakeFormer() != nil || ex.Record.Consumer != "" {
		t.Error("the identity outlived its exchange")
	}
}
