package trace

import (
	"fmt"
	"testing"
	"time"

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

// BenchmarkSampled is what one costs that is, up to the SDK's spans.
func BenchmarkSampled(b *testing.B) {
	c := Config{Interval: unit.Duration(time.Hour), Timeout: unit.Duration(time.Second), Queue: 1 << 20}
	f, err := newFactory(&c)
	if err != nil {
		b.Fatal(err)
	}
	h, raw := head(b)
	t := tracer(100, ParentsAll)
	var x Context
	var names []string
	for i := range 16 {
		names = append(names, fmt.Sprintf("http.request.attribute.%d", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		t.Begin(&x, h, raw, false)
		trace := Collect(&x, time.Now())
		attempt := trace.Begin(x.SpanID, Client, "GET")
		trace.End(attempt, "", Text("http.request.method", "GET"), Text("server.address", "127.0.0.1"),
			Number("server.port", 80), Text("perigee.upstream", "o"), Number("http.response.status_code", 200))
		attributes := make([]Attribute, 0, 24)
		for _, name := range names {
			attributes = append(attributes, Text(name, "value"))
		}
		trace.Finish("GET plain", time.Now(), "", attributes)
		f.add(trace)
		if f.size() >= maxBatch {
			f.batch()
		}
	}
}
