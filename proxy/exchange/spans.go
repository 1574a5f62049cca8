package exchange

import (
	"fmt"
	"strings"
	"time"

	"perigee/luavm"
	"perigee/proxy/trace"
)

// Spans are what a sampled exchange records of itself. A subrequest's stand in
// the trace of its parent.
type Spans struct {
	*trace.Trace
	own     trace.SpanID // all others are within it
	child   trace.Open   // own, of a subrequest
	attempt trace.Open
	stages  [StageCount]trace.Open
	ops     []opSpan // that are under way
}

type opSpan struct {
	op   *luavm.Op
	span trace.Open
}

// Spans are the exchange's spans; nil: it is not sampled.
func (ex *Exchange) Spans() *Spans { return ex.spans }

// RecordSpans lets the spans of a sampled exchange stand in t. From now on it reads
// the system's clock.
func (ex *Exchange) RecordSpans(t *trace.Trace) {
	ex.Clock = nil
	ex.setSpans(t, ex.Trace.SpanID)
}

// setSpans begins spans, in the memory of earlier ones.
func (ex *Exchange) setSpans(t *trace.Trace, own trace.SpanID) {
	if ex.formerSpans == nil {
		ex.formerSpans = &Spans{}
	}
	ex.spans = ex.formerSpans
	clear(ex.spans.ops)
	*ex.spans = Spans{Trace: t, own: own, ops: ex.spans.ops[:0]}
}

// DropSpans forgets them: their trace is another's now.
func (ex *Exchange) DropSpans() {
	if ex.spans != nil {
		ex.spans.Trace, ex.spans = nil, nil
	}
}

// RecordChild makes child's spans those of a subrequest that op waits for.
func (ex *Exchange) RecordChild(child *Exchange, op *luavm.Op) {
	child.Trace = ex.Trace.Child()
	if ex.spans == nil {
		return
	}
	parent := ex.spans.own
	for _, o := range ex.spans.ops {
		if o.op == op {
			parent = o.span.ID
		}
	}
	span := ex.spans.Begin(parent, trace.Internal, "subrequest")
	child.Trace.SpanID = span.ID
	child.setSpans(ex.spans.Trace, span.ID)
	child.spans.child = span
}

// EndChild ends a subrequest's span.
func (s *Spans) EndChild(failed string, attributes ...trace.Attribute) {
	if s != nil {
		s.End(s.child, failed, attributes...)
	}
}

// BeginAttempt begins the span of an attempt at an endpoint.
func (s *Spans) BeginAttempt(name string) {
	if s != nil {
		s.attempt = s.Begin(s.own, trace.Client, name)
	}
}

// EndAttempt ends it.
func (s *Spans) EndAttempt(failed string, attributes ...trace.Attribute) {
	s.End(s.attempt, failed, attributes...)
	s.attempt = trace.Open{}
}

// Attempting tells whether the span of an attempt goes on.
func (s *Spans) Attempting() bool { return s != nil && s.attempt.ID != trace.SpanID{} }

// SentSpan is the span that an endpoint is told to be within.
func (ex *Exchange) SentSpan() trace.SpanID {
	if ex.spans.Attempting() {
		return ex.spans.attempt.ID
	}
	return ex.Trace.SpanID
}

// BeginPhase begins the span of a stage's script.
func (s *Spans) BeginPhase(stage Stage, script string) {
	if s == nil {
		return
	}
	s.stages[stage] = s.Begin(s.own, trace.Internal, phaseNames[stage], trace.Text("perigee.lua.script", script))
}

// phaseNames are the names of spans of stages' scripts.
var phaseNames = func() (names [StageCount]string) {
	for stage := range names {
		names[stage] = "lua " + Stage(stage).String()
	}
	return names
}()

// EndPhase ends it.
func (s *Spans) EndPhase(stage Stage, failed string) {
	if s == nil {
		return
	}
	s.End(s.stages[stage], failed)
	s.stages[stage] = trace.Open{}
}

