package observe

import "sync/atomic"

// ring hands lines from any number of goroutines to one writer, in order and
// without a lock. It is Dmitry Vyukov's bounded queue with the buffers inside:
//
//	tail (next to reserve, CAS by producers)      own cache line
//	head (next to take, the writer alone)         own cache line
//
//	         cell i = position & mask, one cache line each
//	        +-----------------+---------------------------+-----+
//	cell 0  | turn uint64     | buf: ptr len cap          | pad |
//	cell 1  | turn uint64     | buf: ptr len cap          | pad |
//	  ...   +-----------------+---------------------------+-----+
//	              |                 |
//	              |                 +--> lineBytes of one slab, or a larger
//	              |                      buffer that the last long line left
//	              v
//	turn == p          the cell is free for the producer that gets position p
//	turn == p + 1      the line of position p is complete, the writer may read
//	turn == p + size   the writer is done; this is "free" for the next lap
//
// A producer takes position p by moving tail from p to p+1. From then on the
// cell is its own: it formats into buf in place, without a copy, and publishes
// by storing turn = p+1. The store releases buf to the writer, whose load of
// turn acquires it; the store of p+size gives it back the same way. turn tells
// "full" too: if it is behind p, the writer has not yet freed the cell, one lap
// back, and the producer gives up at once. So nobody ever waits for anybody:
//
//   - a producer loops only when another producer moved tail, which is progress;
//   - a producer that is descheduled between reserve and publish holds up the
//     writer at its cell, and the others only when the ring has filled behind it;
//   - the writer never waits inside the ring: take says "nothing there".
//
// Positions are 64 bits: at 100 million lines a second they wrap in 5800 years.
type ring struct {
	cells []cell
	mask  uint64
	_     [cacheLine - 32]byte
	tail  atomic.Uint64
	_     [cacheLine - 8]byte
	head  uint64
	_     [cacheLine - 8]byte
}

type cell struct {
	turn atomic.Uint64
	buf  []byte
	_    [cacheLine - 32]byte
}

// lineBytes is what a cell's buffer starts with; most lines fit. A longer line
// makes its cell's buffer grow, and one above keptBytes gives it up afterwards.
const (
	lineBytes = 512
	keptBytes = 4096
)

// newRing makes a ring for size lines, a power of two.
func newRing(size int) *ring {
	r := &ring{cells: make([]cell, size), mask: uint64(size - 1)}
	slab := make([]byte, size*lineBytes)
	for i := range r.cells {
		r.cells[i].turn.Store(uint64(i))
		r.cells[i].buf = slab[i*lineBytes : i*lineBytes : (i+1)*lineBytes]
	}
	return r
}

// reserve takes the next cell and its position, or nil when the ring is full.
// The caller owns cell.buf (empty) until publish, which must follow.
func (r *ring) reserve() (*cell, uint64) {
	for {
		p := r.tail.Load()
		c := &r.cells[p&r.mask]
		switch turn := c.turn.Load(); {
		case turn == p:
			if r.tail.CompareAndSwap(p, p+1) {
				return c, p
			}
		case turn < p:
			return nil, 0
		}
		// turn > p: others moved on between the two loads; look again.
	}
}

// publish gives the cell to the writer.
func (c *cell) publish(p uint64) { c.turn.Store(p + 1) }

// take returns the next complete line's cell, or nil. Only the writer calls it,
// and free before the next take.
func (r *ring) take() *cell {
	c := &r.cells[r.head&r.mask]
	if c.turn.Load() != r.head+1 {
		return nil
	}
	return c
}

// free gives the cell that take returned back to the producers.
func (r *ring) free(c *cell) {
	if cap(c.buf) > keptBytes {
		c.buf = make([]byte, 0, lineBytes)
	} else {
		c.buf = c.buf[:0]
	}
	c.turn.Store(r.head + r.mask + 1)
	r.head++
}

// empty reports whether nothing is reserved or complete. Only the writer calls it.
func (r *ring) empty() bool { return r.tail.Load() == r.head }
