package auth

import (
	"bytes"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
)

// claims is a token's payload.
type claims map[string]any

// readClaims decodes a payload, strictly as a header is.
func readClaims(payload []byte) (claims, bool) {
	if !isObject(payload) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.SetNumberType(json.UnmarshalJSONNumber)
	var c claims
	if d.Decode(&c) != nil || c == nil {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false // something follows the object
	}
	return c, true
}

// text is a claim that is a text, if it is there.
func (c claims) text(name string) (value string, ok bool) {
	v, there := c[name]
	if !there {
		return "", true
	}
	value, ok = v.(string)
	return value, ok
}

// lastSecond bounds times: the end of the year 9999.
const lastSecond = 253402300799

// time is a claim that is a time (RFC 7519's NumericDate), missing if it is not
// there.
func (c claims) time(name string, missing float64) (at float64, ok bool) {
	v, there := c[name]
	if !there {
		return missing, true
	}
	number, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	at, err := strconv.ParseFloat(number.String(), 64)
	return at, err == nil && at >= 0 && at <= lastSecond
}

// find is the value at a claim's name or path.
func (c claims) find(path string) (any, bool) {
	if !strings.HasPrefix(path, "/") {
		v, ok := c[path]
		return v, ok
	}
	var at any = map[string]any(c)
	for _, name := range strings.Split(path[1:], "/") {
		object, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		name = strings.ReplaceAll(strings.ReplaceAll(name, "~1", "/"), "~0", "~")
		if at, ok = object[name]; !ok {
			return nil, false
		}
	}
	return at, true
}

// words is a claim that is a text or a list of texts. split: a text has many,
// with blanks between them.
func (c claims) words(path string, split bool) (list []string, ok bool) {
	v, there := c.find(path)
	if !there || v == nil {
		return nil, true
	}
	switch v := v.(type) {
	case string:
		if split {
			return strings.Fields(v), printable(v)
		}
		return []string{v}, v != "" && printable(v)
	case []any:
		for _, item := range v {
			word, ok := item.(string)
			if !ok || word == "" || !printable(word) {
				return nil, false
			}
			list = append(list, word)
		}
		return list, true
	}
	return nil, false
}

// printable tells whether a text is free of control characters, and of the mark
// that stands for what was no character.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' })
}

// maxConsumer is the longest name that a token may give.
const maxConsumer = 256

// judge checks the registered claims (RFC 7519 §4.1) at a moment. until is when
// the token stops being good.
func (c claims) judge(i *issuer, now time.Time) (until time.Time, outcome observe.AuthOutcome) {
	const bad = observe.AuthClaims
	seconds := float64(now.UnixNano()) / 1e9
	leeway := i.config.Leeway.Std().Seconds()
	exp, ok := c.time("exp", lastSecond)
	if _, there := c["exp"]; !ok || !there && !i.config.WithoutExpiry {
		return until, bad
	}
	nbf, ok := c.time("nbf", 0)
	if !ok {
		return until, bad
	}
	iat, ok := c.time("iat", 0)
	if !ok {
		return until, bad
	}
	switch {
	case seconds >= exp+leeway:
		return until, observe.AuthExpired
	case seconds < nbf-leeway, seconds < iat-leeway:
		return until, observe.AuthNotYet
	}
	if outcome := c.audience(i); outcome != observe.AuthAllowed {
		return until, outcome
	}
	return time.Unix(0, int64(math.Min((exp+leeway)*1e9, math.MaxInt64/2))), observe.AuthAllowed
}

// audience checks aud: a text or a list of texts.
func (c claims) audience(i *issuer) observe.AuthOutcome {
	v, there := c["aud"]
	var list []string
	switch v := v.(type) {
	case string:
		list = []string{v}
	case []any:
		for _, item := range v {
			word, ok := item.(string)
			if !ok {
				return observe.AuthClaims
			}
			list = append(list, word)
		}
	default:
		if there {
			return observe.AuthClaims
		}
	}
	if i.config.AnyAudience {
		return observe.AuthAllowed
	}
	for _, name := range list {
		if slices.Contains(i.config.Audiences, name) {
			return observe.AuthAllowed
		}
	}
	return observe.AuthAudience
}

// identity makes the identity of a verified token.
func (c claims) identity(i *issuer, known *table) (*exchange.Identity, observe.AuthOutcome) {
	const bad = observe.AuthClaims
	subject, ok := c.text("sub")
	if !ok {
		return nil, bad
	}
	name, _ := c.find(i.config.Consumer)
	consumer, ok := name.(string)
	if !ok || consumer == "" || len(consumer) > maxConsumer || !printable(consumer) {
		return nil, bad
	}
	consumer = i.config.ConsumerPrefix + consumer
	id := exchange.Identity{
		Consumer: consumer, Credential: observe.AuthJWT.String(), Issuer: i.config.Issuer, Subject: clean(subject),
	}
	scopes := i.config.Scopes
	if scopes == "" {
		if scopes = "scope"; c["scope"] == nil {
			scopes = "scp"
		}
	}
	for _, part := range [...]struct {
		path  string
		split bool
		list  *[]string
	}{{i.config.Groups, false, &id.Groups}, {i.config.Roles, false, &id.Roles}, {scopes, true, &id.Scopes}} {
		if *part.list, ok = c.words(part.path, part.split); !ok {
			return nil, bad
		}
	}
	if own, configured := known.consumers[consumer]; configured {
		if !slices.Contains(own.Issuers, i.name) {
			return nil, observe.AuthConsumer
		}
		id.Groups = append(id.Groups, own.Groups...)
		id.Roles = append(id.Roles, own.Roles...)
		id.Scopes = append(id.Scopes, own.Scopes...)
	}
	return exchange.NewIdentity(id, c.vars()), observe.AuthAllowed
}

// vars are the claims as texts.
func (c claims) vars() []exchange.Var {
	vars := make([]exchange.Var, 0, len(c))
	for name, value := range c {
		vars = append(vars, exchange.Var{Name: name, Value: claimText(value)})
	}
	slices.SortFunc(vars, func(a, b exchange.Var) int { return strings.Compare(a.Name, b.Name) })
	return vars
}

// claimText is a value as variables and headers show it.
func claimText(value any) string {
	switch v := value.(type) {
	case string:
		return clean(v)
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case nil:
		return ""
	case []any:
		words := make([]string, 0, len(v))
		for _, item := range v {
			switch item.(type) {
			case string, json.Number, bool:
				words = append(words, claimText(item))
			default:
				return asJSON(value)
			}
		}
		return strings.Join(words, ",")
	}
	return asJSON(value)
}

func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(text)
}

// clean makes blanks of control characters: the text may become part of a head.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
