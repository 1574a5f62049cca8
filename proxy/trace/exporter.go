package trace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"perigee/proxy/observe"
)

// maxBatch is how many spans one export has at most; one trace may exceed it.
const maxBatch = 512

// closeTime bounds what is still sent at the end, and the farewell after it.
const closeTime = 2 * time.Second

// What becomes of spans, as Stats.Spans counts it.
const (
	outcomeSent    = "sent"
	outcomeDropped = "dropped" // the queue was full
	outcomeFailed  = "failed"  // the collector did not take them
)

// Stats is how exporters report.
type Stats struct {
	// Spans counts spans by outcome: sent, dropped, failed.
	Spans *observe.Reasons
	// Report says what concerns no request, once.
	Report func(level observe.Level, message string)
}

// Exporter sends spans to a collector from a goroutine of its own. It never keeps
// anybody waiting.
type Exporter struct {
	config Config
	stats  Stats
	limits limits
	client otlptrace.Client
	// origin is what all spans are sent with: the process, and who makes them.
	origin *tracepb.ResourceSpans
	// plain says that the client wants messages, not their bytes.
	plain bool

	// Spans gather in batches: to wake the exporter for each trace would cost more
	// than all else about it.
	mu      sync.Mutex
	queue   []batch
	waiting int // spans in queue
	spare   [][]byte
	closed  bool

	ctx     context.Context // of all exports
	cancel  context.CancelFunc
	full    chan struct{} // has an entry when there is a batch
	closing chan struct{}
	done    chan struct{}

	lost    int // spans since the collector was last heard of
	failing bool
}

// batch is what one export has: the spans as a field of a ScopeSpans message.
type batch struct {
	text  []byte
	spans int
}

// Memory of batches that have been sent is used again.
const (
	maxSpare     = 2       // batches
	maxSpareText = 1 << 20 // bytes of one
)

// newExporter connects to the collector, by and by: one that is down is no error.
func newExporter(c *Config, stats Stats) (*Exporter, error) {
	origin, err := newOrigin(c)
	if err != nil {
		return nil, err
	}
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	e := &Exporter{
		config: *c, stats: stats, client: client, limits: newLimits(), origin: origin, plain: c.plain(),
		full: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{}),
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if err := client.Start(e.ctx); err != nil {
		e.cancel()
		return nil, err
	}
	go e.run()
	return e, nil
}

// Put takes a finished trace, whose spans it sends, or drops and counts.
func (e *Exporter) Put(t *Trace) {
	n := len(t.spans)
	e.mu.Lock()
	taken := e.waiting+n <= e.config.Queue && !e.closed
	if taken {
		b := e.open()
		b.text = t.append(b.text)
		b.spans += n
		e.waiting += n
	}
	enough := e.waiting >= maxBatch
	e.mu.Unlock()
	t.reset()
	pool.Put(t)
	if !taken {
		e.stats.Spans.With(outcomeDropped).Add(uint64(n))
	}
	if enough {
		select {
		case e.full <- struct{}{}:
		default:
		}
	}
}

// open is the batch that is being filled. mu is held.
func (e *Exporter) open() *batch {
	n := len(e.queue)
	if n > 0 && e.queue[n-1].spans < maxBatch {
		return &e.queue[n-1]
	}
	var b batch
	if last := len(e.spare) - 1; last >= 0 {
		b.text, e.spare = e.spare[last], e.spare[:last]
	}
	e.queue = append(e.queue, b)
	return &e.queue[n]
}

// take gives the batches that wait.
func (e *Exporter) take() (batches []batch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	batches, e.queue, e.waiting = e.queue, nil, 0
	return batches
}

// release gives the memory of a batch back.
func (e *Exporter) release(b batch) {
	if cap(b.text) > maxSpareText {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.spare) < maxSpare {
		e.spare = append(e.spare, b.text[:0])
	}
}

