package limit

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"perigee/proxy/exchange"
	"perigee/proxy/unit"
)

// partKind is what a part of a key is made of.
type partKind uint8

const (
	partTemplate partKind = iota
	partConsumer
	partGroup
	partRoles
	partAPIKey
	partIP
	partRoute
	partUpstream
	partMethod
	partHost
	partPath
	partHeader
	partCookie
	partArg
	partClaim
	partLua
)

var plainParts = map[string]partKind{
	"consumer": partConsumer, "group": partGroup, "roles": partRoles, "api_key": partAPIKey,
	"ip": partIP, "route": partRoute, "upstream": partUpstream, "method": partMethod,
	"host": partHost, "path": partPath,
}

var namedParts = map[string]partKind{
	"header": partHeader, "cookie": partCookie, "arg": partArg, "claim": partClaim,
}

const partHint = "write consumer, group, roles, api_key, ip, route, upstream, method, host, path, header:NAME, cookie:NAME, arg:NAME, claim:NAME, a text with $variables or {lua: SCRIPT}"

// KeyPart is one part of a key.
type KeyPart struct {
	// Text is consumer, group, roles, api_key, ip, route, upstream, method, host,
	// path, header:NAME, cookie:NAME, arg:NAME, claim:NAME, or a text with
	// variables.
	Text unit.Template `yaml:"text,omitempty" config:"short"`
	// Lua is a script that returns the part, a string or a number; anything else
	// means that it is not there. It runs in the access stage, behind auth unless
	// the limit charges auth_failure, and may wait. A module's function:
	// return require("tenants").key(). Operators see what it returns.
	Lua *unit.Source `yaml:"lua,omitempty"`
}

// text shows the part as it is configured.
func (p *KeyPart) text() string {
	if p.Lua != nil {
		return "lua"
	}
	return p.Text.String()
}

// KeyScript is a script that returns a part of a key.
type KeyScript struct {
	// Path is where it stands in the route.
	Path string
	// Place is that of its value in exchange.Limits.Computed.
	Place  int
	Script *unit.Source
	// Guards: the limit is one of auth failures.
	Guards bool
}

// Scripts are those of all keys, in the order in which they run.
func (r Rules) Scripts() (all []KeyScript) {
	for i := range r {
		for j := range r[i].Key {
			if s := r[i].Key[j].Lua; s != nil {
				all = append(all, KeyScript{fmt.Sprintf("limit[%d].key[%d].lua", i, j), len(all), s, r[i].Guards()})
			}
		}
	}
	return all
}

// Compute takes a script's value as the part of a key that has that place.
func Compute(ex *exchange.Exchange, place int) {
	text := ex.Value.Text
	if ex.Value.Fields {
		text = nil // a table is no part of a key
	}
	ex.Limits.Compute(place, text)
}

// place is how many scripts stand before the i-th rule's.
func (r Rules) place(i int) (n int) {
	for j := range r[:i] {
		for k := range r[j].Key {
			if r[j].Key[k].Lua != nil {
				n++
			}
		}
	}
	return n
}

// checkKey checks the parts of the key.
func (r *Rule) checkKey(say report) {
	for i := range r.Key {
		at := fmt.Sprintf("key[%d]", i)
		if s := r.Key[i].Lua; s != nil {
			if !r.Key[i].Text.IsZero() {
				say(at, "a part of a key is a text or a script", "make two parts of it")
			}
			for _, p := range s.Check(at + ".lua") {
				say(p.Path, p.Message, p.Hint)
			}
			continue
		}
		p, err := parsePart(r.Key[i].Text)
		if err != nil {
			say(at, err.Error(), partHint)
		} else if r.Guards() && p.ofIdentity() {
			say(at, fmt.Sprintf("%s is not known before auth", r.Key[i].Text), "use ip, a header or what else a client sends")
		}
	}
}

// part is one part of a key.
type part struct {
	kind     partKind
	name     string // of a header, cookie, ...; of a variable
	template unit.Template
	place    int  // of a script's value
	secret   bool // its values are shown to nobody
}

// ofIdentity tells whether the part says who asks.
func (p *part) ofIdentity() bool {
	switch p.kind {
	case partConsumer, partGroup, partRoles, partAPIKey, partClaim:
		return true
	}
	return false
}

