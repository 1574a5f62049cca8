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
type header struct {
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
	Type      string `json:"typ"`
	Content   string `json:"cty"`

	Critical json.RawMessage `json:"crit"`
	Base64   json.RawMessage `json:"b64"`
	Zip      json.RawMessage `json:"zip"`
}

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
	if !isObject(raw) || json.Unmarshal(raw, h) != nil {
		return false
	}
	if !uniqueNames(raw) || h.Critical != nil || h.Base64 != nil || h.Zip != nil {
		return false
	}
	// cty says that the payload is a token itself; what is nested is not read.
	return h.Algorithm != "" && h.Content == ""
}

func isObject(raw []byte) bool {
	return len(raw) > 1 && raw[0] == '{' && utf8.Valid(raw)
}

// uniqueNames tells whether JSON has no object, at any depth, with a name twice;
// the decoder refuses those.
func uniqueNames(raw []byte) bool {
	var all any
	return json.Unmarshal(raw, &all) == nil
}

// kind is a typ as it is compared: in small letters, without "application/".
func kind(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}
