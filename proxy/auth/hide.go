package auth

import (
	"strings"

	"perigee/proxy/exchange"
)

// Hider masks credentials in query arguments before anything else of a route
// can end the request: its line in the access log is written all the same.
type Hider struct{ places []*place }

// Hider is the filter that masks what this one finds in query arguments; nil:
// it looks at none.
func (f *Filter) Hider() *Hider {
	var h Hider
	for _, p := range [...]*place{f.key, f.token} {
		if p != nil && p.query != "" {
			h.places = append(h.places, p)
		}
	}
	if len(h.places) == 0 {
		return nil
	}
	return &h
}

// Name implements exchange.Filter.
func (*Hider) Name() string { return "auth" }

// Step implements exchange.Filter.
func (h *Hider) Step(ex *exchange.Exchange, _ exchange.Stage) exchange.Verdict {
	scratch := len(ex.Scratch)
	for _, p := range h.places {
		var f found
		p.inQuery(&f, ex)
	}
	ex.Scratch = ex.Scratch[:scratch]
	return exchange.Continue
}

// Credentials are the names, in small letters, of the fields, cookies and query
// arguments that may have a credential.
func (c *Config) Credentials() (names []string) {
	add := func(header, query, cookie, fallback string) {
		at := newPlace(header, "", query, cookie, fallback)
		for _, name := range [...]string{at.header, at.query, at.cookie} {
			if name != "" {
				names = append(names, strings.ToLower(name))
			}
		}
	}
	if k := c.APIKey; k != nil {
		add(k.Header, k.Query, k.Cookie, keyHeader)
	}
	if j := c.JWT; j != nil {
		add(j.Header, j.Query, j.Cookie, tokenHeader)
	}
	return names
}

// Where credentials are looked for by default.
const keyHeader, tokenHeader = "X-Api-Key", "Authorization"
