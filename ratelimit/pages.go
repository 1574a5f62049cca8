package ratelimit

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A table begins with small pages, so that memory which no key has touched costs
// nothing. Keys lie anywhere: soon nearly every small page has some, and then
// large pages take no more memory and save decisions the walk through page tables
// that are too many for the processor to remember, a quarter of their time. So
// Sweep, which sees all slots, asks for each large page whose small ones are
// taken; the kernel then copies 2 MiB, once, while decisions that need them wait
// for some tenths of a millisecond.
const (
	largePage = 2 << 20
	// denseSlots is how many slots of a large page were in use when most of its
	// 512 small pages have been touched.
	denseSlots = 2 * largePage / pageSize
)

// largeBuckets is how many buckets a large page holds.
const largeBuckets = largePage / bucketSize

// mapTable maps length bytes that begin where a large page may; whole is what to
// unmap.
func mapTable(length int) (mem, whole []byte, err error) {
	whole, err = unix.Mmap(-1, 0, length+largePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return nil, nil, fmt.Errorf("limit table: cannot map %d bytes: %w", length, err)
	}
	pad := -uintptr(unsafe.Pointer(unsafe.SliceData(whole))) & (largePage - 1)
	return whole[pad : pad+uintptr(length) : pad+uintptr(length)], whole, nil
}

// pages are the large pages of a table: which of them have been asked for.
type pages []atomic.Bool

// enlarge asks for the n-th large page if it is in use all over.
func (t *Table) enlarge(n uint64, used int) {
	if used < denseSlots || n >= uint64(len(t.large)) || t.large[n].Swap(true) {
		return
	}
	page := t.mem[n*largePage : (n+1)*largePage]
	if unix.Madvise(page, unix.MADV_COLLAPSE) != nil {
		// Before Linux 6.1: the kernel does it when it comes by. Where it has no
		// large pages at all, small ones do.
		_ = unix.Madvise(page, unix.MADV_HUGEPAGE)
	}
}
