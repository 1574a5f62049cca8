//go:build cgo && luajit

package shim

/*
#cgo LDFLAGS: -L${SRCDIR}/../../.deps/lib -l:liblua5.1-cjson.a -lluajit-5.1 -lm -ldl
#include <stdlib.h>
#include "shdict.h"
#include "shim.h"

int pg_provide(pg_state *v, pg_shdict **dicts, uint32_t n);
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"unsafe"
)

// A Dict is one shared dictionary: C memory that all VMs of the process see.
// Its methods may be called from any goroutine; not after Close.
type Dict struct{ c *C.pg_shdict }

// OpenDict maps size bytes for a dictionary. size is at least 8192
// (lua_shared_dict's own minimum) and at most 128 GiB.
func OpenDict(name string, size int64) (*Dict, error) {
	if size < 2*4096 || uint64(size)/32 > math.MaxUint32 {
		return nil, fmt.Errorf("size of %d bytes is outside of 8 KiB to 128 GiB", size)
	}
	p := C.CString(name)
	defer C.free(unsafe.Pointer(p))
	c, err := C.pg_shdict_open(p, C.uint32_t(len(name)), C.uint64_t(size))
	if c == nil {
		return nil, fmt.Errorf("cannot map %d bytes of memory: %w", size, err)
	}
	return &Dict{c: c}, nil
}

// Close gives the memory back. No VM that knows the dictionary may run any
// more.
func (d *Dict) Close() {
	C.pg_shdict_close(d.c)
	d.c = nil
}

// Stats reads the dictionary's counters.
func (d *Dict) Stats() DictStats {
	var s C.pg_dict_stats
	C.pg_shdict_stats(d.c, &s)
	return DictStats{
		Capacity: uint64(s.capacity), Free: uint64(s.free), Items: uint64(s.items),
		Evicted: uint64(s.evicted), Expired: uint64(s.expired), Refused: uint64(s.refused),
	}
}

// Check walks the whole dictionary and says what does not fit together. It is
// slow, and all who use the dictionary wait meanwhile: for tests.
func (d *Dict) Check() error {
	if bad := C.pg_shdict_check(d.c); bad != nil {
		return errors.New("BUG: shared dictionary: " + C.GoString(bad))
	}
	return nil
}

// Provide hands ngx.null, cjson and dicts to the state; between Open and Boot.
// The dictionaries must stay open for as long as the state runs.
func (s *State) Provide(dicts []*Dict) error {
	list := make([]*C.pg_shdict, len(dicts)+1)
	for i, d := range dicts {
		list[i] = d.c
	}
	if C.pg_provide(s.c, &list[0], C.uint32_t(len(dicts))) != 0 {
		return errors.New("luavm: out of memory naming the shared dictionaries")
	}
	return nil
}
