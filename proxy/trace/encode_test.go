package trace

import (
	"strings"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// decode reads what an export would have of a trace, with OpenTelemetry's own
// messages.
func decode(t *testing.T, text []byte) []*tracepb.Span {
	t.Helper()
	var spans tracepb.ScopeSpans
	if err := proto.Unmarshal(text, &spans); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	if n := len(spans.ProtoReflect().GetUnknown()); n > 0 {
		t.Errorf("%d bytes are no spans", n)
	}
	for _, s := range spans.Spans {
		if n := len(s.ProtoReflect().GetUnknown()); n > 0 {
			t.Errorf("%d bytes of span %s are no fields", n, s.Name)
		}
	}
	return spans.Spans
}

func textValue(name, text string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: name, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: text}}}
}

func numberValue(name string, n int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: name, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: n}}}
}

func fraction(name string, f float64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: name, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: f}}}
}

// modelText is a text as it should arrive, without haste.
func modelText(text string, limit int) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	runes := []rune(strings.ToValidUTF8(text, "\ufffd"))
	if limit >= 0 && len(runes) > limit {
		runes = runes[:limit]
	}
	return string(runes)
}

func TestAttributes(t *testing.T) {
	long := strings.Repeat("é", maxText)
	for _, c := range []struct {
		name  string
		limit int
		a     Attribute
		want  *commonpb.KeyValue
	}{
		{"text", -1, Text("a", "b"), textValue("a", "b")},
		{"long name", -1, Text(strings.Repeat("n", 300), "b"), textValue(strings.Repeat("n", 300), "b")},
		{"text of 126 bytes", -1, Text("a", long[:126]), textValue("a", long[:126])},
		{"text of 128 bytes", -1, Text("a", long[:128]), textValue("a", long[:128])},
		{"longest", -1, Text("a", long[:maxText]), textValue("a", long[:maxText])},
		{"too long", -1, Text("a", long), textValue("a", long[:maxText])},
		{"too long, cut in a character", -1, Text("a", "x"+long), textValue("a", "x"+long[:maxText-2]+"\ufffd")},
		{"no UTF-8", -1, Bytes("a", []byte("a\xff\xfeb\x80")), textValue("a", "a\ufffdb\ufffd")},
		{"characters limited", 3, Text("a", "äöüß"), textValue("a", "äöü")},
		{"characters as many as allowed", 4, Text("a", "äöüß"), textValue("a", "äöüß")},
		{"no characters", 0, Text("a", "x"), textValue("a", "")},
		{"no UTF-8, limited", 2, Text("a", "\xffxy"), textValue("a", "\ufffdx")},
		{"zero bytes", -1, Bytes("a", make([]byte, 32)), textValue("a", strings.Repeat("\x00", 32))},
		{"number", -1, Number("n", 200), numberValue("n", 200)},
		{"zero", -1, Number("n", 0), numberValue("n", 0)},
		{"negative number", -1, Number("n", -1), numberValue("n", -1)},
		{"large number", -1, Number("n", 1<<62), numberValue("n", 1<<62)},
		{"seconds", -1, Seconds("s", 1500*time.Millisecond), fraction("s", 1.5)},
		{"no time", -1, Seconds("s", 0), fraction("s", 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &Exporter{limits: limits{attributes: -1, text: c.limit}}
			trace := e.Collect(&Context{TraceID: TraceID{1}, SpanID: SpanID{2}}, time.Now())
			trace.Finish("x", time.Now(), "", []Attribute{c.a})
			got := decode(t, trace.append(nil))[0].Attributes
			if len(got) != 1 || !proto.Equal(got[0], c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestSpans holds every field of spans that begin and end as a request's do.
func TestSpans(t *testing.T) {
	e := &Exporter{limits: newLimits()}
	start := time.Now()
	c := &Context{TraceID: TraceID{1, 15: 2}, SpanID: SpanID{3}, Parent: SpanID{4}, Sampled: true, random: true, state: []byte("a=1,b=2")}
	trace := e.Collect(c, start)
	attempt := trace.Begin(c.SpanID, Client, "GET", Text("lent", "x"), Text("empty", ""))
	open := trace.Begin(attempt.ID, Internal, "given up")
	trace.End(attempt, "no answer \xff", Number("n", 7))
	trace.End(Open{ID: NewSpanID()}, "", Text("never", "begun"))
	trace.Finish("GET plain", start.Add(time.Second), "500", []Attribute{Text("a", "b")})
	got := decode(t, trace.append(nil))
	if len(got) != 3 {
		t.Fatalf("spans are %v", got)
	}
	id := c.TraceID[:]
	at := uint64(start.UnixNano())
	failed := func(why string) *tracepb.Status {
		return &tracepb.Status{Message: why, Code: tracepb.Status_STATUS_CODE_ERROR}
	}
	for i, want := range []*tracepb.Span{
		{
			TraceId: id, SpanId: c.SpanID[:], ParentSpanId: c.Parent[:], TraceState: "a=1,b=2", Flags: 0x303, Name: "GET plain",
			Kind: Server, StartTimeUnixNano: at, EndTimeUnixNano: at + 1e9, Status: failed("500"), Attributes: []*commonpb.KeyValue{textValue("a", "b")},
		},
		{
			TraceId: id, SpanId: attempt.ID[:], ParentSpanId: c.SpanID[:], Flags: 0x101, Name: "GET", Kind: Client,
			StartTimeUnixNano: got[1].StartTimeUnixNano, EndTimeUnixNano: got[1].EndTimeUnixNano, Status: failed("no answer \ufffd"),
			Attributes: []*commonpb.KeyValue{textValue("lent", "x"), numberValue("n", 7)},
		},
		{
			TraceId: id, SpanId: open.ID[:], ParentSpanId: attempt.ID[:], Flags: 0x101, Name: "given up", Kind: Internal,
			StartTimeUnixNano: got[2].StartTimeUnixNano, EndTimeUnixNano: at + 1e9,
		},
	} {
		if !proto.Equal(got[i], want) {
			t.Errorf("span %d is\n%v, want\n%v", i, got[i], want)
		}
	}
	if s := got[1]; s.StartTimeUnixNano < at || s.EndTimeUnixNano < s.StartTimeUnixNano {
		t.Errorf("the attempt went from %d to %d, the request began at %d", s.StartTimeUnixNano, s.EndTimeUnixNano, at)
	}
}

// TestSpanLimits holds that OpenTelemetry's environment bounds spans.
func TestSpanLimits(t *testing.T) {
	t.Setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2")
	t.Setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")
	e := &Exporter{limits: newLimits()}
	trace := e.Collect(&Context{TraceID: TraceID{1}, SpanID: SpanID{2}}, time.Now())
	for range maxSpans + 4 {
		trace.Begin(SpanID{2}, Internal, "one")
	}
	trace.Finish("x", time.Now(), "", []Attribute{Text("a", "long"), Text("none", ""), Number("b", 1), Text("c", "d")})
	spans := decode(t, trace.append(nil))
	own := spans[0]
	if len(spans) != maxSpans || len(own.Attributes) != 2 || own.Attributes[0].Value.GetStringValue() != "lon" || own.DroppedAttributesCount != 2 {
		t.Errorf("%d spans, the first is %v", len(spans), own)
	}
}

// TestTracesApart holds that a trace in another's memory has nothing of it, and
// that who ends a span too late changes nobody else's.
func TestTracesApart(t *testing.T) {
	c := &Context{TraceID: TraceID{1}, SpanID: SpanID{2}}
	var trace Trace
	trace.begin(c, time.Now(), newLimits())
	late := trace.Begin(c.SpanID, Client, "GET", Text("secret", "x"))
	trace.Finish("first", time.Now(), "failed", []Attribute{Text("secret", "x")})
	trace.reset()
	c = &Context{TraceID: TraceID{3}, SpanID: SpanID{4}}
	trace.begin(c, time.Now(), newLimits())
	trace.End(late, "late")
	trace.Begin(c.SpanID, Client, "POST")
	trace.End(late, "late")
	trace.Finish("second", time.Now(), "", nil)
	spans := decode(t, trace.append(nil))
	if len(spans) != 2 {
		t.Fatalf("spans are %v", spans)
	}
	for _, s := range spans {
		if s.TraceId[0] != 3 || s.Status != nil || len(s.Attributes) > 0 || s.Name != "second" && s.Name != "POST" {
			t.Errorf("span %v", s)
		}
	}
}

func FuzzSpans(f *testing.F) {
	f.Add("text", "failed", int64(1), uint32(0))
	f.Add(strings.Repeat("é\xff", 600), "", int64(-1), uint32(4<<4|2<<1|1))
	f.Fuzz(func(t *testing.T, text, failed string, number int64, bounds uint32) {
		name := text[len(text)/2:]
		remote, count, limit := bounds&1 != 0, int(bounds>>1&7)-1, int(bounds>>4&0xfff)-1
		e := &Exporter{limits: limits{attributes: count, text: limit}}
		c := &Context{TraceID: TraceID{1}, SpanID: SpanID{2}, Sampled: true}
		want := &tracepb.Span{TraceId: c.TraceID[:], SpanId: c.SpanID[:], Kind: Server, Flags: 0x101, Name: modelText(name, -1)}
		if remote {
			c.Parent = SpanID{5}
			want.ParentSpanId, want.Flags = c.Parent[:], 0x301
		}
		if failed != "" {
			want.Status = &tracepb.Status{Message: modelText(failed, -1), Code: tracepb.Status_STATUS_CODE_ERROR}
		}
		start := time.Unix(0, number>>2)
		want.StartTimeUnixNano = uint64(max(0, start.UnixNano()))
		want.EndTimeUnixNano = uint64(max(0, start.UnixNano()+1))
		all := []*commonpb.KeyValue{numberValue("n", number), fraction("s", time.Duration(number).Seconds())}
		if text != "" {
			all = append(all, textValue("t", modelText(text, limit)))
		}
		want.Attributes = all
		if count >= 0 && len(all) > count {
			want.Attributes, want.DroppedAttributesCount = all[:count], uint32(len(all)-count)
		}
		trace := e.Collect(c, start)
		trace.Finish(name, start.Add(1), failed, []Attribute{Number("n", number), Seconds("s", time.Duration(number)), Bytes("t", []byte(text))})
		if got := decode(t, trace.append(nil)); len(got) != 1 || !proto.Equal(got[0], want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
