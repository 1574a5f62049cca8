package trace

import (
	"fmt"
	"net/url"

	"perigee/proxy/unit"
	"perigee/proxy/upstream"
)

// Config is the tracing block: spans of requests for an OpenTelemetry collector,
// and W3C trace context and baggage for endpoints. What it leaves out is taken
// from OpenTelemetry's environment variables (OTEL_EXPORTER_OTLP_ENDPOINT,
// OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES, ...). OTEL_SDK_DISABLED=true turns it off.
type Config struct {
	// Endpoint is the collector's address, http:// or https://, such as
	// http://127.0.0.1:4318 (4317 with protocol grpc). Over HTTP spans go to its
	// path, or to /v1/traces without one. Default: OTEL_EXPORTER_OTLP_ENDPOINT, or
	// this machine. nginx: otel_exporter.
	Endpoint string `yaml:"endpoint,omitempty"`
	// Protocol is http (OTLP over HTTP with protobuf, default) or grpc.
	Protocol Protocol `yaml:"protocol,omitempty"`
	// Headers go with every export, such as {Authorization: "Bearer ${TOKEN}"}.
	Headers map[string]unit.Secret `yaml:"headers,omitempty"`
	// TLS is how an https:// collector is asked.
	TLS *upstream.TLSConfig `yaml:"tls,omitempty"`
	// Sample is the share of traces begun here that are recorded. A request that
	// comes with a trace is recorded if its caller records it. Default: as
	// OTEL_TRACES_SAMPLER says, or 1%. nginx: otel_trace.
	Sample *unit.Percent `yaml:"sample,omitempty"`
	// Parents are the callers whose traces are continued: all (default), trusted
	// (those of trusted_proxies) or none. For others a trace begins here.
	Parents Parents `yaml:"parents"`
	// Service is the name of this gateway in traces. Default: OTEL_SERVICE_NAME, or
	// perigee. nginx: otel_service_name.
	Service string `yaml:"service,omitempty"`
	// Resource are attributes of the process that sends spans, such as
	// {deployment.environment.name: production}.
	Resource map[string]string `yaml:"resource,omitempty"`
	// Queue is how many spans may wait for the collector; further ones are dropped
	// and counted. Default 4096.
	Queue int `yaml:"queue"`
	// Interval is how long finished spans gather before they are sent. Default 1s.
	Interval unit.Duration `yaml:"interval"`
	// Timeout bounds an attempt to send a batch, tries again included. Default 10s.
	Timeout unit.Duration `yaml:"timeout"`
}

// SetDefaults sets a bounded queue and short intervals.
func (c *Config) SetDefaults() {
	*c = Config{
		Parents: ParentsAll, Queue: 4096,
		Interval: unit.Duration(1e9), Timeout: unit.Duration(10e9),
	}
}

// Protocol is how spans travel.
type Protocol string

// The protocols.
const (
	ProtocolHTTP Protocol = "http"
	ProtocolGRPC Protocol = "grpc"
)

// Values are the words that are accepted.
func (Protocol) Values() []string { return []string{string(ProtocolHTTP), string(ProtocolGRPC)} }

// Parents says whose traces are continued.
type Parents string

// The callers.
const (
	ParentsAll     Parents = "all"
	ParentsTrusted Parents = "trusted"
	ParentsNone    Parents = "none"
)

// Values are the words that are accepted.
func (Parents) Values() []string {
	return []string{string(ParentsAll), string(ParentsTrusted), string(ParentsNone)}
}

// Check finds what cannot be.
func (c *Config) Check() []unit.Problem {
	var problems []unit.Problem
	say := func(path, message, hint string) {
		problems = append(problems, unit.Problem{Path: path, Message: message, Hint: hint})
	}
	if c.Endpoint != "" {
		if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			say("endpoint", fmt.Sprintf("endpoint %q is no http:// or https:// address", c.Endpoint), "write http://127.0.0.1:4318")
		} else if c.TLS != nil && u.Scheme == "http" {
			say("tls", "an http:// endpoint speaks no TLS", "write https:// in endpoint, or remove tls")
		}
	}
	if c.Queue < 1 || c.Queue > 1<<20 {
		say("queue", fmt.Sprintf("queue %d is not between 1 and 1048576", c.Queue), "4096 suits most")
	}
	if c.Interval <= 0 {
		say("interval", fmt.Sprintf("interval %q is not above 0", c.Interval), "1s suits most")
	}
	if c.Timeout <= 0 {
		say("timeout", fmt.Sprintf("timeout %q is not above 0", c.Timeout), "10s suits most")
	}
	if c.TLS != nil {
		for _, p := range c.TLS.Check() {
			p.Path = unit.Join("tls", p.Path)
			problems = append(problems, p)
		}
	}
	return problems
}

// digest tells exporters apart that must not share a connection.
func (c *Config) digest() string {
	plain := *c
	plain.Sample, plain.Parents, plain.TLS, plain.Headers = nil, "", nil, nil
	text := fmt.Sprintf("%+v", plain)
	if c.TLS != nil {
		text += fmt.Sprintf("\x00%+v", *c.TLS)
	}
	for _, name := range sortedKeys(c.Headers) {
		text += "\x00" + name + "\x00" + c.Headers[name].Reveal()
	}
	return text
}