// run sends spans, when there are enough or the time has come.
func (e *Exporter) run() {
	defer close(e.done)
	tick := time.NewTicker(e.config.Interval.Std())
	defer tick.Stop()
	for {
		select {
		case <-e.full:
		case <-tick.C:
		case <-e.closing:
			e.finish()
			return
		}
		e.export()
	}
}

// finish sends what is left, if the collector takes it at once.
func (e *Exporter) finish() {
	e.export()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := e.client.Stop(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		e.stats.Report(observe.LevelWarn, "tracing: the connection to the collector did not end well: "+err.Error())
	}
}

// export sends what waits.
func (e *Exporter) export() {
	for _, b := range e.take() {
		e.send(b)
		e.release(b)
	}
}

// send sends a batch. One that fails is lost: what comes later is worth more than
// the memory of it.
func (e *Exporter) send(b batch) {
	ctx, cancel := context.WithTimeout(e.ctx, e.config.Timeout.Std())
	defer cancel()
	if err := e.upload(ctx, b); err != nil {
		e.lost += b.spans
		e.stats.Spans.With(outcomeFailed).Add(uint64(b.spans))
		if !e.failing {
			e.failing = true
			e.stats.Report(observe.LevelError, fmt.Sprintf("tracing: the collector %s takes no spans, and they are lost until it does: %v", e.config.name(), err))
		}
		return
	}
	e.stats.Spans.With(outcomeSent).Add(uint64(b.spans))
	if e.failing {
		e.failing = false
		e.stats.Report(observe.LevelNotice, fmt.Sprintf("tracing: the collector %s takes spans again; %d were lost", e.config.name(), e.lost))
		e.lost = 0
	}
}

// upload gives a batch to the client, in a message that has the spans as bytes it
// does not look into: they are copied when it is written.
func (e *Exporter) upload(ctx context.Context, b batch) error {
	of := e.origin.ScopeSpans[0]
	spans := &tracepb.ScopeSpans{Scope: of.Scope, SchemaUrl: of.SchemaUrl}
	if e.plain {
		if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(b.text, spans); err != nil {
			return fmt.Errorf("BUG: spans that cannot be read: %w", err)
		}
	} else {
		spans.ProtoReflect().SetUnknown(b.text)
	}
	return e.client.UploadTraces(ctx, []*tracepb.ResourceSpans{{
		Resource: e.origin.Resource, SchemaUrl: e.origin.SchemaUrl, ScopeSpans: []*tracepb.ScopeSpans{spans},
	}})
}

// close sends what is left, as far as the collector takes it at once, and ends the
// exporter.
func (e *Exporter) close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	close(e.closing)
	defer time.AfterFunc(closeTime, e.cancel).Stop()
	<-e.done
	e.cancel()
}

// Exporters are those in use by configurations: a reload that does not change
// where spans go keeps queue and connection.
type Exporters struct {
	mu  sync.Mutex
	all map[string]*lentExporter
}

type lentExporter struct {
	*Exporter
	users int
}

// Lend gives the exporter of a configuration; Return must follow.
func (x *Exporters) Lend(c *Config, stats Stats) (*Exporter, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	digest := c.digest()
	if l := x.all[digest]; l != nil {
		l.users++
		return l.Exporter, nil
	}
	e, err := newExporter(c, stats)
	if err != nil {
		return nil, err
	}
	if x.all == nil {
		x.all = map[string]*lentExporter{}
	}
	x.all[digest] = &lentExporter{Exporter: e, users: 1}
	return e, nil
}

// Return ends a use; the last one sends what is left and may take closeTime.
func (x *Exporters) Return(e *Exporter) {
	x.mu.Lock()
	defer x.mu.Unlock()
	digest := e.config.digest()
	l := x.all[digest]
	if l == nil || l.Exporter != e {
		panic("BUG: exporter returned that was not lent")
	}
	if l.users--; l.users == 0 {
		delete(x.all, digest)
		e.close()
	}
}
