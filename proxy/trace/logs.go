package trace

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"time"

	"github.com/goccy/go-json"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	oteltrace "go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"

	"perigee/proxy/unit"
	"perigee/proxy/upstream"
)

// LogConfig is an otlp block of an access log: lines become log records.
type LogConfig struct {
	// Endpoint is the collector's address, as in tracing; over HTTP records go to
	// its path, or to /v1/logs without one.
	Endpoint string `yaml:"endpoint,omitempty"`
	// Protocol is http (default) or grpc.
	Protocol Protocol `yaml:"protocol,omitempty"`
	// Headers go with every export.
	Headers map[string]unit.Secret `yaml:"headers,omitempty"`
	// TLS is how an https:// collector is asked.
	TLS *upstream.TLSConfig `yaml:"tls,omitempty"`
	// Service is the name of this gateway. Default: OTEL_SERVICE_NAME, or perigee.
	Service string `yaml:"service,omitempty"`
	// Resource are attributes of the process.
	Resource map[string]string `yaml:"resource,omitempty"`
}

// collector is what the block says of the collector, with tracing's defaults.
func (c *LogConfig) collector() *Config {
	var all Config
	all.SetDefaults()
	all.Endpoint, all.Protocol, all.Headers = c.Endpoint, c.Protocol, c.Headers
	all.TLS, all.Service, all.Resource = c.TLS, c.Service, c.Resource
	return &all
}

// Check finds what cannot be.
func (c *LogConfig) Check() []unit.Problem { return c.collector().Check() }

// Digest tells blocks apart that must not share a connection.
func (c *LogConfig) Digest() string { return c.collector().digest() }

// logTimeout bounds one export: the writer of the log waits for it.
const logTimeout = 5 * time.Second

// logWriter sends lines as log records. It belongs to one goroutine.
type logWriter struct {
	client  sdklog.Exporter
	logger  log.Logger
	records []sdklog.Record
}

// NewLogWriter makes a writer of lines to a collector. A line that is a JSON object
// has its members as attributes, and its trace_id and span_id as the record's.
func NewLogWriter(c *LogConfig) (io.WriteCloser, error) {
	all := c.collector()
	client, err := newLogClient(all)
	if err != nil {
		return nil, err
	}
	res, err := newResource(all)
	if err != nil {
		return nil, err
	}
	w := &logWriter{client: client}
	w.logger = sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(w)).Logger("perigee/access_log")
	return w, nil
}

// Write sends lines; none of them, on an error.
func (w *logWriter) Write(lines []byte) (int, error) {
	w.records = w.records[:0]
	for rest := lines; len(rest) > 0; {
		var line []byte
		if line, rest, _ = bytes.Cut(rest, []byte{'\n'}); len(line) > 0 {
			w.emit(line)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), logTimeout)
	defer cancel()
	if err := w.client.Export(ctx, w.records); err != nil {
		return 0, err
	}
	return len(lines), nil
}

// emit makes a record of a line.
func (w *logWriter) emit(line []byte) {
	var r log.Record
	now := time.Now()
	r.SetTimestamp(now)
	r.SetObservedTimestamp(now)
	r.SetSeverity(log.SeverityInfo)
	r.SetBody(attribute.StringValue(string(line)))
	ctx := context.Background()
	var members map[string]any
	if line[0] == '{' && json.Unmarshal(line, &members) == nil {
		ctx = inTrace(ctx, members)
		if at, err := time.Parse(time.RFC3339Nano, asText(members["time"])); err == nil {
			r.SetTimestamp(at)
		}
		for _, name := range sortedKeys(members) {
			switch v := members[name].(type) {
			case string:
				r.AddAttributes(attribute.String(name, v))
			case float64:
				r.AddAttributes(attribute.Float64(name, v))
			case bool:
				r.AddAttributes(attribute.Bool(name, v))
			}
		}
	}
	w.logger.Emit(ctx, r)
}

func asText(v any) string {
	text, _ := v.(string)
	return text
}

// inTrace puts the ids of a line where the SDK looks for them.
func inTrace(ctx context.Context, members map[string]any) context.Context {
	var c oteltrace.SpanContextConfig
	if n, err := hex.Decode(c.TraceID[:], []byte(cutAt(asText(members["trace_id"]), 32))); err != nil || n != len(c.TraceID) {
		return ctx
	}
	if n, err := hex.Decode(c.SpanID[:], []byte(cutAt(asText(members["span_id"]), 16))); err != nil || n != len(c.SpanID) {
		return ctx
	}
	return oteltrace.ContextWithSpanContext(ctx, oteltrace.NewSpanContext(c))
}

func cutAt(text string, n int) string { return text[:min(n, len(text))] }

// Close ends the connection.
func (w *logWriter) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return w.client.Shutdown(ctx)
}

// OnEmit implements sdklog.Processor.
func (w *logWriter) OnEmit(_ context.Context, r *sdklog.Record) error {
	w.records = append(w.records, r.Clone())
	return nil
}

// Enabled implements sdklog.Processor.
func (*logWriter) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

// Shutdown implements sdklog.Processor.
func (*logWriter) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdklog.Processor.
func (*logWriter) ForceFlush(context.Context) error { return nil }

// newLogClient makes what speaks OTLP for log records. What fails is not tried
// again: lines that come later wait.
func newLogClient(c *Config) (sdklog.Exporter, error) {
	if c.protocol() == ProtocolGRPC {
		options := []otlploggrpc.Option{otlploggrpc.WithRetry(otlploggrpc.RetryConfig{})}
		if c.Endpoint != "" {
			options = append(options, otlploggrpc.WithEndpointURL(c.Endpoint))
		}
		if len(c.Headers) > 0 {
			options = append(options, otlploggrpc.WithHeaders(reveal(c.Headers)))
		}
		if c.TLS != nil {
			t, err := c.TLS.Client()
			if err != nil {
				return nil, err
			}
			options = append(options, otlploggrpc.WithTLSCredentials(credentials.NewTLS(t)))
		}
		return otlploggrpc.New(context.Background(), options...)
	}
	options := []otlploghttp.Option{otlploghttp.WithRetry(otlploghttp.RetryConfig{})}
	if c.Endpoint != "" {
		options = append(options, otlploghttp.WithEndpointURL(signalURL(c.Endpoint, "/v1/logs")))
	}
	if len(c.Headers) > 0 {
		options = append(options, otlploghttp.WithHeaders(reveal(c.Headers)))
	}
	if c.TLS != nil {
		t, err := c.TLS.Client()
		if err != nil {
			return nil, err
		}
		options = append(options, otlploghttp.WithTLSClientConfig(t))
	}
	return otlploghttp.New(context.Background(), options...)
}
