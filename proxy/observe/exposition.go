package observe

import (
	"cmp"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// ContentType is the media type of WritePrometheus's output: the text format
// that every Prometheus reads.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// WritePrometheus writes all metrics in Prometheus' text format: perigee's own
// and those of the Go runtime and the process. Its error is w's.
func (m *Metrics) WritePrometheus(w io.Writer) error {
	var e exposition
	m.writeRequests(&e)
	m.writeUpstreams(&e)
	m.writeConnections(&e)
	m.writeLoops(&e)
	m.writeLua(&e)
	m.writeAuth(&e)
	m.writeLimits(&e)
	m.writeCertificates(&e)
	m.writeCustom(&e)
	m.writeProcess(&e)
	if _, err := w.Write(e.buf); err != nil {
		return err
	}
	return writeRuntime(w)
}

func (m *Metrics) writeRequests(e *exposition) {
	e.family("perigee_requests_total", "counter", "Finished exchanges by route and status code; route \"-\" matched none.")
	m.routes.each(cmp.Compare[string], func(name string, r *RouteMetrics) {
		r.codes.each(func(status int, n uint64) {
			e.labels("route", routeLabel(name), "code", strconv.Itoa(status))
			e.count(n)
		})
	})
	e.family("perigee_request_duration_seconds", "histogram", "Time from the request's first byte to the response's last.")
	m.routes.each(cmp.Compare[string], func(name string, r *RouteMetrics) {
		e.histogram("route", routeLabel(name), r.duration.Totals())
	})
	e.family("perigee_inflight_requests", "gauge", "Exchanges that have started and not finished.")
	e.integer(m.InFlight.Value())
	e.family("perigee_saturation_ratio", "gauge", "How near the gateway is to its limits over the last second: its fullest part.")
	e.float(m.Saturation.Ratio())
	e.family("perigee_saturation_part_ratio", "gauge", "The parts of perigee_saturation_ratio.")
	m.Saturation.each(func(name string, mean float64) {
		e.labels("part", name)
		e.float(mean)
	})
	e.single("perigee_client_aborts_total", "Exchanges whose client left or was too slow.", &m.ClientAborts)
	e.reasons("perigee_http_refused_total", "Requests refused for their framing or head, by reason.", "reason", &m.Refused)
	e.single("perigee_panics_total", "Panics that the gateway recovered from.", &m.Panics)
}

func routeLabel(name string) string {
	if name == "" {
		return "-"
	}
	return name
}

func (m *Metrics) writeUpstreams(e *exposition) {
	byName := func(a, b endpointKey) int {
		return cmp.Or(cmp.Compare(a.upstream, b.upstream), cmp.Compare(a.endpoint, b.endpoint))
	}
	e.family("perigee_upstream_requests_total", "counter", "Attempts at endpoints by status code; 502 and 504 also stand for no answer.")
	m.endpoints.each(byName, func(key endpointKey, ep *EndpointMetrics) {
		ep.codes.each(func(status int, n uint64) {
			e.labels("upstream", key.upstream, "endpoint", key.endpoint, "code", strconv.Itoa(status))
			e.count(n)
		})
	})
	e.family("perigee_upstream_duration_seconds", "histogram", "Time from an attempt's start to the last byte of its response.")
	m.upstreams.each(cmp.Compare[string], func(name string, u *UpstreamMetrics) {
		e.histogram("upstream", name, u.duration.Totals())
	})
}

func (m *Metrics) writeConnections(e *exposition) {
	e.family("perigee_connections", "gauge", "Open client connections.")
	m.listeners.each(cmp.Compare[string], func(address string, l *ListenerMetrics) {
		e.labels("listener", address)
		e.integer(l.Open.Value())
	})
	e.family("perigee_connections_total", "counter", "Accepted client connections.")
	m.listeners.each(cmp.Compare[string], func(address string, l *ListenerMetrics) {
		e.labels("listener", address)
		e.count(l.Accepted.Value())
	})
}

func (m *Metrics) writeLua(e *exposition) {
	e.family("perigee_lua_run_seconds", "histogram", "Time that a script's phases ran Lua, waits excluded.")
	m.scripts.each(cmp.Compare[string], func(name string, s *ScriptMetrics) {
		e.histogram("script", name, s.runs.Totals())
	})
	e.family("perigee_lua_errors_total", "counter", "Runs that ended with an error, by script and kind.")
	m.scripts.each(cmp.Compare[string], func(name string, s *ScriptMetrics) {
		s.Errors.each(func(kind string, n uint64) {
			e.labels("script", name, "kind", kind)
			e.count(n)
		})
	})
	e.reasons("perigee_lua_aborts_total", "Runs of Lua that were stopped, by what stopped them.", "reason", &m.LuaAborts)
	src := m.sources.Load()
	if src == nil {
		return
	}
	if src.LuaMemoryBytes != nil {
		e.family("perigee_lua_vm_memory_bytes", "gauge", "Memory of all Lua VMs together.")
		e.integer(src.LuaMemoryBytes())
	}
	if src.LuaVMs != nil {
		e.family("perigee_lua_vms", "gauge", "Lua VMs of all living generations.")
		e.integer(int64(src.LuaVMs()))
	}
}

func (m *Metrics) writeProcess(e *exposition) {
	e.reasons("perigee_reloads_total", "Reloads by outcome.", "outcome", &m.Reloads)
	if digest := m.digest.Load(); digest != nil {
		e.family("perigee_config_digest_info", "gauge", "The running configuration's digest; always 1.")
		e.labels("digest", *digest)
		e.count(1)
	}
	e.family("perigee_config_stale", "gauge", "1 while the configuration file was refused and an older one runs.")
	e.integer(m.ConfigStale.Value())
	e.family("perigee_build_info", "gauge", "What this binary was built from; always 1.")
	goVersion := m.build.Go
	if goVersion == "" {
		goVersion = runtime.Version()
	}
	e.labels("version", m.build.Version, "revision", m.build.Revision, "go", goVersion, "luajit", m.build.LuaJIT)
	e.count(1)
	e.single("perigee_access_log_dropped_total", "Access lines lost to a full ring or a failed write.", &m.AccessDropped)
	e.reasons("perigee_trace_spans_total", "Spans of sampled requests: sent to the collector, dropped by a full queue, failed to be taken.", "outcome", &m.Spans)
	e.single("perigee_log_dropped_total", "Process log lines lost to a full ring or a failed write.", &m.LogDropped)
}

// exposition builds the text. A family starts with family; then each sample is
// labels (or none) followed by one of count, integer and float.
type exposition struct {
	buf  []byte
	name string
	head []byte // the labels of the next sample, "" or `{a="b"`
}

func (e *exposition) family(name, kind, help string) {
	e.name = name
	e.buf = append(e.buf, "# HELP "...)
	e.buf = append(e.buf, name...)
	e.buf = append(e.buf, ' ')
	e.buf = append(e.buf, help...)
	e.buf = append(e.buf, "\n# TYPE "...)
	e.buf = append(e.buf, name...)
	e.buf = append(e.buf, ' ')
	e.buf = append(e.buf, kind...)
	e.buf = append(e.buf, '\n')
}

// labels takes pairs of name and value for the next sample.
func (e *exposition) labels(pairs ...string) {
	e.head = e.head[:0]
	for i := 0; i+1 < len(pairs); i += 2 {
		e.head = append(e.head, separator(i))
		e.head = append(e.head, pairs[i]...)
		e.head = append(e.head, '=', '"')
		e.head = appendLabelValue(e.head, pairs[i+1])
		e.head = append(e.head, '"')
	}
}

func separator(i int) byte {
	if i == 0 {
		return '{'
	}
	return ','
}

// appendLabelValue appends v as the text format wants it: backslash, quote and
// line feed escaped. It must be UTF-8, or Prometheus refuses the whole scrape.
func appendLabelValue(dst []byte, v string) []byte {
	if !utf8.ValidString(v) {
		v = strings.ToValidUTF8(v, "\ufffd")
	}
	for i := range len(v) {
		switch v[i] {
		case '\\', '"':
			dst = append(dst, '\\', v[i])
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, v[i])
		}
	}
	return dst
}

