package serve

import (
	"sync"
	"sync/atomic"
)

// connSet holds the open connections by number, in shards so that opening and
// closing on many cores does not meet at one lock.
type connSet struct {
	n      atomic.Int64
	shards [16]struct {
		mu    sync.Mutex
		conns map[uint64]*conn
		_     [48]byte // a shard's lock keeps off its neighbour's cache line
	}
}

func (s *connSet) add(c *conn) {
	shard := &s.shards[c.info.ID%16]
	shard.mu.Lock()
	if shard.conns == nil {
		shard.conns = map[uint64]*conn{}
	}
	shard.conns[c.info.ID] = c
	shard.mu.Unlock()
	s.n.Add(1)
}

func (s *connSet) remove(c *conn) {
	shard := &s.shards[c.info.ID%16]
	shard.mu.Lock()
	delete(shard.conns, c.info.ID)
	shard.mu.Unlock()
	s.n.Add(-1)
}

func (s *connSet) get(id uint64) *conn {
	shard := &s.shards[id%16]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.conns[id]
}

func (s *connSet) size() int64 { return s.n.Load() }

// each calls f for every connection; f must not add or remove one.
func (s *connSet) each(f func(*conn)) {
	for i := range s.shards {
		shard := &s.shards[i]
		shard.mu.Lock()
		for _, c := range shard.conns {
			f(c)
		}
		shard.mu.Unlock()
	}
}
