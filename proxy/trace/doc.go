// Package trace is the gateway's part in distributed traces: W3C trace context
// and baggage, read and written as bytes, and finished spans on their way to an
// OpenTelemetry collector.
//
//	request head                                          every traced request,
//	   |  traceparent, tracestate, baggage                nothing allocated
//	   v
//	Tracer.Begin --> Context: ids, sampled or not
//	   |                |
//	   |                '--> Context.Append: the head that is sent on
//	   v sampled
//	Trace: spans as they begin and end                    a few in a hundred
//	   |
//	   v  Exporter.Put: bounded; full: the spans are dropped and counted
//	one goroutine: OpenTelemetry SDK spans --> OTLP over HTTP or gRPC, in batches
//
// Sampling is decided from the ids alone, before anything of the SDK is touched,
// so a request that is not sampled costs a look at its head, two random numbers
// and one header line. Nothing here waits for the collector: one that is down is
// said once, and once more when it is back.
//
// Only this package knows OpenTelemetry.
package trace
