package proxy

import (
	"strconv"
	"strings"

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
		ex.RecordSpans()
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

// methodText is a method as spans have it: others than the known ones could be as
// many as somebody likes.
func methodText(method []byte) string {
	switch m := string(method); m {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH":
		return m
	}
	return "_OTHER"
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
	attributes := []trace.Attribute{
		trace.Text("http.request.method", methodText(ex.Req.Method())),
		trace.Text("server.address", host), trace.Number("server.port", port),
		trace.Text("perigee.upstream", ex.Record.Upstream),
	}
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
		s.EndChild(failed, trace.Text("url.path", string(ex.Path)), trace.Text("perigee.route", rec.Route),
			trace.Number("http.response.status_code", int64(status)))
		return
	}
	method := methodText(rec.Method)
	name := method
	if rec.Route != "" {
		name += " " + rec.Route
	}
	attributes := append(requestAttributes(ex, method), trace.Number("http.response.status_code", int64(status)))
	if failed != "" {
		attributes = append(attributes, trace.Text("error.type", failed))
	}
	s.Finish(name, rec.Start.Add(rec.Duration), failed, attributes)
	ex.Snapshot.(*Snapshot).tracer.Exporter.Put(s.Trace)
}

// requestAttributes describe a request and what became of it. What clients send is
// cut at the length that lines of the log have.
func requestAttributes(ex *exchange.Exchange, method string) []trace.Attribute {
	rec := &ex.Record
	host, port := splitPort(string(rec.Host))
	_, version, _ := strings.Cut(rec.Protocol, "/")
	attributes := make([]trace.Attribute, 0, 24)
	add := func(name, value string) {
		if value != "" {
			attributes = append(attributes, trace.Text(name, cutText(value)))
		}
	}
	add("http.request.method", method)
	if method == "_OTHER" {
		add("http.request.method_original", string(rec.Method))
	}
	add("url.scheme", rec.Scheme)
	add("url.path", string(rec.Path))
	add("url.query", string(rec.Query))
	add("server.address", host)
	if port > 0 {
		attributes = append(attributes, trace.Number("server.port", port))
	}
	if rec.Client.IsValid() {
		add("client.address", rec.Client.Addr().Unmap().String())
	}
	if rec.Peer.IsValid() {
		add("network.peer.address", rec.Peer.Addr().Unmap().String())
		attributes = append(attributes, trace.Number("network.peer.port", int64(rec.Peer.Port())))
	}
	add("network.protocol.version", version)
	add("user_agent.original", string(rec.UserAgent))
	add("http.route", routePattern(ex))
	add("perigee.route", rec.Route)
	add("perigee.consumer", rec.Consumer)
	if rec.Limit != "" {
		add("perigee.limit", rec.Limit)
		add("perigee.limit.outcome", observe.LimitOutcome(rec.LimitOutcome))
	}
	add("perigee.request_id", string(rec.ID[:]))
	add("perigee.error_id", rec.ErrorID)
	return append(attributes, trace.Number("http.request.body.size", rec.RequestBodyBytes),
		trace.Number("http.response.body.size", rec.ResponseBodyBytes))
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

// maxAttribute is the longest text of an attribute in bytes.
const maxAttribute = 1024

func cutText(text string) string {
	if len(text) > maxAttribute {
		text = text[:maxAttribute]
	}
	return strings.ToValidUTF8(text, "\ufffd")
}
