//go:build cgo && luajit

package shim

// #cgo CFLAGS: -I${SRCDIR}/../../.deps/luajit/include
// #include "metrics.h"
import "C"

import (
	"strings"
	"unsafe"
)

// Metrics reads all metrics, in the order in which they were declared.
func Metrics() (all []Metric) {
	for i := C.uint32_t(0); ; i++ {
		c := C.pg_metric_at(i)
		if c == nil {
			return all
		}
		m := Metric{Name: goText(c.spec.name), Help: goText(c.spec.help), Kind: MetricKind(c.spec.kind)}
		if c.spec.label_count > 0 {
			m.Labels = strings.Split(goText(c.spec.labels), "\x00")
		}
		m.Bounds = append(m.Bounds, unsafe.Slice((*float64)(c.spec.bounds), c.spec.bound_count)...)
		for s := C.pg_metric_newest(c); s != nil; s = s.next {
			m.Series = append(m.Series, readSeries(s, &m))
		}
		if s := C.pg_metric_spill(c); s != nil {
			m.Series = append(m.Series, readSeries(s, &m))
		}
		all = append(all, m)
	}
}

func readSeries(c *C.pg_series, m *Metric) Series {
	s := Series{Value: float64(C.pg_series_value(c))}
	if len(m.Labels) > 0 {
		values := unsafe.Add(unsafe.Pointer(c), unsafe.Sizeof(*c)-seriesTail)
		s.Values = strings.Split(C.GoStringN((*C.char)(values), C.int(c.n)), "\x00")
	}
	if m.Kind == MetricHistogram {
		for i := range len(m.Bounds) + 1 {
			s.Counts = append(s.Counts, uint64(C.pg_series_count(c, C.uint32_t(i))))
		}
	}
	return s
}

// seriesTail is the padding behind pg_series.n: values begin right after n.
var seriesTail = unsafe.Sizeof(C.pg_series{}) - unsafe.Offsetof(C.pg_series{}.n) - 4

func goText(s C.pg_str) string { return C.GoStringN(s.p, C.int(s.n)) }
