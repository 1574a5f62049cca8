package auth

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"

	"perigee/proxy/observe"
)

// maxToken is the longest token in bytes; what is longer is refused unread.
const maxToken = 16 << 10

// token is a signed token in pieces, not verified.
//
//	eyJhbGciOi... . eyJpc3MiOi... . SflKxwRJ...
//	|-- header -|   |-- payload-|   |- signature
type token struct {
	text    []byte // all of it
	header  header
	payload []byte // decoded
}

// header is what is read of a token's header. Keys and addresses in it are not
// among that.
type header struct{ Algorithm, ID, Type string }

// canonical decodes base64url without padding, and only in the one form that
// encoding gives: no line ends, no bits left over.
var canonical = base64.RawURLEncoding.Strict()

// parseToken takes a token apart. It allocates; text is not kept.
func parseToken(text []byte) (t token, outcome observe.AuthOutcome) {
	const bad = observe.AuthMalformed
	t.text = text
	first, second, ok := dots(text)
	if !ok {
		return t, bad
	}
	raw, ok := decodePart(text[:first])
	if !ok || !readHeader(raw, &t.header) {
		return t, bad
	}
	if t.payload, ok = decodePart(text[first+1 : second]); !ok {
		return t, bad
	}
	if _, ok = decodePart(text[second+1:]); !ok {
		return t, bad
	}
	return t, observe.AuthAllowed
}

// dots finds the two dots of a token whose three parts are not empty and of the
// base64url alphabet.
func dots(text []byte) (first, second int, ok bool) {
	if len(text) > maxToken {
		return 0, 0, false
	}
	first, second = -1, -1
	for i, c := range text {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		case c == '.' && first < 0:
			first = i
		case c == '.' && second < 0:
			second = i
		default:
			return 0, 0, false
		}
	}
	return first, second, first > 0 && second > first+1 && second < len(text)-1
}

func decodePart(part []byte) ([]byte, bool) {
	out := make([]byte, canonical.DecodedLen(len(part)))
	n, err := canonical.Decode(out, part)
	return out[:n], err == nil && n > 0
}

// readHeader reads a header, strictly: names once, texts where texts belong, no
// extension that would change what the token means.
func readHeader(raw []byte, h *header) bool {
	var all map[string]any // the decoder refuses a name that comes twice, at any depth
	if !isObject(raw) || json.Unmarshal(raw, &all) != nil {
		return false
	}
	for name, value := range all {
		var text *string
		switch name {
		case "alg":
			text = &h.Algorithm
		case "kid":
			text = &h.ID
		case "typ":
			text = &h.Type
		case "crit", "b64", "zip", "cty": // cty: the payload would be a token itself
			return false
		default:
			continue
		}
		var ok bool
		if *text, ok = value.(string); !ok {
			return false
		}
	}
	return h.Algorithm != ""
}

func isObject(raw []byte) bool {
	return len(raw) > 1 && raw[0] == '{' && utf8.Valid(raw)
}

// kind is a typ as it is compared: in small letters, without "application/".
func kind(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}
