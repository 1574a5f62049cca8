package auth

import (
	"bytes"
	"slices"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/wire"
)

// place is where a credential is looked for. Credentials are read as the client
// sent them: what scripts and filters made of the request has no say.
type place struct {
	header  string
	id      wire.FieldID // of header
	scheme  string       // before it in the header; "": none
	query   string
	cookie  string
	forward bool
}

func newPlace(header, scheme, query, cookie, fallback string) place {
	if header == "" && query == "" && cookie == "" {
		header = fallback
	}
	return place{header: header, id: wire.LookupField([]byte(header)), scheme: scheme, query: query, cookie: cookie}
}

// find returns the credential, lent by the request or by ex.Scratch. The outcome
// is AuthAllowed for one that was found, AuthMissing for none, or why it cannot
// be used.
func (p *place) find(ex *exchange.Exchange) ([]byte, observe.AuthOutcome) {
	f := found{outcome: observe.AuthMissing}
	for i := range ex.Head.Fields {
		field := &ex.Head.Fields[i]
		switch {
		case p.header != "" && field.ID == p.id && (p.id != wire.FieldOther || exchange.SameName(field.Name.Of(ex.Raw), []byte(p.header))):
			p.inHeader(&f, wire.TrimOWS(field.Value.Of(ex.Raw)))
		case p.cookie != "" && field.ID == wire.FieldCookie:
			p.inCookies(&f, field.Value.Of(ex.Raw))
		}
	}
	if p.query != "" {
		p.inQuery(&f, ex)
	}
	if f.outcome == observe.AuthAllowed && len(f.value) == 0 {
		f.outcome = observe.AuthMalformed
	}
	return f.value, f.outcome
}

// found is a credential as far as it was found.
type found struct {
	value   []byte
	outcome observe.AuthOutcome
}

// add notes a credential; a second one makes both worthless, for nobody knows
// which of them others will read.
func (f *found) add(value []byte) {
	if f.outcome != observe.AuthMissing {
		f.value, f.outcome = nil, observe.AuthDuplicate
		return
	}
	f.value, f.outcome = value, observe.AuthAllowed
}

// inHeader reads a field's value. Another scheme than the one wanted is a
// credential for others.
func (p *place) inHeader(f *found, value []byte) {
	if p.scheme == "" {
		f.add(value)
		return
	}
	word, rest, _ := bytes.Cut(value, []byte{' '})
	if !exchange.SameName(word, []byte(p.scheme)) {
		return
	}
	f.add(bytes.TrimLeft(rest, " "))
}

func (p *place) inCookies(f *found, line []byte) {
	for len(line) > 0 {
		var pair []byte
		pair, line = cut(line, ';')
		if name, value := cut(trimBlanks(pair), '='); string(name) == p.cookie {
			f.add(unquote(value))
		}
	}
}

func (p *place) inQuery(f *found, ex *exchange.Exchange) {
	_, query := cut(ex.Head.Target.Of(ex.Raw), '?')
	hide := false
	for len(query) > 0 {
		var pair []byte
		pair, query = cut(query, '&')
		name, value := cut(pair, '=')
		start := len(ex.Scratch)
		ex.Scratch = exchange.AppendUnescaped(ex.Scratch, name)
		same := string(ex.Scratch[start:]) == p.query
		ex.Scratch = ex.Scratch[:start]
		if same {
			hide = true
			ex.Scratch = exchange.AppendUnescaped(ex.Scratch, value)
			f.add(ex.Scratch[start:])
		}
	}
	if hide {
		ex.HideArgument(p.query)
	}
}

// remove takes the credential out of the request that is sent on.
func (p *place) remove(ex *exchange.Exchange) {
	if p.forward {
		return
	}
	if p.header != "" && p.sent(ex.RequestHeader(p.header)) {
		ex.DelRequestHeader(p.header)
		ex.HeadEdited = true
	}
	if p.cookie != "" {
		p.removeCookie(ex)
	}
	if p.query != "" {
		ex.RemoveArgument(p.query)
	}
}

// sent tells whether a field's value is a credential of this place.
func (p *place) sent(value []byte) bool {
	if p.scheme == "" {
		return value != nil
	}
	word, _ := cut(value, ' ')
	return exchange.SameName(word, []byte(p.scheme))
}

func (p *place) removeCookie(ex *exchange.Exchange) {
	line := ex.RequestHeader("cookie")
	if !bytes.Contains(line, []byte(p.cookie)) {
		return
	}
	var kept []byte
	for len(line) > 0 {
		var pair []byte
		pair, line = cut(line, ';')
		pair = trimBlanks(pair)
		if name, _ := cut(pair, '='); string(name) == p.cookie || len(pair) == 0 {
			continue
		}
		if len(kept) > 0 {
			kept = append(kept, "; "...)
		}
		kept = append(kept, pair...)
	}
	ex.HeadEdited = true
	if len(kept) == 0 {
		ex.DelRequestHeader("cookie")
		return
	}
	ex.SetRequestHeader("cookie", kept)
}

func cut(b []byte, at byte) (before, after []byte) {
	if i := bytes.IndexByte(b, at); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

func trimBlanks(b []byte) []byte { return bytes.Trim(b, " \t") }

func unquote(value []byte) []byte {
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		return value[1 : n-1]
	}
	return value
}

// member tells whether a list, which is short, has a word of another.
func member(words, of []string) bool {
	for _, word := range words {
		if slices.Contains(of, word) {
			return true
		}
	}
	return false
}
