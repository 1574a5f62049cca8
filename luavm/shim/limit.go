//go:build cgo && luajit

package shim

/*
#include <stdlib.h>

#include "shim.h"

static int32_t limit_take(const pg_limit *l, const char *k, uint32_t kn,
                          double cost, int64_t now, pg_limit_out *out) {
  return pg_limits()->take(l, k, kn, cost, now, out);
}
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// A pg_limit is LimitWords, then where its decisions are counted.
var _ = [1]struct{}{}[unsafe.Sizeof(LimitWords{})+unsafe.Sizeof(uintptr(0))-unsafe.Sizeof(C.pg_limit{})]

// NewLimitCounts makes counters of one limit's decisions. Their memory is C's,
// and goes when nobody holds on to them.
func NewLimitCounts() *LimitCounts {
	c := &LimitCounts{memory: (*[limitOutcomes]uint64)(C.calloc(limitOutcomes, 8))}
	if c.memory == nil {
		return nil
	}
	runtime.AddCleanup(c, func(p unsafe.Pointer) { C.free(p) }, unsafe.Pointer(c.memory))
	return c
}

// TakeLimit decides as a script's perigee.limit does, at now of the table's
// clock, 0 for this moment.
func TakeLimit(l *LimitWords, key []byte, cost, now int64) LimitAnswer {
	var out C.pg_limit_out
	var limit C.pg_limit
	*(*LimitWords)(unsafe.Pointer(&limit)) = *l
	allowed := C.limit_take(&limit, (*C.char)(unsafe.Pointer(unsafe.SliceData(key))), C.uint32_t(len(key)), C.double(cost), C.int64_t(now), &out)
	return LimitAnswer{Allowed: allowed == 1, Remaining: float64(out.remaining), Wait: float64(out.wait), Reset: float64(out.reset)}
}
