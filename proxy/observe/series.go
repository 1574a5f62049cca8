package observe

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// keptGenerations is for how many configurations a series lives after the last
// one that named it: as long as exchanges of that generation can be running.
const keptGenerations = 3

// registry finds series by their labels. Whoever builds a snapshot asks once and
// keeps the handle; asking for a series that is there takes a read lock and
// allocates nothing, so that it is bearable once per connection or attempt.
type registry[K comparable, T any] struct {
	mu    sync.RWMutex
	items map[K]*registered[T]
}

type registered[T any] struct {
	value *T
	// named is the newest generation that asked for the series.
	named atomic.Uint64
}

// get returns the series for key, made by build when there is none, and marks it
// as named by generation.
func (r *registry[K, T]) get(key K, generation uint64, build func() *T) *T {
	r.mu.RLock()
	it := r.items[key]
	if it != nil {
		it.name(generation)
	}
	r.mu.RUnlock()
	if it != nil {
		return it.value
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.items == nil {
		r.items = make(map[K]*registered[T])
	}
	if it = r.items[key]; it == nil {
		it = &registered[T]{value: build()}
		r.items[key] = it
	}
	it.name(generation)
	return it.value
}

// name marks the series as named by generation. Under the registry's read lock,
// so that expire sees either the mark or a caller that comes after it.
func (it *registered[T]) name(generation uint64) {
	for {
		before := it.named.Load()
		if before >= generation || it.named.CompareAndSwap(before, generation) {
			return
		}
	}
}

// expire drops what no generation since oldest has named.
func (r *registry[K, T]) expire(oldest uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, it := range r.items {
		if it.named.Load() < oldest {
			delete(r.items, key)
		}
	}
}

// each calls f in the order that compare gives, without holding the lock.
func (r *registry[K, T]) each(compare func(a, b K) int, f func(K, *T)) {
	r.mu.RLock()
	keys := make([]K, 0, len(r.items))
	values := make(map[K]*T, len(r.items))
	for key, it := range r.items {
		keys = append(keys, key)
		values[key] = it.value
	}
	r.mu.RUnlock()
	slices.SortFunc(keys, compare)
	for _, key := range keys {
		f(key, values[key])
	}
}

// maxReasons bounds the values of a label that comes from code, not from
// configuration; what comes later is counted as "other".
const maxReasons = 64

// Reasons counts by one label whose values are words from code: outcomes, error
// kinds. Use it on cold paths; reading a known reason takes a read lock and
// allocates nothing. The zero value is ready.
type Reasons struct {
	mu    sync.RWMutex
	items map[string]*Counter
}

// With returns the counter for reason. Keep the handle where it is used often.
func (r *Reasons) With(reason string) *Counter {
	r.mu.RLock()
	c := r.items[reason]
	r.mu.RUnlock()
	if c != nil {
		return c
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.items == nil {
		r.items = make(map[string]*Counter)
	}
	if c = r.items[reason]; c != nil {
		return c
	}
	if len(r.items) >= maxReasons {
		reason = "other"
		if c = r.items[reason]; c != nil {
			return c
		}
	}
	c = new(Counter)
	r.items[reason] = c
	return c
}

// each calls f for every reason, sorted.
func (r *Reasons) each(f func(reason string, n uint64)) {
	type row struct {
		reason string
		n      uint64
	}
	r.mu.RLock()
	rows := make([]row, 0, len(r.items))
	for reason, c := range r.items {
		rows = append(rows, row{reason, c.Value()})
	}
	r.mu.RUnlock()
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.reason, b.reason) })
	for _, row := range rows {
		f(row.reason, row.n)
	}
}

// generations counts applied configurations.
type generations struct{ n atomic.Uint64 }

// building returns the generation that is being built now.
func (g *generations) building() uint64 { return g.n.Load() + 1 }
