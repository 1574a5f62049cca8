package upstream

import "testing"

// A loop holds on to so many buffers and no more, and uses the one that was given
// back last.
func TestBufferStack(t *testing.T) {
	var s bufferStack
	taken := make([]*[bufferSize]byte, keepBuffers+2)
	for i := range taken {
		taken[i] = s.take()
	}
	for _, b := range taken {
		s.put(b)
	}
	if len(s.spare) != keepBuffers {
		t.Errorf("keeps %d buffers, want %d", len(s.spare), keepBuffers)
	}
	if b := s.take(); b != taken[keepBuffers-1] {
		t.Error("does not use the buffer that was given back last")
	}
}
