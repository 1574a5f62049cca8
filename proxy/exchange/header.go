package exchange

import (
	"unsafe"

	"github.com/valyala/fasthttp"

	"perigee/proxy/wire"
)

// Fields that fasthttp keeps apart from the others and knows in any spelling.
var (
	setCookie       = []byte(fasthttp.HeaderSetCookie)
	contentType     = []byte(fasthttp.HeaderContentType)
	contentLength   = []byte(fasthttp.HeaderContentLength)
	server          = []byte(fasthttp.HeaderServer)
	hostName        = []byte(fasthttp.HeaderHost)
	contentEncoding = []byte(fasthttp.HeaderContentEncoding)
)

// The heads keep names as they were written (fasthttp's normalizing is off),
// so fasthttp's own Set and Del, which compare bytes, would miss another
// spelling. The functions here ignore case (RFC 9110 §5.1).

// BeginRequest makes Req's first line from the head that arrived. The fields
// follow when somebody needs them: an answer made here never does.
func (ex *Exchange) BeginRequest() {
	ex.Req.SetMethodBytes(ex.Head.Method.Of(ex.Raw))
	ex.Req.SetRequestURIBytes(ex.Head.Target.Of(ex.Raw))
}

// FillRequest makes Req's fields from the head that arrived, without those that
// belong to the client's connection and its framing (RFC 9110 §7.6.1). Later
// calls do nothing.
func (ex *Exchange) FillRequest() { ex.fill(0) }

// FillToSend is FillRequest for the request as it leaves. own: what the client
// itself says of those it speaks for is taken out; what filters say of it stays,
// and so does what comes behind a trusted proxy and is not written anew. Of a
// traced exchange the client's trace context is taken out, too.
func (ex *Exchange) FillToSend(own bool) {
	drop := ex.dropped(own)
	if !ex.filled {
		ex.fill(drop)
		return
	}
	if ex.claims&drop != 0 {
		ex.dropClaims(drop)
	}
}

