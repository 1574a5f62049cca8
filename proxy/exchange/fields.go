package exchange

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"perigee/proxy/unit"
	"perigee/proxy/wire"
)

// The fields of a request as it is sent on are never copied together before they
// leave. They are what arrived, without what filters have taken out, and what
// filters have added:
//
//	Raw    "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nCookie: c\r\n\r\n"
//	Head.Fields               [Host]    [X-A]     [Cookie]
//	gone                       false     true      false      nil: none is
//	added                                                     {X-A 2} {X-B 3}
//	AppendToSend: request line, Host: a, Cookie: c, X-A: 2, X-B: 3
//
// Names keep the spelling they came with, and are compared without case (RFC 9110
// §5.1).

// addedField is a field that a filter has added. Its memory is used again.
type addedField struct{ name, value []byte }

// hostName is the name of the field that a request has once.
const hostName = "host"

// BeginRequest gives Req the method that arrived. Target and fields are no matter of
// Req.
func (ex *Exchange) BeginRequest() {
	if method := ex.Head.Method.Of(ex.Raw); string(method) != fasthttp.MethodGet { // which it has
		ex.Req.SetMethodBytes(method)
	}
}

// SendTarget makes target, which must stay as it is, the target of the request as it
// is sent on from now; nil: as it arrived.
func (ex *Exchange) SendTarget(target []byte) { ex.target = target }

// AppendToSend appends the request line and the fields that are sent on, without
// the empty line: not those that belong to the client's connection and its framing
// (RFC 9110 §7.6.1). own: what the client itself says of those it speaks for is
// left out; what filters say of it stays, and so does what comes behind a trusted
// proxy and is not written anew. Of a traced exchange the client's trace context is
// left out, too.
func (ex *Exchange) AppendToSend(dst []byte, own bool) []byte {
	return ex.appendFields(dst, ex.dropped(own))
}

// AppendHead appends the request as filters see it: as it would be sent on, with all
// that the client says, and the empty line.
func (ex *Exchange) AppendHead(dst []byte) []byte {
	return append(ex.appendFields(dst, 0), '\r', '\n')
}

