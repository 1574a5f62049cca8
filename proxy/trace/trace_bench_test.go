package trace

import (
	"context"
	"fmt"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

// BenchmarkUnsampled is what a traced request costs that is not sampled.
func BenchmarkUnsampled(b *testing.B) {
	h, raw := head(b, "User-Agent: bench", "Accept: */*", "X-Api-Key: k")
	t := tracer(0, ParentsAll)
	var x Context
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		t.Begin(&x, h, raw, false)
		buf = x.AppendParent(buf[:0], x.SpanID)
		x.Reset()
	}
}

// marshaler is a client that makes requests and sends none.
type marshaler struct{ b *testing.B }

func (marshaler) Start(context.Context) error { return nil }
func (marshaler) Stop(context.Context) error  { return nil }

func (m marshaler) UploadTraces(_ context.Context, spans []*tracepb.ResourceSpans) error {
	text, err := proto.Marshal(&collectorpb.ExportTraceServiceRequest{ResourceSpans: spans})
	if err != nil || len(text) == 0 {
		m.b.Errorf("%d bytes, %v", len(text), err)
	}
	return err
}

// BenchmarkSampled is what one costs that is, up to the bytes that are sent.
func BenchmarkSampled(b *testing.B) {
	c := Config{Timeout: unit.Duration(time.Minute), Queue: 1 << 20}
	origin, err := newOrigin(&c)
	if err != nil {
		b.Fatal(err)
	}
	e := &Exporter{
		config: c, limits: newLimits(), origin: origin, client: marshaler{b}, ctx: b.Context(), stats: Stats{Spans: &observe.Reasons{}},
	}
	h, raw := head(b)
	t := tracer(100, ParentsAll)
	var x Context
	var names []string
	for i := range 16 {
		names = append(names, fmt.Sprintf("http.request.attribute.%d", i))
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		t.Begin(&x, h, raw, false)
		trace := e.Collect(&x, time.Now())
		attempt := trace.Begin(x.SpanID, Client, "GET")
		trace.End(attempt, "", Text("http.request.method", "GET"), Text("server.address", "127.0.0.1"),
			Number("server.port", 80), Text("perigee.upstream", "o"), Number("http.response.status_code", 200))
		var memory [24]Attribute
		attributes := memory[:0]
		for _, name := range names {
			attributes = append(attributes, Text(name, "value"))
		}
		trace.Finish("GET plain", time.Now(), "", attributes)
		e.Put(trace)
		x.Reset()
		if n++; n == maxBatch/2 {
			n = 0
			e.export()
		}
	}
}
