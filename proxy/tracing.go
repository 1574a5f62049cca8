package proxy

import (
	"net/netip"
	"strconv"
	"strings"
	"unsafe"

	"perigee/proxy/config"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/trace"
)

// Names of attributes are those of OpenTelemetry's semantic conventions for HTTP
// (1.37); what they do not know begins with "perigee.".

// newTracer makes the tracer of a configuration; nil: nothing is traced.
// Exporters.Return must follow for its Exporter.
func newTracer(file *config.File, state *State) (*trace.Tracer, error) {
	if file.Tracing == nil || trace.Disabled() {
		return nil, nil
	}
	exporter, err := state.traces.Lend(file.Tracing, trace.Stats{
		Spans:  &state.Metrics.Spans,
		Report: func(level observe.Level, message string) { state.Log.Print(level, nil, message) },
	})
	if err != nil {
		return nil, file.NewError("tracing", err.Error(), "")
	}
	t, err := trace.NewTracer(file.Tracing, exporter)
	if err != nil {
		state.traces.Return(exporter)
		return nil, file.NewError("tracing", err.Error(), "")
	}
	return t, nil
}

// beginTrace gives a request its place in a trace.
func (s *Snapshot) beginTrace(ex *exchange.Exchange) {
	s.tracer.Begin(&ex.Trace, &ex.Head, ex.Raw, ex.Conn.Trusted)
	ex.Record.TraceID, ex.Record.SpanID = ex.Trace.TraceID, ex.Trace.SpanID
	if ex.Trace.Sampled {
		ex.RecordSpans(s.tracer.Exporter.Collect(&ex.Trace, ex.Record.Start))
	}
}

// appendTrace tells an endpoint its place in the trace. A filter's own fields
// stay.
func appendTrace(head []byte, ex *exchange.Exchange) []byte {
	if !ex.Added("traceparent") {
		head = append(head, "traceparent: "...)
		head = ex.Trace.AppendParent(head, ex.SentSpan())
		head = append(head, '\r', '\n')
	}
	if list := ex.Trace.State(); len(list) > 0 && !ex.Added("tracestate") {
		head = append(append(head, "tracestate: "...), list...)
		head = append(head, '\r', '\n')
	}
	if list := ex.Trace.Baggage(); len(list) > 0 && !ex.Added("baggage") {
		head = append(append(head, "baggage: "...), list...)
		head = append(head, '\r', '\n')
	}
	return head
}

// methods are those that spans name: others could be as many as somebody likes.
var methods = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

const otherMethod = "_OTHER"

// methodText is a method as spans have it.
func methodText(method []byte) string {
	for _, m := range &methods {
		if string(method) == m {
			return m
		}
	}
	return otherMethod
}

// beginAttemptSpan begins the span of an attempt at ex.Endpoint.
func beginAttemptSpan(ex *exchange.Exchange) {
	if s := ex.Spans(); s != nil {
		s.BeginAttempt(methodText(ex.Req.Method()))
	}
}

// endAttemptSpan ends it. err is nil if there was an answer.
func endAttemptSpan(ex *exchange.Exchange, err error) {
	s := ex.Spans()
	if !s.Attempting() {
		return
	}
	a := ex.Record.Last()
	host, port := splitPort(a.Endpoint)
	var memory [8]trace.Attribute
	attributes := append(memory[:0], trace.Text("http.request.method", methodText(ex.Req.Method())),
		trace.Text("server.address", host), trace.Number("server.port", port),
		trace.Text("perigee.upstream", ex.Record.Upstream))
	if ex.Record.Tried > 1 {
		attributes = append(attributes, trace.Number("http.request.resend_count", int64(ex.Record.Tried-1)))
	}
	if a.Connect >= 0 {
		attributes = append(attributes, trace.Seconds("perigee.upstream.connect_time", a.Connect))
	}
	if a.Header >= 0 {
		attributes = append(attributes, trace.Seconds("perigee.upstream.header_time", a.Header),
			trace.Number("http.response.status_code", int64(a.Status)))
	}
	failed := ""
	switch {
	case err != nil:
		failed = err.Error()
		attributes = append(attributes, trace.Text("error.type", "upstream"))
	case a.Status >= 400:
		failed = strconv.Itoa(a.Status)
		attributes = append(attributes, trace.Text("error.type", failed))
	}
	s.EndAttempt(failed, attributes...)
}

// splitPort divides host:port; of a unix socket there is no port.
func splitPort(address string) (host string, port int64) {
	at := strings.LastIndexByte(address, ':')
	if at < 0 {
		return address, 0
	}
	n, err := strconv.ParseUint(address[at+1:], 10, 16)
	if err != nil {
		return address, 0
	}
	return strings.Trim(address[:at], "[]"), int64(n)
}

