package trace

import (
	"slices"
	"sync"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// Kind says whose part of a call a span is.
type Kind = tracepb.Span_SpanKind

// The kinds.
const (
	Internal Kind = tracepb.Span_SPAN_KIND_INTERNAL
	Server   Kind = tracepb.Span_SPAN_KIND_SERVER
	Client   Kind = tracepb.Span_SPAN_KIND_CLIENT
)

// span is one part of what was done for a request.
type span struct {
	id    SpanID
	ended bool
	text  []byte // the Span message so far
	// attributes are in it, dropped are not: there were too many.
	attributes, dropped int
}

// maxSpans bounds the spans of one trace here: a script that sleeps in a loop
// must not fill the queue alone.
const maxSpans = 128

// Trace collects the spans of a sampled request; those of its subrequests too,
// which may run on other threads. It belongs to who collects until Exporter.Put.
type Trace struct {
	id     TraceID
	limits limits
	start  time.Time
	// base is start as spans have it. Others are told by what has passed since: a
	// system clock that jumps must not turn spans around.
	base int64

	mu     sync.Mutex
	spans  []span
	missed int // beyond maxSpans
}

// Traces are used again, with the memory of their spans.
var pool = sync.Pool{New: func() any { return &Trace{spans: make([]span, 0, 8)} }}

// maxKept is the longest text of a span that is kept for another, in bytes.
const maxKept = 16 << 10

// Collect begins the trace of a sampled request with the gateway's own span.
// Nothing of c is kept. Put must follow.
func (e *Exporter) Collect(c *Context, start time.Time) *Trace {
	t := pool.Get().(*Trace)
	t.begin(c, start, e.limits)
	return t
}

func (t *Trace) begin(c *Context, start time.Time, l limits) {
	t.id, t.limits, t.start, t.base = c.TraceID, l, start, start.UnixNano()
	own := t.add(c.SpanID, c.Parent, Server)
	if len(c.state) > 0 {
		own.text = appendMessage(own.text, fieldState, c.state)
	}
	flags := flagLocal | flagSampled
	if c.Parent != (SpanID{}) {
		flags |= flagRemote
	}
	if c.random {
		flags |= flagRandom
	}
	own.text = appendFlags(own.text, flags)
	own.text = appendTime(own.text, fieldStart, t.base)
}

// reset forgets the spans; memory stays.
func (t *Trace) reset() {
	for i := range t.spans {
		s := &t.spans[i]
		if cap(s.text) > maxKept {
			s.text = nil
		}
		*s = span{text: s.text[:0]}
	}
	t.spans, t.missed = t.spans[:0], 0
}

// add adds a span, of what is known of all of them.
func (t *Trace) add(id, parent SpanID, kind Kind) *span {
	n := len(t.spans)
	t.spans = slices.Grow(t.spans, 1)[:n+1] // with the text of an earlier one
	s := &t.spans[n]
	s.id = id
	s.text = appendIDs(s.text, &t.id, &id, &parent)
	s.text = appendNumber(s.text, fieldKind, uint64(kind))
	return s
}

// nano is a time in ns as spans have it.
func (t *Trace) nano(at time.Time) int64 { return t.base + int64(at.Sub(t.start)) }

// Open is a span that has begun. The zero value is none: ending it does nothing.
type Open struct {
	ID SpanID
	at int
}

// Begin begins a span now. One too many gets an id, and is not recorded. What is
// said of it is lent for the call.
func (t *Trace) Begin(parent SpanID, kind Kind, name string, attributes ...Attribute) Open {
	open := Open{ID: NewSpanID()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.spans) >= maxSpans {
		t.missed++
		return open
	}
	open.at = len(t.spans)
	s := t.add(open.ID, parent, kind)
	s.text = appendFlags(s.text, flagLocal|flagSampled)
	s.text = appendTime(s.text, fieldStart, t.nano(time.Now()))
	s.text = appendText(s.text, fieldName, name)
	s.note(attributes, &t.limits)
	return open
}

// End ends a span now, unless its trace is finished and gone. failed says what went
// wrong; empty: nothing.
func (t *Trace) End(open Open, failed string, attributes ...Attribute) {
	if open.at == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if open.at >= len(t.spans) || t.spans[open.at].id != open.ID {
		return
	}
	s := &t.spans[open.at]
	s.end(t.nano(time.Now()), failed)
	s.note(attributes, &t.limits)
}

// Finish ends the request's own span, and all that have not ended: with it, they
// were given up.
func (t *Trace) Finish(name string, end time.Time, failed string, attributes []Attribute) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.nano(end)
	own := &t.spans[0]
	own.text = appendText(own.text, fieldName, name)
	own.end(at, failed)
	own.note(attributes, &t.limits)
	if t.missed > 0 {
		own.note([]Attribute{Number("perigee.spans.missed", int64(t.missed))}, &t.limits)
	}
	for i := range t.spans {
		s := &t.spans[i]
		if !s.ended {
			s.end(at, "")
		}
		if s.dropped > 0 {
			s.text = appendNumber(s.text, fieldDropped, uint64(s.dropped))
		}
	}
}

func (s *span) end(at int64, failed string) {
	s.ended = true
	s.text = appendTime(s.text, fieldEnd, at)
	if failed != "" {
		s.text = appendFailure(s.text, failed)
	}
}

// note adds attributes, as many as there may be.
func (s *span) note(attributes []Attribute, l *limits) {
	for i := range attributes {
		if attributes[i].none() {
			continue
		}
		if l.attributes >= 0 && s.attributes >= l.attributes {
			s.dropped++
			continue
		}
		s.attributes++
		s.text = appendAttribute(s.text, &attributes[i], l.text)
	}
}

// append appends the spans as the field of a ScopeSpans message.
func (t *Trace) append(dst []byte) []byte {
	for i := range t.spans {
		dst = appendMessage(dst, fieldSpans, t.spans[i].text)
	}
	return dst
}
