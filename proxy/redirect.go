package proxy

import (
	"bytes"

	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// rewriteRedirect replaces addresses that only the endpoint knows in the fields
// that send a client elsewhere: the first rule that fits counts.
func rewriteRedirect(ex *exchange.Exchange, rules []exchange.Redirect) {
	ex.Place.Redirected = false
	for i := range ex.UpRes.Fields {
		f := &ex.UpRes.Fields[i]
		name, value := f.Name.Of(ex.UpRaw), f.Value.Of(ex.UpRaw)
		at := 0
		switch {
		case f.ID == wire.FieldLocation:
		case f.ID == wire.FieldOther && exchange.SameName(name, refresh):
			if at = bytes.Index(value, []byte("url=")) + len("url="); at < len("url=") {
				continue
			}
		default:
			continue
		}
		ex.Scratch = append(ex.Scratch[:0], value[:at]...)
		if !appendRedirect(ex, rules, value[at:]) {
			continue
		}
		ex.Place.Redirected = ex.Place.Redirected || at == 0
		ex.Place.Altered = true
		ex.Resp.Set(string(name), ex.Scratch)
	}
}

var refresh = []byte("refresh")

// appendRedirect appends to Scratch what a rule makes of an address; false: none
// fits.
func appendRedirect(ex *exchange.Exchange, rules []exchange.Redirect, address []byte) bool {
	for i := range rules {
		r := &rules[i]
		if r.Match != nil {
			groups := r.Match.FindSubmatchIndex(address)
			if groups == nil {
				continue
			}
			kept := ex.Captures
			ex.Captures = nil
			ex.SetCaptures(address, groups)
			ex.Scratch = ex.AppendTemplate(ex.Scratch, r.To)
			ex.Captures = kept
			return true
		}
		start := len(ex.Scratch)
		ex.Scratch = ex.AppendTemplate(ex.Scratch, r.From)
		from := len(ex.Scratch) - start
		fits := bytes.HasPrefix(address, ex.Scratch[start:])
		ex.Scratch = ex.Scratch[:start]
		if fits {
			ex.Scratch = append(ex.AppendTemplate(ex.Scratch, r.To), address[from:]...)
			return true
		}
	}
	return false
}

// hides tells whether a field of an endpoint's answer is not passed on.
func hides(names []string, field []byte) bool {
	for _, name := range names {
		if exchange.SameName(field, []byte(name)) {
			return true
		}
	}
	return false
}