// sample appends the series' name with a suffix and its labels, up to the value.
func (e *exposition) sample(suffix string) {
	e.buf = append(e.buf, e.name...)
	e.buf = append(e.buf, suffix...)
	if len(e.head) > 0 {
		e.buf = append(e.buf, e.head...)
		e.buf = append(e.buf, '}')
	}
	e.buf = append(e.buf, ' ')
}

func (e *exposition) end() {
	e.buf = append(e.buf, '\n')
	e.head = e.head[:0]
}

func (e *exposition) count(n uint64) {
	e.sample("")
	e.buf = strconv.AppendUint(e.buf, n, 10)
	e.end()
}

func (e *exposition) integer(n int64) {
	e.sample("")
	e.buf = strconv.AppendInt(e.buf, n, 10)
	e.end()
}

func (e *exposition) float(v float64) {
	e.sample("")
	e.buf = strconv.AppendFloat(e.buf, v, 'g', -1, 64)
	e.end()
}

func (e *exposition) single(name, help string, c *Counter) {
	e.family(name, "counter", help)
	e.count(c.Value())
}

func (e *exposition) reasons(name, help, label string, r *Reasons) {
	e.family(name, "counter", help)
	r.each(func(reason string, n uint64) {
		e.labels(label, reason)
		e.count(n)
	})
}

// histogram appends one series of a histogram family: cumulative buckets, sum
// and count.
func (e *exposition) histogram(label, value string, t Totals) {
	e.labels(label, value)
	series := len(e.head)
	var seen uint64
	for i := range t.Buckets {
		seen += t.Buckets[i]
		e.head = append(e.head[:series], `,le="`...)
		if i < len(t.Bounds) {
			e.head = strconv.AppendFloat(e.head, t.Bounds[i].Seconds(), 'g', -1, 64)
		} else {
			e.head = append(e.head, "+Inf"...)
		}
		e.head = append(e.head, '"')
		e.sample("_bucket")
		e.buf = strconv.AppendUint(e.buf, seen, 10)
		e.buf = append(e.buf, '\n')
	}
	e.head = e.head[:series]
	e.sample("_sum")
	e.buf = strconv.AppendFloat(e.buf, seconds(t.Sum), 'g', -1, 64)
	e.buf = append(e.buf, '\n')
	e.sample("_count")
	e.buf = strconv.AppendUint(e.buf, t.Count, 10)
	e.end()
}

func seconds(d time.Duration) float64 { return float64(d) / float64(time.Second) }
