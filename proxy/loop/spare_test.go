package loop

import "testing"

func TestSpares(t *testing.T) {
	var s spares[int]
	if s.take() != nil {
		t.Fatal("a spare of nothing")
	}
	out := map[*int]bool{}
	for range 3 * keepNear {
		out[new(int)] = true
	}
	for x := range out {
		s.put(x)
	}
	if len(s.near) != keepNear {
		t.Errorf("%d are at hand, want %d", len(s.near), keepNear)
	}
	// The collector may have had some of the rest; none comes twice.
	found := 0
	for x := s.take(); x != nil; x = s.take() {
		if !out[x] {
			t.Fatal("what was not put, or twice")
		}
		delete(out, x)
		found++
	}
	if found < keepNear {
		t.Errorf("%d have come back", found)
	}
}
