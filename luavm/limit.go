package luavm

import (
	"context"
	"encoding/binary"
	"math"
	"strings"
	"unsafe"

	"perigee/luavm/shim"
)

// OpLimit asks a limit that counts in a store: Int says which of
// Options.Limits, Data is the key, Seconds the cost. Result 1: allowed; Reply
// has what remains and the times. PG_OP_LIMIT.
const OpLimit OpKind = 52

// LimitAnswer is a limit's decision; times are in nanoseconds, Wait below 0:
// never, Remaining below 0: nobody knows.
type LimitAnswer = shim.LimitAnswer

// LimitCounts counts what scripts were told by one limit, in all VMs that have
// it. It outlives them.
type LimitCounts = shim.LimitCounts

// NewLimitCounts makes counters; nil: there is no memory.
func NewLimitCounts() *LimitCounts { return shim.NewLimitCounts() }

// Limit is a limit that scripts ask with perigee.limit.
type Limit struct {
	Name string
	// Words are the limit's public layout, package ratelimit's Layout.
	Words shim.LimitWords
	// Keep holds on to what owns the memory that Words names.
	Keep any
	// Counts counts the decisions by Words; nil: nobody does.
	Counts *LimitCounts
	// Store decides, in the place of Words, where others count, too; nil: Words.
	Store LimitStore
}

// A LimitStore decides on keys of one limit that instances share.
type LimitStore interface {
	// Try decides if that takes no wait; false: ask.
	Try(key []byte, cost int64) (LimitAnswer, bool)
	// Ask decides. It may block, for a time that it bounds itself, and ends early
	// when ctx is done.
	Ask(ctx context.Context, key []byte, cost int64) LimitAnswer
}

// limitInStore is PG_LIMIT_STORE.
const limitInStore = 3

// packedLimits are limits as lualib/ngx/limit.lua reads them: a pg_limit, in
// which is the length of the name, then the name.
func packedLimits(limits []Limit) string {
	var text strings.Builder
	for i, l := range limits {
		words := l.Words
		if l.Store != nil {
			words = shim.LimitWords{len(words) - 2: limitInStore | uint64(i)<<32}
		}
		words[len(words)-1] |= uint64(len(l.Name)) << 32
		for _, w := range append(words[:], l.Counts.Address()) {
			var b [unsafe.Sizeof(w)]byte
			binary.NativeEndian.PutUint64(b[:], w)
			text.Write(b[:])
		}
		text.WriteString(l.Name)
	}
	return text.String()
}

// DecideAtOnce performs an OpLimit whose answer takes no wait; false: it has to
// be performed.
func (op *Op) DecideAtOnce() bool {
	a, ok := op.limit().Try(op.Data, op.cost())
	if ok {
		op.decided(a)
	}
	return ok
}

func (op *Op) limit() LimitStore { return op.w.slot.vm.pool.options.Limits[op.Int].Store }

// cost is what the script asks for, as far as limits count.
func (op *Op) cost() int64 { return int64(min(op.Seconds, 1e15)) }

func (op *Op) decided(a LimitAnswer) {
	if op.Result = 0; a.Allowed {
		op.Result = 1
	}
	op.Reply = op.Reply[:0]
	for _, n := range [...]float64{a.Remaining, a.Wait, a.Reset} {
		op.Reply = binary.NativeEndian.AppendUint64(op.Reply, math.Float64bits(n))
	}
}

func performLimit(op *Op) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	op.OnCancel(cancel)
	op.decided(op.limit().Ask(ctx, op.Data, op.cost()))
	op.OnCancel(nil)
}