// AppendToSend appends the request line and the fields that FillToSend and
// Req.AppendBytes would, without the empty line, straight from the head that
// arrived. false: Req has fields, which must be asked.
func (ex *Exchange) AppendToSend(dst []byte, own bool) ([]byte, bool) {
	if ex.filled {
		return dst, false
	}
	dst = append(dst, ex.Req.Method()...)
	dst = append(dst, ' ')
	dst = append(dst, ex.Req.RequestURI()...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	drop := ex.dropped(own)
	for i := range ex.Head.Fields {
		f := &ex.Head.Fields[i]
		if ex.passage(f, drop) != stays {
			dst = append(dst, f.Name.Of(ex.Raw)...)
			dst = append(dst, ": "...)
			dst = append(dst, ex.valueOf(f)...)
			dst = append(dst, "\r\n"...)
		}
	}
	return dst, true
}

// dropped are the IDs of fields that do not leave if they are the client's word.
func (ex *Exchange) dropped(own bool) (drop uint64) {
	if own {
		drop = wire.ForwardingFields
	}
	if ex.Trace.Active() {
		drop |= wire.TraceFields
	}
	return drop
}

// fill makes the fields, without the claims among drop, a set of IDs.
func (ex *Exchange) fill(drop uint64) {
	if ex.filled {
		return
	}
	ex.filled = true
	for i := range ex.Head.Fields {
		f := &ex.Head.Fields[i]
		switch ex.passage(f, drop) {
		case stays:
			continue
		case leavesAsClaim:
			ex.claims |= 1 << f.ID
		}
		ex.Req.AddBytesKV(f.Name.Of(ex.Raw), ex.valueOf(f))
	}
}

// passage is what becomes of a field that arrived.
type passage uint8

const (
	stays         passage = iota // it belongs to the client's connection or framing
	leaves                       // it is sent on
	leavesAsClaim                // likewise, though it may be no more than the client's word
)

// passage tells whether a field is sent on; claims among drop are not.
func (ex *Exchange) passage(f *wire.Field, drop uint64) passage {
	switch {
	case f.ID.HopByHop(), f.ID == wire.FieldContentLength, f.ID == wire.FieldExpect:
		return stays
	case claimable>>f.ID&1 != 0 && ex.claim(f.ID):
		if drop>>f.ID&1 != 0 {
			return stays
		}
		return leavesAsClaim
	case f.ID == wire.FieldOther && ex.Head.Has(wire.FieldConnection) && ex.listedInConnection(f.Name.Of(ex.Raw)):
		return stays
	}
	return leaves
}

// valueOf is a field's value as it is sent on.
func (ex *Exchange) valueOf(f *wire.Field) []byte {
	if f.ID == wire.FieldHost {
		return ex.Head.Host.Of(ex.Raw)
	}
	return f.Value.Of(ex.Raw)
}

func (ex *Exchange) listedInConnection(name []byte) bool {
	for option, next := ex.Head.NextOption(ex.Raw, 0); option != nil; option, next = ex.Head.NextOption(ex.Raw, next) {
		if SameName(option, name) {
			return true
		}
	}
	return false
}

// AddRequestHeader adds a field to the request that is sent on. An empty Host is
// not added: it would name nobody, and stand beside the endpoint's.
func (ex *Exchange) AddRequestHeader(name string, value []byte) {
	ex.FillRequest()
	if len(value) == 0 && sameName(hostName, name) {
		return
	}
	ex.noteAdded(name)
	ex.Req.AddBytesV(name, value)
}

// SetRequestHeader replaces all fields of that name by one.
func (ex *Exchange) SetRequestHeader(name string, value []byte) {
	ex.DelRequestHeader(name)
	ex.AddRequestHeader(name, value)
}

// DelRequestHeader removes all fields of that name.
func (ex *Exchange) DelRequestHeader(name string) {
	ex.FillRequest()
	if ex.claims != 0 {
		ex.claims &^= 1 << wire.LookupField([]byte(name))
	}
	for i := range ex.Head.Fields {
		if spelt := ex.Head.Fields[i].Name.Of(ex.Raw); sameName(spelt, name) {
			ex.Req.DelBytes(spelt)
		}
	}
	for _, spelt := range ex.added {
		if sameName(spelt, name) {
			ex.Req.DelBytes(spelt)
		}
	}
}

// RequestHeader returns the first value that a field has in the request as it
// will be sent on; nil if it has none, and it may be nil for an empty one.
func (ex *Exchange) RequestHeader(name string) []byte {
	for i := range ex.Head.Fields {
		if spelt := ex.Head.Fields[i].Name.Of(ex.Raw); sameName(spelt, name) {
			if !ex.filled {
				return ex.Head.Fields[i].Value.Of(ex.Raw)
			}
			if v := ex.Req.PeekBytes(spelt); v != nil {
				return v
			}
		}
	}
	for _, spelt := range ex.added {
		if sameName(spelt, name) {
			if v := ex.Req.PeekBytes(spelt); v != nil {
				return v
			}
		}
	}
	return nil
}

// noteAdded remembers how a name that did not arrive is spelt.
func (ex *Exchange) noteAdded(name string) {
	for _, known := range ex.added {
		if string(known) == name {
			return
		}
	}
	n := len(ex.added)
	if n < cap(ex.added) {
		ex.added = ex.added[:n+1] // with the memory of an earlier name
	} else {
		ex.added = append(ex.added, nil)
	}
	ex.added[n] = append(ex.added[n][:0], name...)
}

// RequestHas tells whether the request as it will be sent on has a field of the
// known name id; one that arrived and was deleted does not count.
func (ex *Exchange) RequestHas(id wire.FieldID) bool {
	if !ex.filled {
		return ex.Head.Has(id)
	}
	// An empty value counts too: Peek does not tell it from none.
	name := id.String()
	for i := range ex.Head.Fields {
		if f := &ex.Head.Fields[i]; f.ID == id && len(ex.Req.PeekAll(text(f.Name.Of(ex.Raw)))) > 0 {
			return true
		}
	}
	for _, spelt := range ex.added {
		if sameName(spelt, name) && len(ex.Req.PeekAll(text(spelt))) > 0 {
			return true
		}
	}
	return false
}

// Added tells whether a filter has set a field of that name.
func (ex *Exchange) Added(name string) bool {
	for _, known := range ex.added {
		if sameName(known, name) {
			return true
		}
	}
	return false
}

// PeekResponse returns the first value of a response field, nil if absent.
func PeekResponse(h *fasthttp.ResponseHeader, name string) []byte {
	for k, v := range h.All() {
		if sameName(k, name) {
			return v
		}
	}
	return nil
}

// SetResponse replaces all fields of that name by one.
func SetResponse(h *fasthttp.ResponseHeader, name string, value []byte) {
	// fasthttp has one place for these: nothing to delete or to spell.
	switch {
	case sameName(contentType, name):
		h.SetContentTypeBytes(value)
		return
	case sameName(contentLength, name) && isNumber(value):
		h.SetCanonical(contentLength, value)
		return
	}
	DelResponse(h, name)
	h.AddBytesV(name, value)
}

// isNumber tells whether fasthttp takes v as a Content-Length.
func isNumber(v []byte) bool {
	for _, c := range v {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(v) > 0 && len(v) <= 18
}

// DelResponse removes all fields of that name.
func DelResponse(h *fasthttp.ResponseHeader, name string) {
	// fasthttp keeps these apart and knows them by their canonical spelling.
	switch {
	case sameName(setCookie, name):
		h.DelAllCookies()
		return
	case sameName(contentType, name):
		h.Del(fasthttp.HeaderContentType)
		return
	case sameName(contentLength, name):
		h.Del(fasthttp.HeaderContentLength)
		return
	case sameName(server, name):
		h.Del(fasthttp.HeaderServer)
		return
	case sameName(contentEncoding, name):
		h.Del(fasthttp.HeaderContentEncoding)
		return
	}
	for {
		var found []byte
		for spelt := range h.All() {
			if sameName(spelt, name) {
				found = spelt
				break
			}
		}
		if found == nil {
			return
		}
		h.DelBytes(found) // copies the name before it moves anything
	}
}

// SameName compares field names without ASCII case.
func SameName(a, b []byte) bool { return sameName(a, text(b)) }

// text is b as a string for the length of a call.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func sameName(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		d := b[i]
		if c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}
