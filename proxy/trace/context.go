package trace

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"perigee/proxy/wire"
)

// TraceID and SpanID are the ids of W3C Trace Context; all zero: none.
type (
	TraceID [16]byte
	SpanID  [8]byte
)

// Context is a request's place in a trace. The zero value is of a request that
// is not traced.
type Context struct {
	TraceID TraceID
	// SpanID is the gateway's own span, Parent who asked; zero: the trace begins
	// here.
	SpanID, Parent SpanID
	// Sampled says that spans are recorded.
	Sampled bool

	random bool   // the client says that the trace id is random (level 2)
	state  []byte // tracestate to send on, checked; lent, or in text
	bags   []byte // baggage likewise
	text   []byte // memory for lists that came in several fields
}

// Active tells whether the request is traced.
func (c *Context) Active() bool { return c.SpanID != SpanID{} }

// Reset forgets the request; memory stays.
func (c *Context) Reset() {
	if c.Active() {
		*c = Context{text: c.text[:0]}
	}
}

// Child is the context for a request that belongs to this one and ends before it.
func (c *Context) Child() Context {
	child := *c
	child.text = nil
	return child
}

// begin makes the request the first of a trace.
func (c *Context) begin() {
	for c.TraceID == (TraceID{}) {
		binary.NativeEndian.PutUint64(c.TraceID[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(c.TraceID[8:], rand.Uint64())
	}
}

// NewSpanID makes an id. Ids must not collide, not be secret.
func NewSpanID() (id SpanID) {
	for id == (SpanID{}) {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// accept reads what the client says of its trace; false: nothing that can be
// used. The head is lent for as long as the context is used.
func (c *Context) accept(head *wire.RequestHead, raw []byte) bool {
	at := -1
	for i := range head.Fields {
		if head.Fields[i].ID != wire.FieldTraceparent {
			continue
		}
		if at >= 0 {
			return false // of two, none is right
		}
		at = i
	}
	if at < 0 || !c.parse(head.Fields[at].Value.Of(raw)) {
		return false
	}
	if head.Has(wire.FieldTracestate) {
		if c.state = c.list(head, raw, wire.FieldTracestate); !validState(c.state) {
			c.state = nil
		}
	}
	return true
}

// acceptBaggage takes the client's baggage, which is independent of its trace.
func (c *Context) acceptBaggage(head *wire.RequestHead, raw []byte) {
	if head.Has(wire.FieldBaggage) {
		if c.bags = c.list(head, raw, wire.FieldBaggage); !validBaggage(c.bags) {
			c.bags = nil
		}
	}
}

// list is the value of a list field; if it came in several fields, joined.
func (c *Context) list(head *wire.RequestHead, raw []byte, id wire.FieldID) []byte {
	var only []byte
	start, n := len(c.text), 0
	for i := range head.Fields {
		f := &head.Fields[i]
		if f.ID != id {
			continue
		}
		if n++; n == 1 {
			only = f.Value.Of(raw)
			continue
		}
		if n == 2 {
			c.text = append(c.text, only...)
		}
		c.text = append(append(c.text, ','), f.Value.Of(raw)...)
	}
	if n > 1 {
		return c.text[start:]
	}
	return only
}

// The fields of a traceparent: version-trace_id-parent_id-flags.
const (
	parentLength = 55
	traceAt      = 3
	parentAt     = 36
	flagsAt      = 53

	flagSampled = 1
	flagRandom  = 2
)

// parse reads a traceparent (W3C Trace Context §3.2). Versions to come may have
// more behind what is known.
func (c *Context) parse(v []byte) bool {
	if len(v) < parentLength || v[traceAt-1] != '-' || v[parentAt-1] != '-' || v[flagsAt-1] != '-' {
		return false
	}
	var version, flags [1]byte
	if !unhex(version[:], v[:2]) || version[0] == 0xff || !unhex(flags[:], v[flagsAt:parentLength]) {
		return false
	}
	if len(v) > parentLength && (version[0] == 0 || v[parentLength] != '-') {
		return false
	}
	var trace TraceID
	var parent SpanID
	if !unhex(trace[:], v[traceAt:traceAt+32]) || !unhex(parent[:], v[parentAt:parentAt+16]) ||
		trace == (TraceID{}) || parent == (SpanID{}) {
		return false
	}
	c.TraceID, c.Parent = trace, parent
	c.Sampled, c.random = flags[0]&flagSampled != 0, flags[0]&flagRandom != 0
	return true
}

// unhex reads lower-case digits alone: others make the field invalid.
func unhex(dst, src []byte) bool {
	for i := range dst {
		high, low := digit(src[2*i]), digit(src[2*i+1])
		if high|low > 15 {
			return false
		}
		dst[i] = high<<4 | low
	}
	return true
}

func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// AppendParent appends a traceparent that makes span the parent of whoever gets
// it.
func (c *Context) AppendParent(dst []byte, span SpanID) []byte {
	dst = append(dst, "00-"...)
	dst = hex.AppendEncode(dst, c.TraceID[:])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, span[:])
	flags := byte('0')
	if c.Sampled {
		flags |= flagSampled
	}
	if c.random {
		flags |= flagRandom
	}
	return append(dst, '-', '0', flags)
}

// AppendTraceID appends the trace's id as digits.
func (c *Context) AppendTraceID(dst []byte) []byte { return hex.AppendEncode(dst, c.TraceID[:]) }

// AppendSpanID appends the id of the gateway's own span as digits.
func (c *Context) AppendSpanID(dst []byte) []byte { return hex.AppendEncode(dst, c.SpanID[:]) }

// State is the tracestate to send on, checked; empty: none.
func (c *Context) State() []byte { return c.state }

// Baggage is the client's, checked; empty: none.
func (c *Context) Baggage() []byte { return c.bags }
