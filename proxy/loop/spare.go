package loop

import "sync"

// spares are pieces of memory that nothing uses at the moment. The newest few are
// at hand; where thousands of exchanges wait and end together the rest stays too,
// until two collections have gone by without a use for it. Only the loop's thread
// takes and puts.
type spares[T any] struct {
	near []*T
	far  sync.Pool
}

// keepNear is how many spares a loop holds on to for good.
const keepNear = 64

// take gives the spare that was used last; nil: there is none.
func (s *spares[T]) take() *T {
	if n := len(s.near); n > 0 {
		x := s.near[n-1]
		s.near[n-1] = nil
		s.near = s.near[:n-1]
		return x
	}
	x, _ := s.far.Get().(*T)
	return x
}

func (s *spares[T]) put(x *T) {
	if len(s.near) < keepNear {
		s.near = append(s.near, x)
		return
	}
	s.far.Put(x)
}