// endSpans hands the trace of a finished exchange over, or ends the span of a
// subrequest.
func (g *Gateway) endSpans(ex *exchange.Exchange) {
	s := ex.Spans()
	if s == nil {
		return
	}
	rec := &ex.Record
	status := rec.Status
	if status == 0 {
		status = ex.Resp.StatusCode()
	}
	failed := ""
	switch {
	case rec.Abort != observe.AbortNone:
		failed = rec.Abort.String()
	case status >= 500:
		failed = strconv.Itoa(status)
	}
	if ex.Parent != nil {
		s.EndChild(failed, trace.Bytes("url.path", ex.Path), trace.Text("perigee.route", rec.Route),
			trace.Number("http.response.status_code", int64(status)))
		return
	}
	var memory [maxAttributes]trace.Attribute
	attributes := append(appendAttributes(memory[:0], ex), trace.Number("http.response.status_code", int64(status)))
	if failed != "" {
		attributes = append(attributes, trace.Text("error.type", failed))
	}
	s.Finish(spanName(ex), rec.Start.Add(rec.Duration), failed, attributes)
	ex.Snapshot.(*Snapshot).tracer.Exporter.Put(s.Trace)
	ex.DropSpans()
}

// spanName is the name of a request's span.
func spanName(ex *exchange.Exchange) string {
	method := methodText(ex.Record.Method)
	if ex.Record.Route == "" {
		return method
	}
	return method + " " + ex.Record.Route
}

// maxAttributes is how many attributes a request's span can have; further ones cost
// an allocation.
const maxAttributes = 24

// appendAttributes appends what describes a request and what became of it, lent
// until ex.Scratch is used. Texts that are empty are not sent.
func appendAttributes(list []trace.Attribute, ex *exchange.Exchange) []trace.Attribute {
	rec := &ex.Record
	method := methodText(rec.Method)
	list = append(list, trace.Text("http.request.method", method))
	if method == otherMethod {
		list = append(list, trace.Bytes("http.request.method_original", rec.Method))
	}
	_, version, _ := strings.Cut(rec.Protocol, "/")
	list = append(list, trace.Text("url.scheme", rec.Scheme), trace.Bytes("url.path", rec.Path), trace.Bytes("url.query", rec.Query))
	list = appendAddresses(list, ex)
	list = append(list, trace.Text("network.protocol.version", version), trace.Bytes("user_agent.original", rec.UserAgent),
		trace.Text("http.route", routePattern(ex)), trace.Text("perigee.route", rec.Route), trace.Text("perigee.consumer", rec.Consumer))
	if rec.Limit != "" {
		list = append(list, trace.Text("perigee.limit", rec.Limit), trace.Text("perigee.limit.outcome", observe.LimitOutcome(rec.LimitOutcome)))
	}
	return append(list, trace.Bytes("perigee.request_id", rec.ID[:]), trace.Text("perigee.error_id", rec.ErrorID),
		trace.Number("http.request.body.size", rec.RequestBodyBytes), trace.Number("http.response.body.size", rec.ResponseBodyBytes))
}

// appendAddresses appends who was asked by whom.
func appendAddresses(list []trace.Attribute, ex *exchange.Exchange) []trace.Attribute {
	rec := &ex.Record
	host, port := splitPort(unsafe.String(unsafe.SliceData(rec.Host), len(rec.Host))) // lent as the record is
	list = append(list, trace.Text("server.address", host))
	if port > 0 {
		list = append(list, trace.Number("server.port", port))
	}
	ex.Scratch = ex.Scratch[:0]
	address := func(name string, a netip.Addr) trace.Attribute {
		from := len(ex.Scratch)
		ex.Scratch = a.Unmap().AppendTo(ex.Scratch)
		return trace.Bytes(name, ex.Scratch[from:])
	}
	if rec.Client.IsValid() {
		list = append(list, address("client.address", rec.Client.Addr()))
	}
	if rec.Peer.IsValid() {
		list = append(list, address("network.peer.address", rec.Peer.Addr()), trace.Number("network.peer.port", int64(rec.Peer.Port())))
	}
	return list
}

// routePattern is the path that the route is for; empty if there are several.
func routePattern(ex *exchange.Exchange) string {
	snap, _ := ex.Snapshot.(*Snapshot)
	if ex.Route == nil || snap == nil {
		return ""
	}
	if paths := snap.File.Routes[ex.Route.Index].Match.Paths; len(paths) == 1 {
		return paths[0].String()
	}
	return ""
}
