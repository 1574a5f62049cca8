package exchange

import (
	"net/http"

	"perigee/proxy/wire"
)

// ModifiedPolicy is how If-Modified-Since is compared with Last-Modified.
type ModifiedPolicy uint8

// The policies, as nginx's if_modified_since names them.
const (
	ModifiedExact  ModifiedPolicy = iota // the same second: not modified
	ModifiedBefore                       // the same or earlier: not modified
	ModifiedOff                          // always modified
)

// Precondition judges the request's conditions (RFC 9110 §13) by the answer's
// ETag and Last-Modified: 304, 412, or 0 if the answer is to be sent. As in
// nginx only an answer with status 200 is judged, If-Modified-Since and
// If-None-Match must both hold when both are there, and a date that cannot be
// read equals no other.
func (ex *Exchange) Precondition() int {
	if ex.Resp.StatusCode() != 200 || !ex.conditional() {
		return 0
	}
	modified, dated := seconds(ex.Resp.Peek("last-modified"))
	etag := ex.Resp.Peek("etag")
	if ex.RequestHas(wire.FieldIfUnmodifiedSince) {
		since, ok := seconds(ex.RequestHeader("if-unmodified-since"))
		if !dated || !ok || since < modified {
			return 412
		}
	}
	if ex.RequestHas(wire.FieldIfMatch) && !matches(ex.RequestHeader("if-match"), etag, false) {
		return 412
	}
	bySince, byTag := ex.RequestHas(wire.FieldIfModifiedSince), ex.RequestHas(wire.FieldIfNoneMatch)
	if !bySince && !byTag {
		return 0
	}
	if bySince && (!dated || ex.modifiedSince(modified)) {
		return 0
	}
	if byTag && !matches(ex.RequestHeader("if-none-match"), etag, true) {
		return 0
	}
	return 304
}

// conditional tells whether the request may have a condition: mostly it has
// none, which the scanner's bits say.
func (ex *Exchange) conditional() bool {
	return len(ex.added) > 0 || ex.Head.Has(wire.FieldIfModifiedSince) || ex.Head.Has(wire.FieldIfNoneMatch) ||
		ex.Head.Has(wire.FieldIfUnmodifiedSince) || ex.Head.Has(wire.FieldIfMatch)
}

func (ex *Exchange) modifiedSince(modified int64) bool {
	policy := ModifiedExact
	if ex.Route != nil {
		policy = ex.Route.IfModifiedSince
	}
	if policy == ModifiedOff {
		return true
	}
	since, ok := seconds(ex.RequestHeader("if-modified-since"))
	if !ok {
		return true
	}
	return since != modified && (policy == ModifiedExact || since < modified)
}

// InRange tells whether If-Range, if there is one, allows a part of the answer
// to be sent: its entity tag is the answer's and strong, or its date is the
// very same.
func (ex *Exchange) InRange() bool {
	if !ex.RequestHas(wire.FieldIfRange) {
		return true
	}
	condition := ex.RequestHeader("if-range")
	if n := len(condition); n >= 2 && condition[n-1] == '"' {
		return condition[0] == '"' && string(condition) == string(ex.Resp.Peek("etag"))
	}
	since, ok := seconds(condition)
	modified, dated := seconds(ex.Resp.Peek("last-modified"))
	return ok && dated && since == modified
}

// seconds reads a date in one of HTTP's three forms (RFC 9110 §5.6.7).
func seconds(date []byte) (int64, bool) {
	if len(date) == 0 {
		return 0, false
	}
	t, err := http.ParseTime(string(date))
	return t.Unix(), err == nil
}

// matches tells whether a list of entity tags holds the answer's. weak: W/ does
// not count. Without an entity tag only "*" matches.
func matches(list, etag []byte, weak bool) bool {
	if string(list) == "*" {
		return true
	}
	if len(etag) == 0 {
		return false
	}
	if weak {
		etag = strong(etag)
	}
	for len(list) > 0 {
		var tag []byte
		tag, list = nextTag(list)
		if weak {
			tag = strong(tag)
		}
		if len(tag) > 0 && string(tag) == string(etag) {
			return true
		}
	}
	return false
}

func strong(tag []byte) []byte {
	if len(tag) > 2 && tag[0] == 'W' && tag[1] == '/' {
		return tag[2:]
	}
	return tag
}

// nextTag cuts the first entity tag off a list. A comma inside quotes belongs
// to the tag.
func nextTag(list []byte) (tag, rest []byte) {
	quoted := false
	for i, c := range list {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return wire.TrimOWS(list[:i]), list[i+1:]
		}
	}
	return wire.TrimOWS(list), nil
}
