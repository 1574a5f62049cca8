package proxytest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Collector takes spans and log records over OTLP: protobuf over HTTP, or gRPC.
type Collector struct {
	collector.UnimplementedTraceServiceServer
	logReceiver

	// Addr is where it listens.
	Addr string

	mu      sync.Mutex
	spans   []Span
	records []LogRecord
	headers http.Header // of the last export over HTTP
}

// logReceiver is the part of a Collector for which gRPC wants an Export, too.
type logReceiver struct {
	collectorlogs.UnimplementedLogsServiceServer
	c *Collector
}

// Span is one that was received; ids are digits, attributes texts.
type Span struct {
	Trace, ID, Parent, Name, Kind, State string
	Start, End                           time.Time
	Attributes, Resource                 map[string]string
	Failed                               string
}

// LogRecord is one that was received.
type LogRecord struct {
	Body, Trace, Span string
	Attributes        map[string]string
}

// NewCollector starts a collector that speaks protocol, "http" or "grpc", at
// address until the test ends.
func NewCollector(t testing.TB, protocol, address string) *Collector {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &Collector{Addr: ln.Addr().String()}
	c.logReceiver.c = c
	if protocol == "grpc" {
		s := grpc.NewServer()
		collector.RegisterTraceServiceServer(s, c)
		collectorlogs.RegisterLogsServiceServer(s, &c.logReceiver)
		go func() { _ = s.Serve(ln) }()
		t.Cleanup(s.Stop)
		return c
	}
	s := &http.Server{Handler: c, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	return c
}

// Export implements the trace service.
func (c *Collector) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.take(r)
	return &collector.ExportTraceServiceResponse{}, nil
}

// Export implements the logs service.
func (r *logReceiver) Export(_ context.Context, in *collectorlogs.ExportLogsServiceRequest) (*collectorlogs.ExportLogsServiceResponse, error) {
	r.c.takeLogs(in)
	return &collectorlogs.ExportLogsServiceResponse{}, nil
}

// ServeHTTP takes OTLP over HTTP.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	text, err := io.ReadAll(body)
	spans, records := &collector.ExportTraceServiceRequest{}, &collectorlogs.ExportLogsServiceRequest{}
	var message proto.Message = spans
	if r.URL.Path == "/v1/logs" {
		message = records
	}
	if err == nil {
		err = proto.Unmarshal(text, message)
	}
	if err != nil || r.URL.Path != "/v1/traces" && r.URL.Path != "/v1/logs" {
		http.Error(w, fmt.Sprint(r.URL.Path, err), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.headers = r.Header
	c.mu.Unlock()
	c.take(spans)
	c.takeLogs(records)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *Collector) take(r *collector.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range r.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				c.spans = append(c.spans, span(s, resource.Resource.Attributes))
			}
		}
	}
}

func span(s *trace.Span, resource []*common.KeyValue) Span {
	one := Span{
		Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
		Name: s.Name, Kind: strings.ToLower(strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")), State: s.TraceState,
		Start: time.Unix(0, int64(s.StartTimeUnixNano)), End: time.Unix(0, int64(s.EndTimeUnixNano)),
		Attributes: texts(s.Attributes), Resource: texts(resource),
	}
	if s.Status.GetCode() == trace.Status_STATUS_CODE_ERROR {
		one.Failed = s.Status.Message
	}
	return one
}

func (c *Collector) takeLogs(r *collectorlogs.ExportLogsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range r.ResourceLogs {
		for _, scope := range resource.ScopeLogs {
			for _, l := range scope.LogRecords {
				c.records = append(c.records, logRecord(l))
			}
		}
	}
}

func logRecord(l *logs.LogRecord) LogRecord {
	return LogRecord{
		Body: l.Body.GetStringValue(), Trace: hex.EncodeToString(l.TraceId), Span: hex.EncodeToString(l.SpanId),
		Attributes: texts(l.Attributes),
	}
}

func texts(attributes []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range attributes {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			all[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			all[a.Key] = strconv.FormatInt(v.IntValue, 10)
		case *common.AnyValue_DoubleValue:
			all[a.Key] = strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
		default:
			all[a.Key] = a.Value.String()
		}
	}
	return all
}

// Header is a field of the last export over HTTP.
func (c *Collector) Header(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.headers.Get(name)
}

// Spans are those received so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}

// Records are the log records received so far.
func (c *Collector) Records() []LogRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]LogRecord(nil), c.records...)
}

// Wait waits until ok says yes to the spans received.
func (c *Collector) Wait(t testing.TB, ok func([]Span) bool) []Span {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		spans := c.Spans()
		if ok(spans) {
			return spans
		}
		if time.Now().After(end) {
			t.Fatalf("the collector has %d spans: %s", len(spans), Tree(spans))
		}
	}
}

// Tree draws spans by who is within whom, for people and comparisons.
func Tree(spans []Span) string {
	var b bytes.Buffer
	known := map[string]bool{}
	for _, s := range spans {
		known[s.ID] = true
	}
	var draw func(parent string, depth int)
	draw = func(parent string, depth int) {
		for _, s := range spans {
			if s.Parent == parent || parent == "" && !known[s.Parent] {
				fmt.Fprintf(&b, "%s%s [%s]\n", strings.Repeat("  ", depth), s.Name, s.Kind)
				draw(s.ID, depth+1)
			}
		}
	}
	draw("", 0)
	return b.String()
}
