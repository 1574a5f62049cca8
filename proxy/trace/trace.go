package trace

import (
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// Attribute is a named value of a span.
type Attribute = attribute.KeyValue

// Text makes an attribute of a text.
func Text(name, value string) Attribute { return attribute.String(name, value) }

// Number makes an attribute of a number.
func Number(name string, value int64) Attribute { return attribute.Int64(name, value) }

// Seconds makes an attribute of a time, in seconds.
func Seconds(name string, d time.Duration) Attribute { return attribute.Float64(name, d.Seconds()) }

// Kind says whose part of a call a span is.
type Kind = oteltrace.SpanKind

// The kinds.
const (
	Internal Kind = oteltrace.SpanKindInternal
	Server   Kind = oteltrace.SpanKindServer
	Client   Kind = oteltrace.SpanKindClient
)

// Span is one part of what was done for a request.
type Span struct {
	ID, Parent SpanID
	Kind       Kind
	Name       string
	Start, End time.Time // End is zero as long as it goes on
	Attributes []Attribute
	// Error says what went wrong; empty: nothing.
	Error string
}

// maxSpans bounds the spans of one trace here: a script that sleeps in a loop
// must not fill the queue alone.
const maxSpans = 128

// Trace collects the spans of a sampled request; those of its subrequests too,
// which may run on other threads.
type Trace struct {
	id     TraceID
	state  string
	remote bool // the first span's parent is somebody else's

	mu     sync.Mutex
	spans  []Span
	missed int // beyond maxSpans
}

// Collect begins the trace of a sampled request with the gateway's own span.
func Collect(c *Context, start time.Time) *Trace {
	t := &Trace{id: c.TraceID, state: string(c.state), remote: c.Parent != SpanID{}, spans: make([]Span, 1, 8)}
	t.spans[0] = Span{ID: c.SpanID, Parent: c.Parent, Kind: Server, Start: start}
	return t
}

// Open is a span that has begun. The zero value is none: ending it does nothing.
type Open struct {
	ID SpanID
	at int
}

// Begin begins a span now. One too many gets an id, and is not recorded.
func (t *Trace) Begin(parent SpanID, kind Kind, name string) Open {
	open := Open{ID: NewSpanID()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.spans) >= maxSpans {
		t.missed++
		return open
	}
	open.at = len(t.spans)
	t.spans = append(t.spans, Span{ID: open.ID, Parent: parent, Kind: kind, Name: name, Start: time.Now()})
	return open
}

// End ends a span now. failed says what went wrong; empty: nothing.
func (t *Trace) End(open Open, failed string, attributes ...Attribute) {
	if open.at == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.spans[open.at]
	s.End, s.Error = time.Now(), failed
	s.Attributes = append(s.Attributes, attributes...)
}

// Note adds attributes to a span.
func (t *Trace) Note(open Open, attributes ...Attribute) {
	if open.at == 0 || len(attributes) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.spans[open.at]
	s.Attributes = append(s.Attributes, attributes...)
}

// Finish ends the request's own span, and all that have not ended: with it, they
// were given up.
func (t *Trace) Finish(name string, end time.Time, failed string, attributes []Attribute) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.spans {
		if t.spans[i].End.IsZero() {
			t.spans[i].End = end
		}
	}
	own := &t.spans[0]
	own.Name, own.Error, own.Attributes = name, failed, attributes
	if t.missed > 0 {
		own.Attributes = append(own.Attributes, Number("perigee.spans.missed", int64(t.missed)))
	}
}
