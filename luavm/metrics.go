package luavm

import "perigee/luavm/shim"

// Metric is a metric that scripts have declared with perigee.metrics.
type Metric = shim.Metric

// The kinds of metrics.
const (
	MetricCounter   = shim.MetricCounter
	MetricGauge     = shim.MetricGauge
	MetricHistogram = shim.MetricHistogram
)

// Metrics reads what the scripts of the whole process have counted.
func Metrics() []Metric { return shim.Metrics() }
