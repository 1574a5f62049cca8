package shim

// MetricKind is what a script's metric is.
type MetricKind uint32

// The kinds, as metrics_ffi.h numbers them.
const (
	MetricCounter   MetricKind = 0
	MetricGauge     MetricKind = 1
	MetricHistogram MetricKind = 2
)

// Metric is one that scripts have declared, as it stands.
type Metric struct {
	Name, Help string
	Kind       MetricKind
	Labels     []string
	Bounds     []float64 // of a histogram
	Series     []Series
}

// Series is a metric with label values. Value is the sum of a histogram, whose
// Counts are by bucket, the last without a bound.
type Series struct {
	Values []string
	Value  float64
	Counts []uint64
}
