package exchange

import (
	"slices"
	"strings"
)

// Identity is who asks, as the auth filter found out. It belongs to the
// credential and is shared by all exchanges that show it: nobody changes one
// once it is made.
type Identity struct {
	// Consumer is the name that limits, logs and rules know; never empty.
	Consumer string
	// Credential is what was shown: "api_key", "jwt", "external" or "several".
	Credential string
	// Key names the API key among the consumer's, as its entry does; it is no
	// secret. Empty without one.
	Key string
	// Issuer and Subject are iss and sub of a token; empty without one.
	Issuer, Subject string
	// Groups, Roles and Scopes are sorted.
	Groups, Roles, Scopes []string

	vars   []Var // sorted by name
	claims []Var
}

// ClaimPrefix begins the names of variables that are claims of a token.
const ClaimPrefix = "jwt_claim_"

// identityNames are the variables that every identity has.
var identityNames = []string{
	"consumer", "consumer_credential", "consumer_group", "consumer_groups", "consumer_key",
	"consumer_roles", "consumer_scopes", "jwt_issuer", "jwt_subject",
}

// NewIdentity completes an identity of which the exported fields are set. claims
// are texts of a token's claims by name; the identity keeps them.
func NewIdentity(id Identity, claims []Var) *Identity {
	for _, list := range []*[]string{&id.Groups, &id.Roles, &id.Scopes} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	group := ""
	if len(id.Groups) > 0 {
		group = id.Groups[0]
	}
	id.vars = []Var{
		{"consumer", id.Consumer}, {"consumer_credential", id.Credential},
		{"consumer_group", group}, {"consumer_groups", strings.Join(id.Groups, ",")},
		{"consumer_key", id.Key}, {"consumer_roles", strings.Join(id.Roles, ",")},
		{"consumer_scopes", strings.Join(id.Scopes, " ")},
		{"jwt_issuer", id.Issuer}, {"jwt_subject", id.Subject},
	}
	id.claims = claims
	for _, c := range claims {
		if name := ClaimPrefix + variableName(c.Name); !slices.ContainsFunc(id.vars, func(v Var) bool { return v.Name == name }) {
			id.vars = append(id.vars, Var{name, c.Value})
		}
	}
	id.vars = slices.DeleteFunc(id.vars, func(v Var) bool { return v.Value == "" })
	slices.SortFunc(id.vars, func(a, b Var) int { return strings.Compare(a.Name, b.Name) })
	return &id
}

// variableName makes a claim's name one that can follow a dollar: letters become
// small, what is neither letter nor digit becomes "_".
func variableName(claim string) string {
	b := []byte(claim)
	for i, c := range b {
		switch {
		case c >= 'A' && c <= 'Z':
			b[i] = c | 0x20
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		default:
			b[i] = '_'
		}
	}
	return string(b)
}

// Vars are the identity's variables: $consumer and its like, and a $jwt_claim_x
// for each claim. id may be nil: there are none.
func (id *Identity) Vars() []Var {
	if id == nil {
		return nil
	}
	return id.vars
}

// Var is the value of one of Vars; empty if there is none. id may be nil.
func (id *Identity) Var(name string) string {
	if id == nil {
		return ""
	}
	at, found := slices.BinarySearchFunc(id.vars, name, func(v Var, name string) int { return strings.Compare(v.Name, name) })
	if !found {
		return ""
	}
	return id.vars[at].Value
}

// Claim is the text of a token's claim by its own name; empty if there is none.
// Lists of texts are joined by commas, objects are JSON. id may be nil.
func (id *Identity) Claim(name string) string {
	if id == nil {
		return ""
	}
	for i := range id.claims {
		if id.claims[i].Name == name {
			return id.claims[i].Value
		}
	}
	return ""
}

// Name is the consumer; empty for nobody. id may be nil.
func (id *Identity) Name() string {
	if id == nil {
		return ""
	}
	return id.Consumer
}

// identityVariable tells whether a name is one of an identity's variables.
func identityVariable(name string) bool {
	return strings.HasPrefix(name, ClaimPrefix) && len(name) > len(ClaimPrefix) || slices.Contains(identityNames, name)
}

// Identify makes id the identity of the exchange; nil: nobody is known.
func (ex *Exchange) Identify(id *Identity) {
	if ex.Identity != nil && ex.Identity != id {
		ex.former = ex.Identity
	}
	ex.Identity = id
	ex.Record.Consumer = id.Name()
	ex.Stale = true
}

// TakeFormer returns the identity that the exchange had before this one and
// forgets it: whoever copied its variables takes them back. nil: none.
func (ex *Exchange) TakeFormer() *Identity {
	id := ex.former
	ex.former = nil
	return id
}

// Claims are the texts of a token's claims by their own names. Callers must not
// change them. id may be nil.
func (id *Identity) Claims() []Var {
	if id == nil {
		return nil
	}
	return id.claims
}
