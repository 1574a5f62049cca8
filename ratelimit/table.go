package ratelimit

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Table holds what is known of keys, in memory of a fixed size outside Go's
// heap: the collector neither scans nor moves it, and C may use it too. All its
// methods are safe for concurrent use; decisions take no lock and allocate
// nothing. What is known is lost when the process ends.
type Table struct {
	base    unsafe.Pointer
	mem     []byte // header, counters, buckets
	whole   []byte // the mapping that mem is a part of
	large   pages
	seed    uint64
	shift   uint   // home bucket = hash >> shift
	mask    uint64 // buckets per shard - 1
	buckets uint64
	mu      sync.Mutex // classes
	close   sync.Once
	clock   *Monotonic
}

const (
	minBuckets = shardCount * WindowBuckets
	// MinTable and MaxTable bound a table's size in bytes.
	MinTable = minBuckets * bucketSize
	MaxTable = 1 << 40

	classInflight = ^uint64(0)
)

// NewTable maps a table of size bytes, rounded down to a power of two, and a
// header of 8 KiB. It has four keys per 64 bytes, and works without giving up
// active keys while about two thirds of these are taken. Pages that no key has
// touched cost nothing. The memory lives until Close, or until nothing refers to
// the table.
func NewTable(size int64) (*Table, error) {
	if size < MinTable || size > MaxTable {
		return nil, fmt.Errorf("limit table: size %d is not from %d to %d bytes", size, int64(MinTable), int64(MaxTable))
	}
	n := uint64(1) << (bits.Len64(uint64(size)/bucketSize) - 1)
	length := int(bucketsAt + n*bucketSize)
	mem, whole, err := mapTable(length)
	if err != nil {
		return nil, err
	}
	t := newTable(mem, n)
	t.whole, t.large = whole, make(pages, length/largePage)
	runtime.SetFinalizer(t, (*Table).Close)
	return t, nil
}

// newTable lays a table of n buckets out in mem.
func newTable(mem []byte, n uint64) *Table {
	var seed [8]byte
	_, _ = rand.Read(seed[:])
	t := &Table{
		base: unsafe.Pointer(unsafe.SliceData(mem)), mem: mem,
		seed:  binary.LittleEndian.Uint64(seed[:]),
		shift: uint(64 - bits.Len64(n-1)), mask: n/shardCount - 1, buckets: n,
	}
	clock := NewClock()
	t.clock = clock
	for at, value := range map[uintptr]uint64{
		headMagic: tableMagic, headSeed: t.seed, headBuckets: n, headShift: uint64(t.shift), headMask: t.mask,
		headSwept: uint64(clock.Now()), headClock: uint64(clock.Now() - monotonic()),
	} {
		atomic.StoreUint64(t.head(at), value)
	}
	return t
}

// Close gives the memory back. Nobody may use the table any more.
func (t *Table) Close() {
	t.close.Do(func() {
		runtime.SetFinalizer(t, nil)
		_ = unix.Munmap(t.whole)
	})
}

// Base is where the mapping begins, for code in C; it is valid until Close.
func (t *Table) Base() unsafe.Pointer { return t.base }

// Size is the length of the mapping in bytes.
func (t *Table) Size() int64 { return int64(len(t.mem)) }

// monotonic reads CLOCK_MONOTONIC, in nanoseconds.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// head is a word of the header.
func (t *Table) head(at uintptr) *uint64 { return (*uint64)(unsafe.Add(t.base, at)) }

func (t *Table) swept() int64 { return int64(atomic.LoadUint64(t.head(headSwept))) }

// class finds or makes the class of a kind of words. Class 0 is GCRA's.
func (t *Table) class(value uint64) (uint8, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := uintptr(1); i < classCount; i++ {
		word := t.head(classesAt + 8*i)
		switch atomic.LoadUint64(word) {
		case 0:
			atomic.StoreUint64(word, value)
			return uint8(i), nil
		case value:
			return uint8(i), nil
		}
	}
	return 0, fmt.Errorf("limit table: more than %d different windows", classCount-1)
}

// homeOf is the bucket in which a key is looked for first.
func (t *Table) homeOf(h uint64) *bucket {
	return (*bucket)(unsafe.Add(t.base, bucketsAt+h>>(t.shift&63)*bucketSize))
}

// place is where a key is looked for: buckets of one shard from home on.
type place struct {
	first  *bucket // of the shard
	home   uint64  // in the shard
	shards *shard
}

func (t *Table) placeOf(h uint64) place {
	index := h >> t.shift
	home := index & t.mask
	number := (index - home) / (t.mask + 1)
	return place{
		first:  (*bucket)(unsafe.Add(t.base, bucketsAt+(index-home)*bucketSize)),
		home:   home,
		shards: (*shard)(unsafe.Add(t.base, pageSize+number*bucketSize)),
	}
}

// bucket is the i-th bucket of a place.
func (t *Table) bucket(p place, i uint64) *bucket {
	return (*bucket)(unsafe.Add(unsafe.Pointer(p.first), (p.home+i)&t.mask*bucketSize))
}

// find returns the slot that holds a fingerprint, live or tentative, or nil.
func (t *Table) find(h, fp uint64) *slot {
	p := t.placeOf(h)
	for i := uint64(0); i < WindowBuckets; i++ {
		b := t.bucket(p, i)
		for s := range b {
			slot := &b[s]
			switch slot.fp.Load() {
			case fp:
				if word := slot.word.Load(); live(word) || tentative(word) {
					return slot
				}
			case 0:
				if slot.word.Load() == 0 {
					return nil
				}
			}
		}
	}
	return nil
}
