//go:build cgo && luajit

package shim

/*
#include "shim.h"

static int32_t limit_take(const pg_limit *l, const char *k, uint32_t kn,
                          double cost, int64_t now, pg_limit_out *out) {
  return pg_limits()->take(l, k, kn, cost, now, out);
}
*/
import "C"

import "unsafe"

var _ = [1]struct{}{}[unsafe.Sizeof(LimitWords{})-unsafe.Sizeof(C.pg_limit{})]

// TakeLimit decides as a script's perigee.limit does, at now of the table's
// clock, 0 for this moment.
func TakeLimit(l *LimitWords, key []byte, cost, now int64) LimitAnswer {
	var out C.pg_limit_out
	allowed := C.limit_take((*C.pg_limit)(unsafe.Pointer(l)), (*C.char)(unsafe.Pointer(unsafe.SliceData(key))), C.uint32_t(len(key)), C.double(cost), C.int64_t(now), &out)
	return LimitAnswer{Allowed: allowed == 1, Remaining: float64(out.remaining), Wait: float64(out.wait), Reset: float64(out.reset)}
}
