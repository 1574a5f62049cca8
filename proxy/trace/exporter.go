package trace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"perigee/proxy/observe"
)

// maxBatch is how many spans one export has at most; one trace may exceed it.
const maxBatch = 512

// closeTime bounds the last export.
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

	queue   chan *Trace
	waiting atomic.Int64 // spans in the queue
	closed  atomic.Bool
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
		queue: make(chan *Trace, c.Queue), closing: make(chan struct{}), done: make(chan struct{}),
	}
	if e.factory, err = newFactory(c); err != nil {
		return nil, err
	}
	go e.run()
	return e, nil
}

// Put hands a finished trace over, or drops and counts it.
func (e *Exporter) Put(t *Trace) {
	n := int64(len(t.spans))
	if e.waiting.Add(n) <= int64(e.config.Queue) && !e.closed.Load() {
		e.queue <- t // has room for as many traces as spans may wait
		return
	}
	e.waiting.Add(-n)
	e.stats.Spans.With(outcomeDropped).Add(uint64(n))
}

// run makes spans of traces and sends them, when there are enough or the time has
// come.
func (e *Exporter) run() {
	defer close(e.done)
	tick := time.NewTicker(e.config.Interval.Std())
	defer tick.Stop()
	for {
		select {
		case t := <-e.queue:
			e.take(t)
			if e.factory.size() >= maxBatch {
				e.export(context.Background())
			}
		case <-tick.C:
			e.export(context.Background())
		case <-e.closing:
			e.finish()
			return
		}
	}
}

func (e *Exporter) take(t *Trace) {
	e.waiting.Add(-int64(len(t.spans)))
	e.factory.add(t)
}

// finish sends what is left, if the collector takes it at once.
func (e *Exporter) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	for len(e.queue) > 0 {
		e.take(<-e.queue)
	}
	e.export(ctx)
	if err := e.client.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		e.stats.Report(observe.LevelWarn, "tracing: the connection to the collector did not end well: "+err.Error())
	}
}

// export sends a batch. One that fails is lost: what comes later is worth more
// than the memory of it.
func (e *Exporter) export(ctx context.Context) {
	batch := e.factory.batch()
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, e.config.Timeout.Std())
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

// close sends what is left and ends the exporter.
func (e *Exporter) close() {
	e.closed.Store(true)
	close(e.closing)
	<-e.done
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
