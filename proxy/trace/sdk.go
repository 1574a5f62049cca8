package trace

import (
	"context"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"

	"perigee/proxy/unit"
)

// factory makes SDK spans of traces whose ids are settled already. It belongs to
// one goroutine.
type factory struct {
	provider *sdk.TracerProvider
	tracer   oteltrace.Tracer
	next     struct { // the ids of the span that is being made
		trace TraceID
		span  SpanID
	}
	spans []sdk.ReadOnlySpan
}

func newFactory(c *Config) (*factory, error) {
	res, err := newResource(c)
	if err != nil {
		return nil, err
	}
	f := &factory{}
	f.provider = sdk.NewTracerProvider(
		sdk.WithSampler(sdk.AlwaysSample()), // what comes here is sampled
		sdk.WithResource(res), sdk.WithIDGenerator(f), sdk.WithSpanProcessor(f),
	)
	f.tracer = f.provider.Tracer("perigee")
	return f, nil
}

// newResource describes the process, the configuration before the environment.
func newResource(c *Config) (*resource.Resource, error) {
	attributes := make([]attribute.KeyValue, 0, len(c.Resource)+1)
	for _, name := range sortedKeys(c.Resource) {
		attributes = append(attributes, attribute.String(name, c.Resource[name]))
	}
	service := c.Service
	if service == "" && os.Getenv("OTEL_SERVICE_NAME") == "" && !strings.Contains(os.Getenv("OTEL_RESOURCE_ATTRIBUTES"), "service.name=") {
		service = "perigee"
	}
	if service != "" {
		attributes = append(attributes, attribute.String("service.name", service))
	}
	return resource.New(context.Background(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithTelemetrySDK(), resource.WithFromEnv(), resource.WithAttributes(attributes...))
}

// add makes the spans of a trace.
func (f *factory) add(t *Trace) {
	for i := range t.spans {
		s := &t.spans[i]
		config := oteltrace.SpanContextConfig{
			TraceID: oteltrace.TraceID(t.id), SpanID: oteltrace.SpanID(s.Parent), TraceFlags: oteltrace.FlagsSampled,
		}
		if i == 0 {
			config.Remote = t.remote
			// What the SDK finds wrong with the list stays out of the span alone.
			config.TraceState, _ = oteltrace.ParseTraceState(t.state)
		}
		f.next.trace, f.next.span = t.id, s.ID
		_, span := f.tracer.Start(
			oteltrace.ContextWithSpanContext(context.Background(), oteltrace.NewSpanContext(config)), s.Name,
			oteltrace.WithTimestamp(s.Start), oteltrace.WithSpanKind(s.Kind), oteltrace.WithAttributes(s.Attributes...),
		)
		if s.Error != "" {
			span.SetStatus(codes.Error, s.Error)
		}
		span.End(oteltrace.WithTimestamp(s.End))
	}
}

func (f *factory) size() int { return len(f.spans) }

// batch gives the spans made since the last call; the next call uses their memory
// again.
func (f *factory) batch() []sdk.ReadOnlySpan {
	batch := f.spans
	f.spans = f.spans[:0]
	return batch
}

// NewIDs implements sdk.IDGenerator.
func (f *factory) NewIDs(context.Context) (oteltrace.TraceID, oteltrace.SpanID) {
	return oteltrace.TraceID(f.next.trace), oteltrace.SpanID(f.next.span)
}

// NewSpanID implements sdk.IDGenerator.
func (f *factory) NewSpanID(context.Context, oteltrace.TraceID) oteltrace.SpanID {
	return oteltrace.SpanID(f.next.span)
}

// OnStart implements sdk.SpanProcessor.
func (f *factory) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements sdk.SpanProcessor.
func (f *factory) OnEnd(s sdk.ReadOnlySpan) { f.spans = append(f.spans, s) }

// Shutdown implements sdk.SpanProcessor.
func (f *factory) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdk.SpanProcessor.
func (f *factory) ForceFlush(context.Context) error { return nil }

// The first and the longest wait before a batch is tried again.
const (
	retryFirst   = 200 * time.Millisecond
	retryLongest = 2 * time.Second
)

// newClient makes what speaks OTLP. It connects when the first batch goes out.
func newClient(c *Config) (sdk.SpanExporter, error) {
	if c.protocol() == ProtocolGRPC {
		return newGRPC(c)
	}
	options := []otlptracehttp.Option{
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: retryFirst, MaxInterval: retryLongest, MaxElapsedTime: c.Timeout.Std(),
		}),
	}
	if c.Endpoint != "" {
		options = append(options, otlptracehttp.WithEndpointURL(signalURL(c.Endpoint, "/v1/traces")))
	}
	if len(c.Headers) > 0 {
		options = append(options, otlptracehttp.WithHeaders(reveal(c.Headers)))
	}
	if c.TLS != nil {
		t, err := c.TLS.Client()
		if err != nil {
			return nil, err
		}
		options = append(options, otlptracehttp.WithTLSClientConfig(t))
	}
	return otlptracehttp.New(context.Background(), options...)
}

func newGRPC(c *Config) (sdk.SpanExporter, error) {
	options := []otlptracegrpc.Option{
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{
			Enabled: true, InitialInterval: retryFirst, MaxInterval: retryLongest, MaxElapsedTime: c.Timeout.Std(),
		}),
	}
	if c.Endpoint != "" {
		options = append(options, otlptracegrpc.WithEndpointURL(c.Endpoint))
	}
	if len(c.Headers) > 0 {
		options = append(options, otlptracegrpc.WithHeaders(reveal(c.Headers)))
	}
	if c.TLS != nil {
		t, err := c.TLS.Client()
		if err != nil {
			return nil, err
		}
		options = append(options, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(t)))
	}
	return otlptracegrpc.New(context.Background(), options...)
}

// protocol is the configuration's, or the environment's.
func (c *Config) protocol() Protocol {
	if c.Protocol != "" {
		return c.Protocol
	}
	text := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if text == "" {
		text = os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	if text == string(ProtocolGRPC) {
		return ProtocolGRPC
	}
	return ProtocolHTTP
}

// name is the collector, for people.
func (c *Config) name() string {
	for _, name := range []string{c.Endpoint, os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")} {
		if u, err := url.Parse(name); name != "" && err == nil {
			return u.Redacted()
		}
	}
	return "on this machine"
}

// signalURL is where a kind of data goes: the address itself if it has a path.
func signalURL(endpoint, path string) string {
	u, err := url.Parse(endpoint)
	if err == nil && (u.Path == "" || u.Path == "/") {
		u.Path = path
		return u.String()
	}
	return endpoint
}

func reveal(headers map[string]unit.Secret) map[string]string {
	plain := make(map[string]string, len(headers))
	for name, value := range headers {
		plain[name] = value.Reveal()
	}
	return plain
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
