package limit

import (
	"slices"
	"sync"
)

// top counts a limit's heaviest keys among those it was told of. Source: "Space
// Saving", Metwally, Agrawal, El Abbadi, 2005: a new key takes the place of the
// lightest and its count, so that no key of more than 1/topKeys of all requests
// is missed. It is told of every refusal and of one admission in sampled; while
// another goroutine is at it, requests go on and are not noted.
type top struct {
	mu     sync.Mutex
	hashes [topKeys]uint64
	counts [topKeys]uint64
	keys   [topKeys][topKeyBytes]byte
	sizes  [topKeys]uint8
}

const (
	topKeys     = 64
	topKeyBytes = 96 // of longer keys the beginning is shown
	sampled     = 16
)

func (t *top) note(h uint64, key []byte, weight uint64) {
	if !t.mu.TryLock() {
		return
	}
	defer t.mu.Unlock()
	least := 0
	for i := range t.hashes {
		if t.hashes[i] == h && t.counts[i] > 0 {
			t.counts[i] += weight
			return
		}
		if t.counts[i] < t.counts[least] {
			least = i
		}
	}
	t.hashes[least] = h
	t.counts[least] += weight
	t.sizes[least] = uint8(copy(t.keys[least][:], key))
}

// topKey is one of the heaviest keys.
type topKey struct {
	hash, count uint64
	key         []byte
}

// list is the keys, heaviest first.
func (t *top) list() []topKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []topKey
	for i, n := range t.counts {
		if n > 0 {
			list = append(list, topKey{t.hashes[i], n, slices.Clone(t.keys[i][:t.sizes[i]])})
		}
	}
	slices.SortFunc(list, func(a, b topKey) int {
		if a.count != b.count {
			return int(min(b.count, 1<<32)) - int(min(a.count, 1<<32))
		}
		return slices.Compare(a.key, b.key)
	})
	return list
}

// forget drops a key.
func (t *top) forget(h uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.hashes {
		if t.hashes[i] == h {
			t.counts[i] = 0
		}
	}
}
