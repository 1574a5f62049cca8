package h2

import (
	"math/rand/v2"
	"testing"
)

// TestTable compares the table with a map, while some streams live long.
func TestTable(t *testing.T) {
	var mine table
	theirs := map[uint32]*Stream{}
	var ids []uint32
	id, far := uint32(1), 0
	for range 20_000 {
		if len(ids) < 10 || len(ids) < 300 && rand.IntN(2) == 0 {
			s := &Stream{present: present{id: id}}
			mine.add(s)
			theirs[id], ids = s, append(ids, id)
			id += 2
		} else if len(ids) > 10 { // the first ones stay
			i := 10 + rand.IntN(len(ids)-10)
			mine.remove(theirs[ids[i]])
			delete(theirs, ids[i])
			ids = append(ids[:i], ids[i+1:]...)
		}
		far = max(far, len(mine.far))
		for _, id := range []uint32{1, id - 2, id, 2*rand.Uint32N(id/2+1) + 1, id - min(id-1, 2*nearStreams)} {
			if mine.get(id) != theirs[id] {
				t.Fatalf("stream %d: %v, want %v", id, mine.get(id), theirs[id])
			}
		}
	}
	n := 0
	for s := range mine.all {
		if n++; theirs[s.id] != s {
			t.Errorf("stream %d is not known", s.id)
		}
	}
	if n != len(theirs) || mine.n != n {
		t.Errorf("%d streams, counted %d, want %d", n, mine.n, len(theirs))
	}
	if far == 0 {
		t.Error("no stream was far")
	}
}