func parsePart(t unit.Template) (part, error) {
	text, literal := t.Literal()
	if !literal {
		return part{template: t}, nil
	}
	if kind, ok := plainParts[text]; ok {
		return part{kind: kind}, nil
	}
	if kind, name, found := strings.Cut(text, ":"); found && name != "" {
		if k, ok := namedParts[kind]; ok {
			if k == partCookie || k == partArg {
				name = map[partKind]string{partCookie: "cookie_", partArg: "arg_"}[k] + name
			}
			return part{kind: k, name: name}, nil
		}
	}
	return part{}, fmt.Errorf("key %q is nothing that requests are told apart by", text)
}

// keys makes keys of exchanges.
type keys struct {
	parts  []part
	v4, v6 int // bits of addresses
}

// newKeys makes the keys of a rule; place is that of its first script's value.
func newKeys(r *Rule, place int) (keys, error) {
	k := keys{v4: 32, v6: 64}
	if r.IPv4Prefix != nil {
		k.v4 = *r.IPv4Prefix
	}
	if r.IPv6Prefix != nil {
		k.v6 = *r.IPv6Prefix
	}
	for i := range r.Key {
		if r.Key[i].Lua != nil {
			k.parts = append(k.parts, part{kind: partLua, place: place})
			place++
			continue
		}
		p, err := parsePart(r.Key[i].Text)
		if err != nil {
			return k, err
		}
		k.parts = append(k.parts, p)
	}
	return k, nil
}

// append appends an exchange's key: each part with its length before it, so that
// no two keys are the same that are told apart. missing: a part is not there.
func (k *keys) append(dst []byte, ex *exchange.Exchange) (key []byte, missing bool) {
	for i := range k.parts {
		// One byte is room for the length of most parts.
		at := len(dst)
		dst = k.appendPart(append(dst, 0), ex, &k.parts[i])
		length := len(dst) - at - 1
		if length == 0 {
			missing = true
		}
		if length < 0x80 {
			dst[at] = byte(length)
			continue
		}
		var size [binary.MaxVarintLen64]byte
		n := binary.PutUvarint(size[:], uint64(length))
		dst = append(dst, size[:n-1]...) // room; what it holds is overwritten
		copy(dst[at+n:], dst[at+1:at+1+length])
		copy(dst[at:], size[:n])
	}
	return dst, missing
}

func (k *keys) appendPart(dst []byte, ex *exchange.Exchange, p *part) []byte {
	switch p.kind {
	case partConsumer:
		return append(dst, ex.Record.Consumer...)
	case partGroup:
		return append(dst, ex.Identity.Var("consumer_group")...)
	case partRoles:
		return append(dst, ex.Identity.Var("consumer_roles")...)
	case partAPIKey:
		return append(dst, ex.Identity.Var("consumer_key")...)
	case partIP:
		return k.appendIP(dst, ex.Record.Client.Addr())
	case partRoute:
		return append(dst, ex.Record.Route...)
	case partUpstream:
		if ex.Route.Group != nil {
			dst = append(dst, ex.Route.Group.Name()...)
		}
		return dst
	case partMethod:
		return append(dst, ex.Req.Method()...)
	case partHost:
		return append(dst, ex.Host...)
	case partPath:
		return append(dst, ex.Path...)
	case partHeader:
		return append(dst, ex.RequestHeader(p.name)...)
	case partClaim:
		return append(dst, ex.Identity.Claim(p.name)...)
	case partCookie, partArg:
		return ex.AppendVariable(dst, p.name)
	case partLua:
		return append(dst, ex.Limits.Computed[p.place]...)
	}
	return ex.AppendTemplate(dst, p.template)
}

// appendIP appends the network of an address, in its bytes. IPv4 written as IPv6
// is IPv4.
func (k *keys) appendIP(dst []byte, addr netip.Addr) []byte {
	addr = addr.Unmap()
	bits := k.v6
	switch {
	case !addr.IsValid():
		return dst
	case addr.Is4():
		bits = k.v4
		if bits == 32 {
			b := addr.As4()
			return append(dst, b[:]...)
		}
	}
	prefix, err := addr.WithZone("").Prefix(bits)
	if err != nil {
		return dst
	}
	if addr.Is4() {
		b := prefix.Addr().As4()
		return append(dst, b[:]...)
	}
	b := prefix.Addr().As16()
	return append(dst, b[:(bits+7)/8]...)
}
