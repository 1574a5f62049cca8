//go:build cgo && luajit

package luavm

import (
	"strings"
	"testing"
)

// TestMetricsRefuse: what is wrong with a metric is said where it is declared or
// used, with the value.
func TestMetricsRefuse(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a name", `m.counter("a-b")`, "a metric's name must be letters, digits and _, not a-b"},
		{"no name", `m.counter()`, "not nil"},
		{"the gateway's names", `m.gauge("perigee_x")`, "perigee_x is the gateway's own"},
		{"a label", `m.counter("refuse_a", "", {"b-c"})`, "label b-c is no name"},
		{"le", `m.histogram("refuse_b", "", {"le"})`, "label le is no name"},
		{"a label twice", `m.counter("refuse_c", "", {"x", "x"})`, "label x is no name, le, or there twice"},
		{"buckets that shrink", `m.histogram("refuse_d", "", {}, {buckets = {2, 1}})`, "buckets must be numbers that grow"},
		{"no bucket", `m.histogram("refuse_e", "", {}, {buckets = {}})`, "buckets must be 1 to 64 numbers"},
		{"too many series", `m.counter("refuse_f", "", {}, {limit = 1e6})`, "limit must be 1 to 10000"},
		{"another kind", `m.counter("refuse_g") m.gauge("refuse_g")`, "refuse_g was declared with another kind"},
		{"other labels", `m.counter("refuse_h") m.counter("refuse_h", "", {"x"})`, "refuse_h was declared with another kind, other labels"},
		{"the same again", `m.counter("refuse_i", "", {"x"}) m.counter("refuse_i", "other help", {"x"})`, "nothing"},
		{"a counter that falls", `m.counter("refuse_j"):inc(-1)`, "a counter only grows: -1"},
		{"no number", `m.gauge("refuse_k"):set("x")`, "a metric's value must be a number, not x"},
		{"NaN", `m.gauge("refuse_l"):set(0/0)`, "a metric's value must be a number"},
		{"no label values", `m.counter("refuse_m", "", {"x", "y"}):inc(1)`, "label values must be a table of 2"},
		{"a value as it is", `m.counter("refuse_n", "", {"x"}):inc(1, "one")`, "nothing"},
	} {
		p, scripts := dataPool(t, Options{}, `local m = perigee.metrics
local ok, why = pcall(function() `+c.text+` end)
ngx.print(ok and "nothing" or why)`)
		got := dataRun(t, p, scripts[0])
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestMetricsOfSandboxedScripts: they count as others do.
func TestMetricsOfSandboxedScripts(t *testing.T) {
	p, scripts := strictPool(t, `perigee.metrics.counter("strict_total", "", {"x"}):inc(2, {"y"}) ngx.print("counted")`)
	if got := dataRun(t, p, scripts[0]); got != "counted" {
		t.Fatal(got)
	}
	for _, m := range Metrics() {
		if m.Name == "strict_total" && m.Kind == MetricCounter && len(m.Series) == 1 && m.Series[0].Value >= 2 {
			return
		}
	}
	t.Errorf("not among %v", Metrics())
}
