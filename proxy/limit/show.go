package limit

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// concealed stands for a value that is, or may be, a credential.
const concealed = "***"

// conceal marks the parts whose values may be credentials: cookies, and what is
// called as if it were one.
func (k *keys) conceal(credentials []string) {
	credential := func(name string) bool {
		name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		return slices.ContainsFunc(credentials, func(c string) bool { return strings.ReplaceAll(c, "_", "-") == name }) ||
			slices.ContainsFunc(telling, func(word string) bool { return strings.Contains(name, word) })
	}
	for i := range k.parts {
		p := &k.parts[i]
		switch p.kind {
		case partHeader:
			p.secret = credential(p.name)
		case partCookie:
			p.secret = true
		case partArg:
			p.secret = credential(strings.TrimPrefix(p.name, "arg_"))
		case partTemplate:
			for _, v := range p.template.Parts() {
				p.secret = p.secret || secretVariable(v.Variable, credential)
			}
		}
	}
}

// telling are words in the names of fields that hold credentials.
var telling = []string{"authorization", "cookie", "token", "secret", "password", "api-key", "apikey", "session"}

// secretVariable tells whether a variable may have a credential in it.
func secretVariable(name string, credential func(name string) bool) bool {
	switch name {
	case "request_uri", "request", "args", "query_string":
		return true
	}
	for _, prefix := range [...]string{"http_", "arg_"} {
		if rest, found := strings.CutPrefix(name, prefix); found {
			return credential(rest)
		}
	}
	return strings.HasPrefix(name, "cookie_")
}

// text shows a key to people: its parts, "-" for one that is missing.
func (k *keys) text(key []byte) string {
	var parts []string
	for i := 0; len(key) > 0 && i < len(k.parts); i++ {
		length, n := binary.Uvarint(key)
		if n <= 0 || length > uint64(len(key)-n) {
			return strings.Join(append(parts, "..."), " ")
		}
		value := key[n : n+int(length)]
		key = key[n+int(length):]
		switch {
		case length == 0:
			parts = append(parts, "-")
		case k.parts[i].secret:
			parts = append(parts, concealed)
		case k.parts[i].kind == partIP:
			parts = append(parts, k.network(value))
		default:
			parts = append(parts, string(value))
		}
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, " ")
}

func (k *keys) network(value []byte) string {
	if addr, ok := netip.AddrFromSlice(value); ok && addr.Is4() {
		if k.v4 == 32 {
			return addr.String()
		}
		return netip.PrefixFrom(addr, k.v4).String()
	}
	var full [16]byte
	copy(full[:], value)
	return netip.PrefixFrom(netip.AddrFrom16(full), k.v6).String()
}