// appendFields appends the request line and the fields, without the client's own
// words among drop, a set of IDs.
func (ex *Exchange) appendFields(dst []byte, drop uint64) []byte {
	dst = append(dst, ex.Req.Method()...)
	dst = append(dst, ' ')
	if ex.target == nil {
		dst = append(dst, ex.Head.Target.Of(ex.Raw)...)
	} else {
		dst = append(dst, ex.target...)
	}
	dst = append(dst, " HTTP/1.1\r\n"...)
	c := wire.Copy{Head: ex.Raw}
	for i := range ex.Head.Fields {
		f := &ex.Head.Fields[i]
		switch {
		case !ex.arrived(i) || !ex.passes(f, drop):
		case f.ID == wire.FieldHost && f.Value != ex.Head.Host:
			dst = c.AppendAs(dst, f, ex.valueOf(f))
		default:
			dst = c.Append(dst, f)
		}
	}
	dst = c.Flush(dst)
	for i := range ex.added {
		f := &ex.added[i]
		dst = append(dst, f.name...)
		dst = append(dst, ": "...)
		dst = append(dst, f.value...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// arrived tells whether field i of the head is still there.
func (ex *Exchange) arrived(i int) bool { return len(ex.gone) == 0 || !ex.gone[i] }

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

// passes tells whether a field that arrived is sent on; claims among drop are not.
func (ex *Exchange) passes(f *wire.Field, drop uint64) bool {
	switch {
	case f.ID.HopByHop(), f.ID == wire.FieldContentLength, f.ID == wire.FieldExpect:
		return false
	case claimable>>f.ID&1 != 0:
		return drop>>f.ID&1 == 0 || !ex.claim(f.ID)
	case f.ID == wire.FieldOther && ex.Head.Has(wire.FieldConnection):
		return !ex.listedInConnection(f.Name.Of(ex.Raw))
	}
	return true
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
// not added: it would name nobody, and stand beside the endpoint's. A second Host
// takes the place of the first.
func (ex *Exchange) AddRequestHeader(name string, value []byte) {
	if sameName(BytesOf(hostName), name) {
		if len(value) == 0 {
			return
		}
		ex.DelRequestHeader(name)
	}
	n := len(ex.added)
	if n < cap(ex.added) {
		ex.added = ex.added[:n+1] // with the memory of an earlier field
	} else {
		ex.added = append(ex.added, addedField{})
	}
	f := &ex.added[n]
	f.name = append(f.name[:0], name...)
	f.value = append(f.value[:0], value...)
	oneLine(f.name)
	oneLine(f.value)
}

// oneLine keeps text from ending the field that it stands in.
func oneLine(text []byte) {
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		return
	}
	for i, c := range text {
		if c == '\n' || c == '\r' {
			text[i] = ' '
		}
	}
}

// SetRequestHeader replaces all fields of that name by one.
func (ex *Exchange) SetRequestHeader(name string, value []byte) {
	ex.DelRequestHeader(name)
	ex.AddRequestHeader(name, value)
}

// SetRequestTemplate is SetRequestHeader of what t comes to; where that is nothing,
// there is no such field.
func (ex *Exchange) SetRequestTemplate(name string, t unit.Template) {
	ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], t)
	if len(ex.Scratch) == 0 {
		ex.DelRequestHeader(name)
		return
	}
	ex.SetRequestHeader(name, ex.Scratch)
}

// DelRequestHeader removes all fields of that name.
func (ex *Exchange) DelRequestHeader(name string) {
	for i := range ex.Head.Fields {
		if sameName(ex.Head.Fields[i].Name.Of(ex.Raw), name) {
			ex.takeOut(i)
		}
	}
	kept := 0
	for i := range ex.added {
		if !sameName(ex.added[i].name, name) {
			ex.added[kept], ex.added[i] = ex.added[i], ex.added[kept]
			kept++
		}
	}
	ex.added = ex.added[:kept]
}

// takeOut removes field i of the head.
func (ex *Exchange) takeOut(i int) {
	n := len(ex.Head.Fields)
	if len(ex.gone) == 0 {
		if cap(ex.gone) < n {
			ex.gone = make([]bool, n)
		}
		ex.gone = ex.gone[:n]
		clear(ex.gone)
	}
	ex.gone[i] = true
}

// RequestHeader returns the first value that a field has in the request as filters
// see it; nil if it has none, and it may be nil for an empty one. It is valid until
// the next edit.
func (ex *Exchange) RequestHeader(name string) []byte {
	for i := range ex.Head.Fields {
		if f := &ex.Head.Fields[i]; sameName(f.Name.Of(ex.Raw), name) && ex.arrived(i) {
			return ex.valueOf(f)
		}
	}
	for i := range ex.added {
		if sameName(ex.added[i].name, name) {
			return ex.added[i].value
		}
	}
	return nil
}

// RequestHas tells whether the request as it will be sent on has a field of the
// known name id; one that arrived and was deleted does not count.
func (ex *Exchange) RequestHas(id wire.FieldID) bool {
	if ex.Head.Has(id) {
		if len(ex.gone) == 0 {
			return true
		}
		for i := range ex.Head.Fields {
			if ex.Head.Fields[i].ID == id && !ex.gone[i] {
				return true
			}
		}
	}
	return len(ex.added) > 0 && ex.Added(id.String())
}

// Added tells whether a filter has set a field of that name, which is still there.
func (ex *Exchange) Added(name string) bool {
	for i := range ex.added {
		if sameName(ex.added[i].name, name) {
			return true
		}
	}
	return false
}

// forgetFields makes ready for another request.
func (ex *Exchange) forgetFields() {
	ex.gone = ex.gone[:0]
	for i := range ex.added {
		trim(&ex.added[i].value)
	}
	if cap(ex.added) > keepAdded {
		ex.added = nil
	}
	ex.added = ex.added[:0]
}

// keepAdded is how many added fields' memory a pooled exchange holds on to.
const keepAdded = 64
