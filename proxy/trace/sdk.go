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
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/credentials"

	"perigee/proxy/unit"
)

// newOrigin is what all spans are sent with: the process as their resource, and an
// empty list of them.
func newOrigin(c *Config) (*tracepb.ResourceSpans, error) {
	res, err := newResource(c)
	if err != nil {
		return nil, err
	}
	attributes := make([]*commonpb.KeyValue, 0, res.Len())
	for _, a := range res.Attributes() {
		attributes = append(attributes, &commonpb.KeyValue{Key: strings.ToValidUTF8(string(a.Key), "\ufffd"), Value: anyValue(a.Value)})
	}
	return &tracepb.ResourceSpans{
		Resource: &resourcepb.Resource{Attributes: attributes}, SchemaUrl: res.SchemaURL(),
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: "perigee"}}},
	}, nil
}

// anyValue is the value of a resource's attribute; a list becomes its text.
func anyValue(v attribute.Value) *commonpb.AnyValue {
	switch v.Type() {
	case attribute.BOOL:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v.AsBool()}}
	case attribute.INT64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v.AsInt64()}}
	case attribute.FLOAT64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: v.AsFloat64()}}
	}
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: strings.ToValidUTF8(v.String(), "\ufffd")}}
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

// The first and the longest wait before a batch is tried again.
const (
	retryFirst   = 200 * time.Millisecond
	retryLongest = 2 * time.Second
)

// newClient makes what speaks OTLP. It connects when the first batch goes out.
func newClient(c *Config) (otlptrace.Client, error) {
	if c.protocol() == ProtocolGRPC {
		return newGRPC(c)
	}
	options := []otlptracehttp.Option{
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: retryFirst, MaxInterval: retryLongest, MaxElapsedTime: c.Timeout.Std(),
		}),
	}
	if c.Protocol == ProtocolHTTP {
		options = append(options, otlptracehttp.WithEncoding(otlptracehttp.EncodingProtobuf))
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
	return otlptracehttp.NewClient(options...), nil
}

func newGRPC(c *Config) (otlptrace.Client, error) {
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
	return otlptracegrpc.NewClient(options...), nil
}

// protocol is the configuration's, or the environment's.
func (c *Config) protocol() Protocol {
	switch {
	case c.Protocol != "":
		return c.Protocol
	case environmentProtocol() == string(ProtocolGRPC):
		return ProtocolGRPC
	}
	return ProtocolHTTP
}

// plain tells whether the environment wants JSON, which is made of messages.
func (c *Config) plain() bool { return c.Protocol == "" && environmentProtocol() == "http/json" }

func environmentProtocol() string {
	text := strings.TrimSpace(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"))
	if text == "" {
		text = strings.TrimSpace(os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"))
	}
	return text
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
