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

	random bool // the client says that the trace id is random (level 2)
	lists  bool // state or bags are set

	// ids makes ids that must not collide, here or elsewhere, and are no secret. A
	// generator that the runtime has for secrets takes five times as long.
	ids rand.PCG

	state []byte // tracestate to send on, checked; lent, or in text
	bags  []byte // baggage likewise
	text  []byte // memory for lists that came in several fields
}

// Active tells whether the request is traced.
func (c *Context) Active() bool { return c.SpanID != SpanID{} }

// Reset forgets the request; memory stays.
func (c *Context) Reset() {
	if !c.Active() {
		return
	}
	c.TraceID, c.SpanID, c.Parent, c.Sampled, c.random = TraceID{}, SpanID{}, SpanID{}, false, false
	if c.lists {
		c.lists, c.state, c.bags, c.text = false, nil, nil, c.text[:0]
	}
}

// Child is the context for a request that belongs to this one and ends before it.
func (c *Context) Child() Context {
	child := *c
	child.text, child.ids = nil, rand.PCG{}
	return child
}

// begin makes the request the first of a trace.
func (c *Context) begin() {
	for c.TraceID == (TraceID{}) {
		binary.NativeEndian.PutUint64(c.TraceID[:8], c.ids.Uint64())
		binary.NativeEndian.PutUint64(c.TraceID[8:], c.ids.Uint64())
	}
}

// enter gives the request a span of its own.
func (c *Context) enter() {
	for c.SpanID == (SpanID{}) {
		binary.NativeEndian.PutUint64(c.SpanID[:], c.ids.Uint64())
	}
}

// seed sets the generator of ids off where no other one is, once.
func (c *Context) seed() {
	if c.ids == (rand.PCG{}) {
		c.ids.Seed(rand.Uint64(), rand.Uint64())
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
	if !head.Has(wire.FieldTraceparent) {
		return false
	}
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
	if !c.parse(head.Fields[at].Value.Of(raw)) {
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
	c.lists = true
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

// emptyParent is a traceparent without its ids.
const emptyParent = "00-00000000000000000000000000000000-0000000000000000-00"

// AppendParent appends a traceparent that makes span the parent of whoever gets
// it.
func (c *Context) AppendParent(dst []byte, span SpanID) []byte {
	n := len(dst)
	dst = append(dst, emptyParent...)
	text := dst[n:]
	putHex(text[traceAt:], c.TraceID[:])
	putHex(text[parentAt:], span[:])
	if c.Sampled {
		text[flagsAt+1] |= flagSampled
	}
	if c.random {
		text[flagsAt+1] |= flagRandom
	}
	return dst
}

// putHex writes the digits of src, whose length is a multiple of four: four bytes
// at a time, a byte of a word for each digit. Every traced request has a traceparent
// written, and another one where scripts run.
func putHex(dst, src []byte) {
	for i := 0; i+4 <= len(src); i += 4 {
		w := uint64(binary.LittleEndian.Uint32(src[i:]))
		w = (w | w<<16) & 0x0000ffff0000ffff
		w = (w | w<<8) & 0x00ff00ff00ff00ff
		w = w>>4&0x000f000f000f000f | w&0x000f000f000f000f<<8
		letters := (w + 0x0606060606060606) >> 4 & 0x0101010101010101
		binary.LittleEndian.PutUint64(dst[2*i:], w+0x3030303030303030+letters*('a'-'0'-10))
	}
}

// AppendTraceID appends the trace's id as digits.
func (c *Context) AppendTraceID(dst []byte) []byte { return hex.AppendEncode(dst, c.TraceID[:]) }

// AppendSpanID appends the id of the gateway's own span as digits.
func (c *Context) AppendSpanID(dst []byte) []byte { return hex.AppendEncode(dst, c.SpanID[:]) }

// State is the tracestate to send on, checked; empty: none.
func (c *Context) State() []byte { return c.state }

// Baggage is the client's, checked; empty: none.
func (c *Context) Baggage() []byte { return c.bags }
