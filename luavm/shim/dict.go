//go:build cgo && luajit

package shim

/*
#cgo LDFLAGS: ${SRCDIR}/../../.deps/lib/liblua5.1-cjson.a -L${SRCDIR}/../../.deps/luajit/lib -lluajit-5.1 -lm -ldl
#include <stdlib.h>
#include "shdict.h"

const pg_dict_api *pg_dict(void);
*/
import "C"

import (
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

// A DictList is C memory that names the dictionaries of a VM to Lua.
type DictList struct{ c *C.pg_dict_list }

// NewDictList lists dicts; Free it after the last VM that got its Pointer.
func NewDictList(dicts []*Dict) *DictList {
	n := len(dicts)
	head := (*C.pg_dict_list)(C.calloc(1, C.sizeof_pg_dict_list))
	list := (**C.pg_shdict)(C.calloc(C.size_t(n)+1, C.size_t(unsafe.Sizeof(uintptr(0)))))
	for i, d := range dicts {
		unsafe.Slice(list, n)[i] = d.c
	}
	head.n = C.uint32_t(n)
	head.dicts = list
	return &DictList{c: head}
}

// Pointer is what P.dicts is to Lua: a const pg_dict_list *.
func (l *DictList) Pointer() unsafe.Pointer { return unsafe.Pointer(l.c) }

// Free gives the list's memory back, not the dictionaries'.
func (l *DictList) Free() {
	C.free(unsafe.Pointer(l.c.dicts))
	C.free(unsafe.Pointer(l.c))
	l.c = nil
}
