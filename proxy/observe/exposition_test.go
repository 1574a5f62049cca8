package observe

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// scrape is the text format read by its rules (Prometheus' exposition formats,
// version 0.0.4): what a server would accept, and a little stricter.
type scrape struct {
	kinds  map[string]string
	series map[string]float64 // name and labels as written
}

var (
	metaLine   = regexp.MustCompile(`^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*)(?: (.*))?$`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:, ?|$)`)
)

func parseScrape(text string) (*scrape, error) {
	s := &scrape{kinds: map[string]string{}, series: map[string]float64{}}
	if !strings.HasSuffix(text, "\n") {
		return nil, errors.New("the last line has no line feed")
	}
	family, closed := "", map[string]bool{}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if meta := metaLine.FindStringSubmatch(line); meta != nil {
			if meta[2] != family {
				if closed[meta[2]] {
					return nil, fmt.Errorf("line %d: family %s comes in two places", i+1, meta[2])
				}
				closed[family], family = true, meta[2]
			}
			if meta[1] == "TYPE" {
				if s.kinds[family] != "" {
					return nil, fmt.Errorf("line %d: second TYPE of %s", i+1, family)
				}
				s.kinds[family] = meta[3]
			}
			continue
		}
		if err := s.sample(line, family); err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", i+1, line, err)
		}
	}
	return s, s.checkHistograms()
}

func (s *scrape) sample(line, family string) error {
	m := sampleLine.FindStringSubmatch(line)
	if m == nil {
		return errors.New("no sample")
	}
	name := m[1]
	switch s.kinds[family] {
	case "":
		return errors.New("sample before its TYPE")
	case "histogram", "summary":
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
	}
	if name != family {
		return fmt.Errorf("belongs to %s, not to %s", name, family)
	}
	for rest := strings.TrimSuffix(strings.TrimPrefix(m[2], "{"), "}"); rest != ""; {
		pair := labelPair.FindString(rest)
		if pair == "" {
			return fmt.Errorf("bad labels from %q on", rest)
		}
		rest = rest[len(pair):]
	}
	v, err := strconv.ParseFloat(m[3], 64)
	if err != nil {
		return err
	}
	key := m[1] + m[2]
	if _, ok := s.series[key]; ok {
		return errors.New("series twice")
	}
	s.series[key] = v
	if s.kinds[family] == "counter" && (v < 0 || math.IsNaN(v)) {
		return errors.New("counter below zero")
	}
	return nil
}

var leLabel = regexp.MustCompile(`,?le="([^"]+)"`)

// checkHistograms checks perigee's own histograms: buckets grow with le, +Inf is
// there and equals the count.
func (s *scrape) checkHistograms() error {
	buckets := map[string]map[float64]float64{}
	for key, v := range s.series {
		name, _, _ := strings.Cut(key, "{")
		if !strings.HasPrefix(name, "perigee_") || !strings.HasSuffix(name, "_bucket") {
			continue
		}
		le, err := strconv.ParseFloat(leLabel.FindStringSubmatch(key)[1], 64)
		if err != nil {
			return err
		}
		series := strings.Replace(leLabel.ReplaceAllString(key, ""), "_bucket", "_count", 1)
		series = strings.TrimSuffix(series, "{}")
		if buckets[series] == nil {
			buckets[series] = map[float64]float64{}
		}
		buckets[series][le] = v
	}
	for series, byLE := range buckets {
		if byLE[math.Inf(1)] != s.series[series] {
			return fmt.Errorf("%s is %v, its +Inf bucket %v", series, s.series[series], byLE[math.Inf(1)])
		}
		for le, v := range byLE {
			for other, w := range byLE {
				if le < other && v > w {
					return fmt.Errorf("%s: bucket %v above bucket %v", series, le, other)
				}
			}
		}
	}
	return nil
}

// scrapeOf returns m's metrics, read.
func scrapeOf(t *testing.T, m *Metrics) *scrape {
	t.Helper()
	var out bytes.Buffer
	if err := m.WritePrometheus(&out); err != nil {
		t.Fatal(err)
	}
	s, err := parseScrape(out.String())
	if err != nil {
		t.Fatalf("%v in:\n%s", err, out.String())
	}
	return s
}

