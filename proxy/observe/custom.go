package observe

import (
	"strconv"
	"strings"
)

// Family is a metric that is not the gateway's own: a script's.
type Family struct {
	Name, Help string
	Kind       string // "counter", "gauge", "histogram"
	Labels     []string
	Bounds     []float64 // of a histogram
	Series     []FamilySeries
}

// FamilySeries is a family with label values. Value is the sum of a histogram,
// whose Counts are by bucket, the last without a bound.
type FamilySeries struct {
	Values []string
	Value  float64
	Counts []uint64
}

func (m *Metrics) writeCustom(e *exposition) {
	src := m.sources.Load()
	if src == nil || src.Custom == nil {
		return
	}
	for _, f := range src.Custom() {
		e.family(f.Name, f.Kind, strings.ReplaceAll(f.Help, `\`, `\\`))
		for _, s := range f.Series {
			pairs := make([]string, 0, 2*len(f.Labels))
			for i, name := range f.Labels {
				if i < len(s.Values) {
					pairs = append(pairs, name, s.Values[i])
				}
			}
			if f.Kind == "histogram" {
				e.buckets(pairs, f.Bounds, &s)
				continue
			}
			e.labels(pairs...)
			e.float(s.Value)
		}
	}
}

// buckets appends a series of a histogram whose bounds are any numbers.
func (e *exposition) buckets(pairs []string, bounds []float64, s *FamilySeries) {
	var seen uint64
	for i, n := range s.Counts {
		seen += n
		le := "+Inf"
		if i < len(bounds) {
			le = strconv.FormatFloat(bounds[i], 'g', -1, 64)
		}
		e.labels(append(pairs[:len(pairs):len(pairs)], "le", le)...)
		e.sample("_bucket")
		e.buf = strconv.AppendUint(e.buf, seen, 10)
		e.end()
	}
	e.labels(pairs...)
	e.sample("_sum")
	e.buf = strconv.AppendFloat(e.buf, s.Value, 'g', -1, 64)
	e.end()
	e.labels(pairs...)
	e.sample("_count")
	e.buf = strconv.AppendUint(e.buf, seen, 10)
	e.end()
}
