package auth

import (
	"bytes"
	"strings"
	"time"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

// externals is how many identities a route remembers that variables named.
const externals = 4096

// alive stands for the key of identities that no key vouches for, and never is
// their end.
var alive signingKey

var never = time.Unix(lastSecond, 0)

// look reads who asks from variables. What they say is the key under which the
// identity is remembered, so that one that comes again is not made again.
func (e *External) look(ex *exchange.Exchange, seen *tokenCache, known *table) result {
	start := len(ex.Scratch)
	ex.Scratch = ex.AppendTemplate(ex.Scratch, e.Consumer)
	if len(ex.Scratch) == start {
		return result{outcome: observe.AuthMissing}
	}
	for _, t := range [...]*unit.Template{&e.Groups, &e.Roles, &e.Scopes} {
		ex.Scratch = append(ex.Scratch, 0)
		ex.Scratch = ex.AppendTemplate(ex.Scratch, *t)
	}
	text := ex.Scratch[start:]
	if v := seen.get(text, time.Time{}, known); v != nil {
		return result{identity: v.identity, outcome: observe.AuthAllowed}
	}
	if bytes.Count(text, []byte{0}) != 3 {
		return result{outcome: observe.AuthMalformed}
	}
	parts := strings.Split(string(text), "\x00")
	consumer := parts[0]
	if len(consumer) > maxConsumer || !printable(string(text[:len(consumer)])) {
		return result{outcome: observe.AuthMalformed}
	}
	own := known.consumers[consumer]
	id := exchange.NewIdentity(exchange.Identity{
		Consumer: consumer, Credential: observe.AuthExternal.String(),
		Groups: append(clone(own.Groups), words(parts[1], ",")...),
		Roles:  append(clone(own.Roles), words(parts[2], ",")...),
		Scopes: append(clone(own.Scopes), words(parts[3], ", ")...),
	}, nil)
	seen.put(&verified{until: never, key: &alive, known: known, identity: id}, text, time.Time{})
	return result{identity: id, outcome: observe.AuthAllowed}
}

// words are the parts of a text between separators, without blanks around them.
func words(text, separators string) (list []string) {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		if word = clean(strings.TrimSpace(word)); word != "" {
			list = append(list, word)
		}
	}
	return list
}