func (s *scrape) want(t *testing.T, series string, value float64) {
	t.Helper()
	got, ok := s.series[series]
	if !ok {
		t.Errorf("no series %s", series)
	} else if got != value {
		t.Errorf("%s = %v, want %v", series, got, value)
	}
}

// used returns metrics with something in every family.
func used() *Metrics {
	m := NewMetrics(BuildInfo{Version: "1.0.0", Revision: "abc", LuaJIT: "hardened 2.1"})
	rec := &Record{Shard: m.NextShard(), Status: 200, Duration: 3 * time.Millisecond}
	m.Route("orders").Observe(rec, nil)
	rec.Shard = m.NextShard()
	m.Route("orders").Observe(rec, nil)
	rec.Status, rec.Duration = 404, 20*time.Second
	m.Route("").Observe(rec, nil)
	ep := m.Endpoint("orders", "127.0.0.1:9001")
	ep.Observe(0, &Attempt{Status: 200, Response: 2 * time.Millisecond}, nil)
	ep.Observe(1, &Attempt{Response: -1}, nil)
	m.InFlight.Add(0, 3)
	m.InFlight.Add(1, -1)
	m.ClientAborts.Inc()
	m.Panics.Inc()
	m.Refused.With("bare_lf").Inc()
	m.LuaAborts.With("budget").Add(2)
	m.Reloads.With("applied").Inc()
	m.AccessDropped.Add(5)
	m.LogDropped.Inc()
	sc := m.Script("@orders.lua")
	sc.Observe(0, 30*time.Microsecond)
	sc.Errors.With("runtime").Inc()
	l := m.Listener(":8080")
	l.Open.Add(2)
	l.Accepted.Add(7)
	m.Saturation.Add(Part{Name: "inflight", Level: func() float64 { return 0.5 }})
	m.SetSources(Sources{LuaMemoryBytes: func() int64 { return 4096 }, LuaVMs: func() int { return 2 }, Loops: func() []LoopInfo {
		return []LoopInfo{{Exchanges: 3, Polls: 4, Events: 5, GoroutineOps: 1, Busy: 1500 * time.Millisecond, Connections: 6,
			Longest: 20 * time.Millisecond, Stage: "access", Script: "@a.lua"}}
	}})
	m.GoroutineExchanges.Add(0, 8)
	m.Applied("sha256:1234")
	return m
}

