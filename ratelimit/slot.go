package ratelimit

import (
	"sync/atomic"
	"unsafe"
)

// The memory of a table, which C reads and writes too (luavm/shim/limit.h).
// Every field is a 64-bit word in the machine's order, changed by atomic
// operations alone.
//
//	offset 0      header, one page
//	                0  magic "PGRLIM01"
//	                8  seed of all hashes
//	               16  buckets, a power of two
//	               24  shift: home bucket = hash >> shift
//	               32  buckets per shard - 1
//	               40  when all slots were swept last, ns
//	               48  clock: CLOCK_MONOTONIC + this = time of the table, ns
//	             2048  classes: 256 words, twice the window in ns, +1: sliding;
//	                   0: GCRA, -1: in flight
//	offset 4096   64 shards' counters, one cache line each
//	                0  claims   8  idle evicted   16  active evicted
//	offset 8192   buckets of 64 bytes
//
//	bucket  ┌───────────────┬───────────────┬───────────────┬───────────────┐
//	        │ fp    │ word  │ fp    │ word  │ fp    │ word  │ fp    │ word  │
//	        └───────────────┴───────────────┴───────────────┴───────────────┘
//
//	fp      │ low 56 bits of the key's hash                    │ class, 8 │
//
//	word    │ what the algorithm remembers, 63 bits                    │ 1 │  live
//	        │ stamp, 61 bits                                   │ 1 │ 0 │ 0 │  tentative
//	        │ stamp, 61 bits                                   │ 0 │ 1 │ 0 │  busy
//	        │ stamp, 61 bits                                   │ 0 │ 0 │ 0 │  dead
//	        │ 0                                                            │  never used
//
//	live, GCRA       │ theoretical arrival time, 1/1024 ns, wraps     63 │
//	live, sliding    │ window, mod 2^23  │ this, 20   │ the one before, 20 │
//	live, fixed      │ window, mod 2^23  │ count, 40                       │
//	live, in flight  │ count, 63                                          │
//
// A key lives in its home bucket or one of the following WindowBuckets-1 of the
// same shard (after the shard's last bucket comes its first). It is looked for
// from the home bucket on, up to a slot that was never used.
const (
	pageSize     = 4096
	shardCount   = 64
	bucketSize   = 64
	slotSize     = 16
	slotsBucket  = bucketSize / slotSize
	bucketsAt    = pageSize + shardCount*bucketSize
	classesAt    = 2048
	classCount   = 256
	headMagic    = 0
	headSeed     = 8
	headBuckets  = 16
	headShift    = 24
	headMask     = 32
	headSwept    = 40
	headClock    = 48
	tableMagic   = 0x50_47_52_4c_49_4d_30_31
	shardClaims  = 0
	shardIdle    = 8
	shardEvicted = 16
)

// WindowBuckets is in how many neighbouring buckets a key may live.
const WindowBuckets = 8

// States of a word that is not live.
const (
	stateBits = 7
	stateDead = 0
	stateBusy = 2
	stateTent = 4
	stampUnit = 8
	// sweptDead is what sweeping leaves: dead, and not "never used".
	sweptDead = stampUnit | stateDead
)

func live(word uint64) bool      { return word&1 == 1 }
func tentative(word uint64) bool { return word&stateBits == stateTent }
func dead(word uint64) bool      { return word&stateBits == stateDead }

// slot is one fingerprint and its word.
type slot struct{ fp, word atomic.Uint64 }

// bucket is one cache line.
type bucket [slotsBucket]slot

var _ = [1]struct{}{}[unsafe.Sizeof(bucket{})-bucketSize]

// shard holds a shard's counters, one cache line.
type shard struct {
	claims, idle, evicted atomic.Uint64
	_                     [5]uint64
}

var _ = [1]struct{}{}[unsafe.Sizeof(shard{})-bucketSize]

// fingerprint is what tells keys of a bucket apart; never 0, which marks slots
// that were never used.
func fingerprint(h uint64, class uint8) uint64 {
	fp := h<<8 | uint64(class)
	if fp == 0 {
		fp = 1 << 8
	}
	return fp
}