// beginOp begins the span of an op that a script, or if phase is none the
// exchange itself, waits for.
func (s *Spans) beginOp(op *luavm.Op, phase trace.Open, name string, attributes ...trace.Attribute) {
	parent, kind := s.own, trace.Internal
	if phase.ID != (trace.SpanID{}) {
		parent = phase.ID
	}
	if strings.HasPrefix(name, "socket ") || name == "redis" {
		kind = trace.Client
	}
	s.ops = append(s.ops, opSpan{op, s.Begin(parent, kind, name, attributes...)})
}

// endOp ends the span of an op that is complete.
func (s *Spans) endOp(op *luavm.Op) {
	for i := range s.ops {
		if s.ops[i].op != op {
			continue
		}
		s.End(s.ops[i].span, failure(op))
		s.ops = append(s.ops[:i], s.ops[i+1:]...)
		return
	}
}

// failure is how an op has failed; empty: it has not.
func failure(op *luavm.Op) string {
	switch {
	case op.Err != nil:
		return op.Err.Error()
	case op.Result >= 0:
		return ""
	case op.Result == luavm.SocketTimeout, op.Kind == luavm.OpSemaphore && op.Result == luavm.ResultTimeout:
		return "timeout"
	}
	return fmt.Sprintf("failed (%d)", op.Result)
}

// scriptOpNames are the names of spans of ops that scripts wait for. Others, such as
// flushing, are over as soon as they have begun.
var scriptOpNames = map[luavm.OpKind]string{
	luavm.OpSleep: "sleep", luavm.OpSemaphore: "semaphore", luavm.OpCapture: "capture",
	luavm.OpSockConnect: "socket connect", luavm.OpSockHandshake: "socket handshake",
	luavm.OpSockRead: "socket read", luavm.OpSockWrite: "socket write", luavm.OpSockQueue: "socket queue",
	luavm.OpReqRead: "request read", luavm.OpReqReadRaw: "request read", luavm.OpReqWrite: "request write",
	luavm.OpPipeSpawn: "pipe spawn", luavm.OpPipeRead: "pipe read", luavm.OpPipeWrite: "pipe write",
	luavm.OpPipeWait: "pipe wait", luavm.OpWorkerThread: "worker thread",
	luavm.OpLimit: "redis",
}

// beginScriptOp begins the span of an op that a stage's script waits for.
func (s *Spans) beginScriptOp(op *luavm.Op, stage Stage) {
	name, known := scriptOpNames[op.Kind]
	if !known {
		return
	}
	switch op.Kind {
	case luavm.OpSleep:
		s.beginOp(op, s.stages[stage], name, trace.Seconds("perigee.sleep.duration", time.Duration(op.Seconds*1e9)))
	case luavm.OpSockConnect:
		s.beginOp(op, s.stages[stage], name, trace.Bytes("server.address", op.Data), trace.Number("server.port", int64(op.Int)))
	default:
		s.beginOp(op, s.stages[stage], name)
	}
}

// A Traced task says what its span is called: what it asks, "redis" or else.
type Traced interface {
	Task
	SpanName() string
}

// beginNativeOp begins the span of an op that a native filter, or the gateway,
// waits for: those that no span of their own tells of.
func (ex *Exchange) beginNativeOp(op *luavm.Op) {
	switch op.Kind {
	case OpReadBody:
		ex.spans.beginOp(op, trace.Open{}, "read request body")
	case OpTask:
		name := "task"
		if t, ok := ex.Task.(Traced); ok {
			name = t.SpanName()
		}
		ex.spans.beginOp(op, trace.Open{}, name)
	}
}

// appendTrace appends a variable of a traced exchange; nothing if it is not.
func (ex *Exchange) appendTrace(dst []byte, name string) []byte {
	c := &ex.Trace
	if !c.Active() {
		return dst
	}
	switch name {
	case "trace_id":
		return c.AppendTraceID(dst)
	case "span_id":
		return c.AppendSpanID(dst)
	}
	return c.AppendParent(dst, c.SpanID)
}