func TestMetricsReadAsPrometheusReads(t *testing.T) {
	m := used()
	for range saturationTicks {
		m.Saturation.sample(SaturationWindow / saturationTicks)
	}
	s := scrapeOf(t, m)
	for series, value := range map[string]float64{
		`perigee_requests_total{route="orders",code="200"}`:                                       2,
		`perigee_requests_total{route="-",code="404"}`:                                            1,
		`perigee_request_duration_seconds_bucket{route="orders",le="0.0025"}`:                     0,
		`perigee_request_duration_seconds_bucket{route="orders",le="0.005"}`:                      2,
		`perigee_request_duration_seconds_bucket{route="-",le="10"}`:                              0,
		`perigee_request_duration_seconds_bucket{route="-",le="+Inf"}`:                            1,
		`perigee_request_duration_seconds_sum{route="orders"}`:                                    0.006,
		`perigee_request_duration_seconds_count{route="orders"}`:                                  2,
		`perigee_inflight_requests`:                                                               2,
		`perigee_saturation_ratio`:                                                                0.5,
		`perigee_saturation_part_ratio{part="inflight"}`:                                          0.5,
		`perigee_upstream_requests_total{upstream="orders",endpoint="127.0.0.1:9001",code="502"}`: 1,
		`perigee_upstream_duration_seconds_count{upstream="orders"}`:                              1,
		`perigee_client_aborts_total`:                                                             1,
		`perigee_http_refused_total{reason="bare_lf"}`:                                            1,
		`perigee_panics_total`:                                                                    1,
		`perigee_connections{listener=":8080"}`:                                                   2,
		`perigee_connections_total{listener=":8080"}`:                                             7,
		`perigee_lua_run_seconds_bucket{script="@orders.lua",le="5e-05"}`:                         1,
		`perigee_lua_errors_total{script="@orders.lua",kind="runtime"}`:                           1,
		`perigee_lua_aborts_total{reason="budget"}`:                                               2,
		`perigee_lua_vm_memory_bytes`:                                                             4096,
		`perigee_driver_exchanges_total{driver="loop"}`:                                           3,
		`perigee_driver_exchanges_total{driver="goroutine"}`:                                      8,
		`perigee_loop_polls_total{loop="0"}`:                                                      4,
		`perigee_loop_events_total{loop="0"}`:                                                     5,
		`perigee_loop_goroutine_ops_total{loop="0"}`:                                              1,
		`perigee_loop_busy_seconds_total{loop="0"}`:                                               1.5,
		`perigee_loop_connections{loop="0"}`:                                                      6,
		`perigee_loop_longest_turn_seconds{loop="0",stage="access",script="@a.lua"}`:              0.02,
		`perigee_lua_vms`:                                  2,
		`perigee_reloads_total{outcome="applied"}`:         1,
		`perigee_config_digest_info{digest="sha256:1234"}`: 1,
		`perigee_access_log_dropped_total`:                 5,
		`perigee_log_dropped_total`:                        1,
	} {
		s.want(t, series, value)
	}
	for family, kind := range map[string]string{
		"perigee_requests_total": "counter", "perigee_request_duration_seconds": "histogram",
		"perigee_inflight_requests": "gauge", "go_goroutines": "gauge",
		"process_resident_memory_bytes": "gauge", "process_cpu_seconds_total": "counter",
	} {
		if s.kinds[family] != kind {
			t.Errorf("%s has type %q, want %q", family, s.kinds[family], kind)
		}
	}
}

func TestEveryCounterFamilyEndsInTotal(t *testing.T) {
	for family, kind := range scrapeOf(t, used()).kinds {
		if strings.HasPrefix(family, "perigee_") && (kind == "counter") != strings.HasSuffix(family, "_total") {
			t.Errorf("%s is a %s", family, kind)
		}
	}
}

func TestHostileLabelValuesStayOneSeries(t *testing.T) {
	m := NewMetrics(BuildInfo{Version: "dev\"\\\n}"})
	for _, name := range []string{`a"b`, `a\`, "a\nb", "a\xffb", `",le="x`, "é"} {
		m.Route(name).Observe(&Record{Status: 200}, nil)
	}
	s := scrapeOf(t, m)
	for _, label := range []string{`a\"b`, `a\\`, `a\nb`, "a\ufffdb", `\",le=\"x`, "é"} {
		s.want(t, `perigee_requests_total{route="`+label+`",code="200"}`, 1)
	}
}

func TestScrapeParserRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no line feed":       "# TYPE a counter\na 1",
		"no type":            "a 1\n",
		"twice":              "# TYPE a counter\na 1\na 2\n",
		"split family":       "# TYPE a counter\na 1\n# TYPE b counter\nb 1\n# HELP a x\n",
		"foreign sample":     "# TYPE a counter\nb 1\n",
		"bad label":          "# TYPE a counter\na{b=\"\\x\"} 1\n",
		"falling buckets":    "# TYPE perigee_h histogram\nperigee_h_bucket{le=\"1\"} 2\nperigee_h_bucket{le=\"+Inf\"} 1\nperigee_h_sum 1\nperigee_h_count 1\n",
		"count without +Inf": "# TYPE perigee_h histogram\nperigee_h_bucket{le=\"1\"} 2\nperigee_h_sum 1\nperigee_h_count 2\n",
	} {
		if _, err := parseScrape(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

type brokenWriter struct{ after int }

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.after--; b.after < 0 {
		return 0, errors.New("scraper left")
	}
	return len(p), nil
}

func TestScrapeReportsTheWritersError(t *testing.T) {
	for after := range 2 { // our own metrics, and the runtime's
		if err := used().WritePrometheus(&brokenWriter{after: after}); err == nil {
			t.Errorf("no error after %d writes", after)
		}
	}
}
