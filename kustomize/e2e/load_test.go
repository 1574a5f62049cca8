package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// load is a run of k6's scenario fleet.
type load struct {
	t       *testing.T
	process *process
	summary string
	begin   time.Time
}

// result is what k6 says of its run.
type result struct {
	requests, dropped int
	passed, limited   int     // answers 200 and 429
	median, p95, p99  float64 // milliseconds
	failures          []failure
	begin             time.Time
	seconds           float64
}

// failure is a request without the answer it should have.
type failure struct {
	Began  int64 // milliseconds of the epoch
	Took   int64
	Status int
	Error  string
}

func (f failure) at() time.Time { return time.UnixMilli(f.Began) }

// shape is what loadtest/scenarios/fleet.js is told.
type shape struct {
	kind, stages string
}

// startLoad begins POSTs at a Service.
func startLoad(t *testing.T, target string, s shape) *load {
	t.Helper()
	if *k6 == "" {
		t.Fatal("no -k6")
	}
	dir := t.TempDir()
	l := &load{t: t, summary: filepath.Join(dir, "summary.json"), begin: time.Now()}
	l.process = start(t, dir, *k6, "run", "--no-usage-report", "--quiet", "--no-color", "--log-format=json", "--summary-export", l.summary,
		"-e", "TARGET="+target, "-e", "KIND="+s.kind, "-e", "STAGES="+s.stages, "../../loadtest/scenarios/fleet.js")
	return l
}

// wait is for the end of the load.
func (l *load) wait() *result {
	l.t.Helper()
	select {
	case <-l.process.done:
	case <-time.After(10 * time.Minute):
		l.t.Fatal("k6 does not end: ", l.process.tail())
	}
	// 99: a threshold was crossed, which the caller judges.
	if state := l.process.cmd.ProcessState; state.ExitCode() != 0 && state.ExitCode() != 99 {
		l.t.Fatal("k6: ", state, l.process.tail())
	}
	text, err := os.ReadFile(l.summary)
	if err != nil {
		l.t.Fatal(err)
	}
	var summary struct {
		Metrics map[string]map[string]any
	}
	if err := json.Unmarshal(text, &summary); err != nil {
		l.t.Fatal(err)
	}
	number := func(metric, field string) float64 {
		v, _ := summary.Metrics[metric][field].(float64)
		return v
	}
	r := &result{
		requests: int(number("http_reqs", "count")), dropped: int(number("dropped_iterations", "count")),
		passed: int(number("answered_200", "count")), limited: int(number("answered_429", "count")),
		median: number("http_req_duration", "med"), p95: number("http_req_duration", "p(95)"), p99: number("http_req_duration", "p(99)"),
		begin: l.begin, seconds: time.Since(l.begin).Seconds(),
	}
	r.failures = l.failures()
	if lost := r.requests - r.passed - r.limited; lost != len(r.failures) {
		l.t.Errorf("k6 counts %d lost requests and has logged %d", lost, len(r.failures))
	}
	if r.requests == 0 {
		l.t.Fatal("k6 has sent nothing: ", l.process.tail())
	}
	return r
}

// failures are those of k6's log.
func (l *load) failures() (found []failure) {
	text, err := os.ReadFile(l.process.log)
	if err != nil {
		l.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
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
