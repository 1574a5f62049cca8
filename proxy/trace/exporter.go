package trace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"

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
	config  Config
	stats   Stats
	factory *factory
	client  sdk.SpanExporter

	// Traces gather in a list: to wake the exporter for each would cost more than
	// all else about them.
	mu      sync.Mutex
	queue   []*Trace
	waiting int // spans in queue
	closed  bool

	ctx     context.Context // of all exports
	cancel  context.CancelFunc
	full    chan struct{} // has an entry when there is a batch
	closing chan struct{}
	done    chan struct{}

	lost    int // spans since the collector was last heard of
	failing bool
}

// newExporter connects to the collector, by and by: one that is down is no error.
func newExporter(c *Config, stats Stats) (*Exporter, error) {
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	e := &Exporter{
		config: *c, stats: stats, client: client,
		full: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{}),
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if e.factory, err = newFactory(c); err != nil {
		return nil, err
	}
	go e.run()
	return e, nil
}

// Put hands a finished trace over, or drops and counts it.
func (e *Exporter) Put(t *Trace) {
	n := len(t.spans)
	e.mu.Lock()
	taken := e.waiting+n <= e.config.Queue && !e.closed
	if taken {
		e.queue = append(e.queue, t)
		e.waiting += n
	}
	enough := e.waiting >= maxBatch
	e.mu.Unlock()
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

// take gives the traces that wait.
func (e *Exporter) take() (traces []*Trace) {
	e.mu.Lock()
	defer e.mu.Unlock()
	traces, e.queue, e.waiting = e.queue, nil, 0
	return traces
}

// run makes spans of traces and sends them, when there are enough or the time has
// come.
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
	if err := e.client.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		e.stats.Report(observe.LevelWarn, "tracing: the connection to the collector did not end well: "+err.Error())
	}
}

// export sends what waits, in batches.
func (e *Exporter) export() {
	for _, t := range e.take() {
		e.factory.add(t)
		if e.factory.size() >= maxBatch {
			e.send(e.factory.batch())
		}
	}
	e.send(e.factory.batch())
}

// send sends a batch. One that fails is lost: what comes later is worth more than
// the memory of it.
func (e *Exporter) send(batch []sdk.ReadOnlySpan) {
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(e.ctx, e.config.Timeout.Std())
	defer cancel()
	if err := e.client.ExportSpans(ctx, batch); err != nil {
		e.lost += len(batch)
		e.stats.Spans.With(outcomeFailed).Add(uint64(len(batch)))
		if !e.failing {
			e.failing = true
			e.stats.Report(observe.LevelError, fmt.Sprintf("tracing: the collector %s takes no spans, and they are lost until it does: %v", e.config.name(), err))
		}
		return
	}
	e.stats.Spans.With(outcomeSent).Add(uint64(len(batch)))
	if e.failing {
		e.failing = false
		e.stats.Report(observe.LevelNotice, fmt.Sprintf("tracing: the collector %s takes spans again; %d were lost", e.config.name(), e.lost))
		e.lost = 0
	}
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
