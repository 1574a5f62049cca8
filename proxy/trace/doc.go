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
//	Trace: spans, each a protobuf message that grows       a few in a hundred,
//	   |   while it goes on                                memory used again
//	   v  Exporter.Put: bounded; full: the spans are dropped and counted
//	batch: messages one behind the other
//	   |
//	   v  one goroutine
//	OpenTelemetry's OTLP client: HTTP or gRPC, retries, compression, TLS
//
// Sampling is decided from the ids alone, before anything else is touched, so a
// request that is not sampled costs a look at its head, three random numbers and one
// header line. Of the SDK, what describes the process, its limits and its environment
// are used, not its spans: an object for each, made into a message for each and that
// into bytes took ten times as long. Nothing here waits for the collector: one that is
// down is said once, and once more when it is back.
//
// Only this package knows OpenTelemetry.
package trace
