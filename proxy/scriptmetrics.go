package proxy

import (
	"perigee/luavm"
	"perigee/proxy/observe"
)

// scriptMetrics are what scripts have counted with perigee.metrics.
func scriptMetrics() (families []observe.Family) {
	for _, m := range luavm.Metrics() {
		f := observe.Family{Name: m.Name, Help: m.Help, Labels: m.Labels, Bounds: m.Bounds}
		switch m.Kind {
		case luavm.MetricCounter:
			f.Kind = "counter"
		case luavm.MetricGauge:
			f.Kind = "gauge"
		case luavm.MetricHistogram:
			f.Kind = "histogram"
		}
		for _, s := range m.Series {
			f.Series = append(f.Series, observe.FamilySeries(s))
		}
		families = append(families, f)
	}
	return families
}
