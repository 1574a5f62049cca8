package ratelimit

// Making a slot for a new key, while others make one for the same key.
//
//	        claim: CAS word                store fp           store word
//	usable ─────────────────────> busy ──────────────> busy ─────────────> tentative
//	  ^                                                                     │      │
//	  │            another slot has the key, or a rival killed this one     │      │
//	dead <─────────────────────────────────────────────────────────────────┘      │
//	  ^                                                                            │
//	  │  idle and swept, or forgotten                            settle: CAS word  │
//	live <─────────────────────────────────────────────────────────────────────────┘
//
// Usable is: never used, dead, or live and idle. While a slot is busy its
// fingerprint may be the former key's: nobody matches a busy slot, and nobody
// waits for it.
//
// settle holds "at most one live slot per key". A slot becomes live only after a
// look at all other slots of the place that began when its own fingerprint could
// be seen. Of two slots that are tentative for one key at the same time, at
// least one look sees the other. The earlier slot kills the later one by a swap
// of its word, so that the later one's own last swap fails; the later one gives
// up for the earlier; and whoever sees a live one gives up for that. All three
// are swaps from a word whose stamp is used once, so a slow thread's swap does
// not meet a later life of the slot. Nobody waits: a thread that comes upon
// somebody's tentative slot settles it itself.

// insert makes a slot for a key that find did not find, and its first word. It
// fails when others were faster, here or for the same key: look again.
func (t *Table) insert(h, fp, first uint64, now int64) bool {
	p := t.placeOf(h)
	slot, word, forced := t.usable(p, now)
	stamp := p.shards.claims.Add(1) * stampUnit
	if !slot.word.CompareAndSwap(word, stamp|stateBusy) {
		return false
	}
	switch {
	case forced:
		p.shards.evicted.Add(1)
	case live(word):
		p.shards.idle.Add(1)
	}
	slot.fp.Store(fp)
	slot.word.Store(stamp | stateTent)
	return t.settle(h, slot, stamp|stateTent, first)
}

// usable finds the slot to take: the first one that nobody needs, or else the
// one that would be idle soonest (forced).
func (t *Table) usable(p place, now int64) (best *slot, word uint64, forced bool) {
	soonest := int64(-1)
	for i := uint64(0); i < WindowBuckets; i++ {
		b := t.bucket(p, i)
		for s := range b {
			slot := &b[s]
			fp, w := slot.fp.Load(), slot.word.Load()
			if dead(w) {
				return slot, w, false
			}
			if !live(w) {
				continue
			}
			idle := t.idleIn(w, uint8(fp), now)
			if idle <= 0 && slot.fp.Load() == fp {
				return slot, w, false
			}
			if soonest < 0 || idle < soonest {
				soonest, best, word = idle, slot, w
			}
		}
	}
	if best == nil {
		// All slots are being made by others at this moment.
		b := t.bucket(p, 0)
		return &b[0], ^uint64(0), true
	}
	return best, word, true
}

// settle turns a tentative slot into the live one of its key, with its first
// word. False: another slot has the key, or somebody else settled this one.
func (t *Table) settle(h uint64, mine *slot, word, first uint64) bool {
	p := t.placeOf(h)
	fp := mine.fp.Load()
	earlier := true
	for i := uint64(0); i < WindowBuckets; i++ {
		b := t.bucket(p, i)
		for s := range b {
			other := &b[s]
			if other == mine {
				earlier = false
				continue
			}
			for other.fp.Load() == fp {
				w := other.word.Load()
				if other.fp.Load() != fp || !live(w) && !tentative(w) {
					break
				}
				if live(w) || earlier {
					mine.word.CompareAndSwap(word, word&^stateBits)
					return false
				}
				if other.word.CompareAndSwap(w, w&^stateBits) {
					break
				}
			}
			if other.word.Load() == 0 && other.fp.Load() == 0 {
				return mine.word.CompareAndSwap(word, first)
			}
		}
	}
	return mine.word.CompareAndSwap(word, first)
}
