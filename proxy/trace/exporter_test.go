package trace

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

// request is an export that was received.
type request struct {
	format string
	body   []byte
}

// exported sends n traces of one span each and returns what the collector got, and
// what was reported meanwhile.
func exported(t *testing.T, c Config, n int, answer []byte) (requests []request, reports []string, spans *observe.Reasons) {
	t.Helper()
	got := make(chan request, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- request{r.Header.Get("Content-Type"), body}
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(answer)
	}))
	t.Cleanup(server.Close)
	spans = &observe.Reasons{}
	c.Endpoint = server.URL
	c.Queue, c.Interval, c.Timeout = 1<<20, unit.Duration(time.Hour), unit.Duration(30*time.Second)
	e, err := newExporter(&c, Stats{Spans: spans, Report: func(_ observe.Level, message string) { reports = append(reports, message) }})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		trace := e.Collect(&Context{TraceID: TraceID{1}, SpanID: NewSpanID()}, time.Now())
		trace.Finish("GET plain", time.Now(), "", []Attribute{Text("a", "b"), Number("n", 5)})
		e.Put(trace)
	}
	e.close()
	server.Close()
	close(got)
	for r := range got {
		requests = append(requests, r)
	}
	return requests, reports, spans
}

// TestExport holds what the collector is sent: the process, who makes the spans, the
// spans, in batches.
func TestExport(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "zone=a,team=%C3%A9")
	requests, reports, spans := exported(t, Config{Service: "me", Resource: map[string]string{"zone": "b"}}, 3*maxBatch+1, nil)
	n := 0
	for _, r := range requests {
		var got collectorpb.ExportTraceServiceRequest
		if err := proto.Unmarshal(r.body, &got); err != nil || r.format != "application/x-protobuf" {
			t.Fatalf("%v, %s", err, r.format)
		}
		if len(got.ResourceSpans) != 1 || len(got.ResourceSpans[0].ScopeSpans) != 1 || got.ResourceSpans[0].ScopeSpans[0].Scope.Name != "perigee" {
			t.Fatalf("a request has %v", &got)
		}
		of := got.ResourceSpans[0]
		if n += len(of.ScopeSpans[0].Spans); len(of.ScopeSpans[0].Spans) > maxBatch {
			t.Errorf("a request has %d spans", len(of.ScopeSpans[0].Spans))
		}
		resource := map[string]string{}
		for _, a := range of.Resource.Attributes {
			resource[a.Key] = a.Value.GetStringValue()
			if a.Key == "process.pid" && a.Value.GetIntValue() == 0 {
				t.Errorf("process.pid is %v", a.Value)
			}
		}
		if resource["service.name"] != "me" || resource["zone"] != "b" || resource["team"] != "é" || resource["telemetry.sdk.language"] != "go" || of.SchemaUrl == "" {
			t.Errorf("the resource is %v of %q", resource, of.SchemaUrl)
		}
	}
	if n != 3*maxBatch+1 || spans.With(outcomeSent).Value() != uint64(n) || len(reports) > 0 {
		t.Errorf("%d spans in %d requests; reports: %q", n, len(requests), reports)
	}
}

// TestExportJSON holds that the environment may ask for JSON, and that http in the
// configuration is protobuf.
func TestExportJSON(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
	requests, _, _ := exported(t, Config{}, 1, nil)
	if len(requests) != 1 || requests[0].format != "application/json" {
		t.Fatalf("requests are %q", requests)
	}
	for _, want := range []string{`"name":"GET plain"`, `"stringValue":"b"`, `"perigee"`} {
		if !bytes.Contains(requests[0].body, []byte(want)) {
			t.Errorf("%s is not in %s", want, requests[0].body)
		}
	}
	var got collectorpb.ExportTraceServiceRequest
	requests, _, _ = exported(t, Config{Protocol: ProtocolHTTP}, 1, nil)
	if len(requests) != 1 || requests[0].format != "application/x-protobuf" || proto.Unmarshal(requests[0].body, &got) != nil {
		t.Errorf("with protocol: http requests are %q: %s", requests, protojson.Format(&got))
	}
}

// TestRejectedSpans holds that a collector which does not keep what it takes is
// said.
func TestRejectedSpans(t *testing.T) {
	answer, err := proto.Marshal(&collectorpb.ExportTraceServiceResponse{
		PartialSuccess: &collectorpb.ExportTracePartialSuccess{RejectedSpans: 2, ErrorMessage: "too old"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, reports, spans := exported(t, Config{}, 2, answer)
	if len(reports) != 1 || !strings.Contains(reports[0], "too old") || spans.With(outcomeFailed).Value() != 2 {
		t.Errorf("reports are %q, %d failed", reports, spans.With(outcomeFailed).Value())
	}
}

// TestQueue holds that spans are counted, not traces, and that batches that were sent
// leave room.
func TestQueue(t *testing.T) {
	spans := &observe.Reasons{}
	e := &Exporter{limits: newLimits(), config: Config{Queue: 5}, stats: Stats{Spans: spans}}
	put := func(n int) {
		trace := e.Collect(&Context{TraceID: TraceID{1}, SpanID: SpanID{2}}, time.Now())
		for range n - 1 {
			trace.Begin(SpanID{2}, Internal, "x")
		}
		trace.Finish("x", time.Now(), "", nil)
		e.Put(trace)
	}
	for i, c := range []struct {
		spans    int
		dropped  uint64
		released bool
	}{{2, 0, false}, {4, 4, false}, {3, 4, false}, {1, 5, true}, {5, 5, false}, {6, 11, false}} {
		put(c.spans)
		if got := spans.With(outcomeDropped).Value(); got != c.dropped {
			t.Errorf("step %d: %d are dropped, want %d", i, got, c.dropped)
		}
		if c.released {
			for _, b := range e.take() {
				if n := len(decode(t, b.text)); n != b.spans || n != 5 {
					t.Errorf("%d spans are sent, counted as %d", n, b.spans)
				}
				e.release(b)
			}
		}
	}
	if got := fmt.Sprint(len(e.take()), len(e.spare)); got != "1 0" {
		t.Errorf("batches and spare memory are %s", got)
	}
}
