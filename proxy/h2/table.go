package h2

// table finds streams by their numbers, which rise by 2. Each has one place in
// near; a stream whose place is still taken by a much older one goes to far.
type table struct {
	near [nearStreams]*Stream
	far  map[uint32]*Stream
	n    int // streams in both
}

// nearStreams is more than are under way at a time, as a rule.
const nearStreams = 512

func (t *table) get(id uint32) *Stream {
	if s := t.near[id/2%nearStreams]; s != nil && s.id == id {
		return s
	}
	if len(t.far) > 0 {
		return t.far[id]
	}
	return nil
}

// add takes a stream in whose number is new.
func (t *table) add(s *Stream) {
	t.n++
	if at := &t.near[s.id/2%nearStreams]; *at == nil {
		*at = s
		return
	}
	if t.far == nil {
		t.far = map[uint32]*Stream{}
	}
	t.far[s.id] = s
}

// remove forgets a stream that was added.
func (t *table) remove(s *Stream) {
	t.n--
	if at := &t.near[s.id/2%nearStreams]; *at == s {
		*at = nil
		return
	}
	delete(t.far, s.id)
}

// all gives every stream, none of which may be added or removed meanwhile.
func (t *table) all(yield func(*Stream) bool) {
	if t.n == 0 {
		return
	}
	for _, s := range t.near {
		if s != nil && !yield(s) {
			return
		}
	}
	for _, s := range t.far {
		if !yield(s) {
			return
		}
	}
}
