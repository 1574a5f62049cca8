package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// load is POSTs at a Service until it is stopped: runs of k6's scenario fleet,
// one after the other, since k6 cannot end early without breaking off what is
// under way. Between two of them is about a second without requests.
type load struct {
	t       *testing.T
	target  string
	kind    string
	dir     string
	begin   time.Time
	rate    atomic.Int64 // requests per second of the next run
	seconds atomic.Int64 // that the next run lasts
	runs    atomic.Int64 // that have begun
	stopped atomic.Bool
	cancel  context.CancelFunc
	done    chan struct{}
	result  *result // when done is closed
	err     error
}

// result is what k6 says of its runs.
type result struct {
	requests, dropped int
	passed, limited   int     // answers 200 and 429
	median, p95, p99  float64 // milliseconds, of the worst run
	failures          []failure
	sending           float64 // seconds for which k6 was to send
	seconds           float64 // from the start of the first to the end of the last run
}

// failure is a request without the answer it should have.
type failure struct {
	Began  int64 // milliseconds of the epoch
	Took   int64
	Status int
	Error  string
}

func (f failure) at() time.Time { return time.UnixMilli(f.Began) }

// runSeconds is how long a run of k6 lasts, unless offerFor has said otherwise.
const runSeconds = 10

// startLoad begins POSTs of a kind that loadtest/scenarios/fleet.js knows.
func startLoad(t *testing.T, target, kind string, perSecond float64) *load {
	t.Helper()
	if *k6 == "" {
		t.Fatal("no -k6")
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{
		t: t, target: target, kind: kind, dir: t.TempDir(), begin: time.Now(),
		cancel: cancel, done: make(chan struct{}), result: &result{},
	}
	l.offer(perSecond)
	go l.run(ctx)
	t.Cleanup(func() {
		cancel()
		<-l.done
	})
	return l
}

// offer changes the rate for the runs to come.
func (l *load) offer(perSecond float64) { l.offerFor(perSecond, runSeconds) }

// offerFor changes their length, too.
func (l *load) offerFor(perSecond float64, seconds int64) {
	l.seconds.Store(seconds)
	l.rate.Store(max(1, int64(math.Round(perSecond))))
}

func (l *load) run(ctx context.Context) {
	defer close(l.done)
	before := l.rate.Load()
	for n := 0; !l.stopped.Load() && l.err == nil; n++ {
		// A new rate is reached by a ramp of a second: what opens connections all
		// at once is another test.
		l.runs.Add(1)
		rate, seconds := l.rate.Load(), l.seconds.Load()
		stages := fmt.Sprintf("%d:0,%d:1,%d:%d", before, rate, rate, seconds-1)
		before = rate
		l.result.sending += float64(seconds)
		l.err = l.once(ctx, stages, filepath.Join(l.dir, fmt.Sprintf("run%d", n)))
	}
	l.result.seconds = time.Since(l.begin).Seconds()
}

// once runs k6 and adds what it says.
func (l *load) once(ctx context.Context, stages, base string) error {
	out, err := os.Create(base + ".log")
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.CommandContext(ctx, *k6, "run", "--no-usage-report", "--quiet", "--no-color", "--log-format=json", "--summary-export", base+".json",
		"-e", "TARGET="+l.target, "-e", "KIND="+l.kind, "-e", "STAGES="+stages, "../../loadtest/scenarios/fleet.js")
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	text, _ := os.ReadFile(out.Name())
	// 99: a threshold was crossed, which the caller judges.
	if err != nil && cmd.ProcessState.ExitCode() != 99 {
		return fmt.Errorf("k6: %w\n%s", err, text[max(0, len(text)-2000):])
	}
	one, err := readSummary(base + ".json")
	if err != nil {
		return err
	}
	one.failures = failures(string(text))
	if lost := one.requests - one.passed - one.limited; lost != len(one.failures) {
		return fmt.Errorf("k6 counts %d lost requests and has logged %d:\n%s", lost, len(one.failures), text[max(0, len(text)-2000):])
	}
	l.result.add(one)
	return nil
}

// stop ends the load with the run of k6 under way, and answers what became of all.
func (l *load) stop() *result {
	l.t.Helper()
	l.stopped.Store(true)
	select {
	case <-l.done:
	case <-time.After(5 * time.Minute):
		l.cancel()
		l.t.Fatal("k6 does not end")
	}
	if l.err != nil {
		l.t.Fatal(l.err)
	}
	if l.result.requests == 0 {
		l.t.Fatal("k6 has sent nothing")
	}
	return l.result
}

// check fails the test when the load has broken off.
func (l *load) check() {
	l.t.Helper()
	select {
	case <-l.done:
		l.t.Fatal("the load has ended early: ", l.err)
	default:
	}
}

func readSummary(file string) (*result, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var summary struct {
		Metrics map[string]map[string]any
	}
	if err := json.Unmarshal(text, &summary); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	number := func(metric, field string) float64 {
		v, _ := summary.Metrics[metric][field].(float64)
		return v
	}
	return &result{
		requests: int(number("http_reqs", "count")), dropped: int(number("dropped_iterations", "count")),
		passed: int(number("answered_200", "count")), limited: int(number("answered_429", "count")),
		median: number("http_req_duration", "med"), p95: number("http_req_duration", "p(95)"), p99: number("http_req_duration", "p(99)"),
	}, nil
}

func (r *result) add(one *result) {
	r.requests += one.requests
	r.dropped += one.dropped
	r.passed += one.passed
	r.limited += one.limited
	r.median, r.p95, r.p99 = max(r.median, one.median), max(r.p95, one.p95), max(r.p99, one.p99)
	r.failures = append(r.failures, one.failures...)
}

// failures are those of k6's log.
func failures(log string) (found []failure) {
	for line := range strings.Lines(log) {
		var entry struct{ Msg string }
		var f failure
		if json.Unmarshal([]byte(line), &entry) == nil && json.Unmarshal([]byte(entry.Msg), &f) == nil && f.Began > 0 {
			found = append(found, f)
		}
	}
	return found
}

// lostNothing fails the test for each request without its answer.
func (r *result) lostNothing(t *testing.T) {
	t.Helper()
	for i, f := range r.failures {
		if i == 10 {
			break
		}
		t.Errorf("a POST of %s failed after %d ms: %d %s", f.at().Format("15:04:05.000"), f.Took, f.Status, f.Error)
	}
	if len(r.failures) > 0 {
		t.Errorf("%d of %d POSTs failed", len(r.failures), r.requests)
	}
}

// after counts the failures that began after a moment.
func (r *result) after(at time.Time) (n int) {
	for _, f := range r.failures {
		if f.at().After(at) {
			n++
		}
	}
	return n
}
