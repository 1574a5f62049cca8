package loop

import "perigee/proxy/exchange"

// A request's bytes lie in memory of about the size of its head: thousands may
// wait for an endpoint that is slow.
//
//	read --> Loop.landing, room for the largest head and some body
//	            |
//	            +-- short --> work.first, part of what every request needs
//	            +-- longer -> headBuffer
//	            '-- else ---> the landing itself, and the loop takes another
const (
	firstBuffer = 1 << 10
	headBuffer  = 4 << 10
)

// room is where bytes are read to whose number is not known yet. It is the next
// reader's, too: what is to stay is put elsewhere.
func (l *Loop) room() []byte {
	if l.landing == nil || len(*l.landing) < l.server.bufferSize() {
		l.landing = l.takeBuffer(l.server.bufferSize())
	}
	return *l.landing
}

// takeBuffer gives at least so much memory.
func (l *Loop) takeBuffer(size int) *[]byte {
	full := l.server.bufferSize()
	switch {
	case size <= headBuffer:
		size = headBuffer
		if b := l.heads.take(); b != nil {
			return b
		}
	case size <= full:
		size = full
		for b := l.buffers.take(); b != nil; b = l.buffers.take() {
			if len(*b) == size { // another limit may have held when it was made
				return b
			}
		}
	}
	b := make([]byte, size)
	return &b
}

func (l *Loop) putBuffer(b *[]byte) {
	switch len(*b) {
	case headBuffer:
		l.heads.put(b)
	case l.server.bufferSize():
		l.buffers.put(b)
	}
}

// place keeps the first bytes of a request, which were read to the loop's room.
func (c *client) place(data []byte) {
	if c.work == nil {
		c.work = c.loop.takeWork(c)
	}
	l := c.loop
	switch n := len(data); {
	case n <= len(c.buf):
	case n <= headBuffer:
		c.enlarge(headBuffer)
	default:
		c.change(l.landing)
		c.w, l.landing = n, nil
		return
	}
	c.w = copy(c.buf, data)
}

// lend sees to it that there is room for more of a head.
func (c *client) lend() {
	full := c.loop.server.bufferSize()
	switch n := len(c.buf); {
	case c.w < n:
	case n < headBuffer:
		c.enlarge(headBuffer)
	default:
		c.enlarge(max(full, 2*n))
	}
}

// enlarge moves what was read to a buffer of at least that size. No exchange has
// the head yet, or it is told.
func (c *client) enlarge(size int) {
	larger := c.loop.takeBuffer(size)
	copy(*larger, c.buf[:c.w])
	c.change(larger)
}

// change makes mem the memory of the request.
func (c *client) change(mem *[]byte) {
	if c.mem != nil {
		c.loop.putBuffer(c.mem)
	}
	c.mem, c.buf = mem, *mem
}

// takeWork gives a client what it needs for a request.
func (l *Loop) takeWork(c *client) *work {
	w := l.works.take()
	if w == nil {
		w = &work{}
		w.out.timer.owner = &w.out
		w.task.loop = l
	}
	w.task.client, w.out.client = c, c
	w.buf = w.first[:]
	w.headEnd, w.r, w.w = 0, 0, 0
	return w
}

// exchange gives a client an exchange, which release takes back.
func (l *Loop) exchange(c *client) *exchange.Exchange {
	ex := l.emptied.take()
	if ex == nil {
		ex = exchange.New()
	}
	ex.Down, ex.Conn = c, &c.info
	return ex
}

func (l *Loop) release(ex *exchange.Exchange) {
	ex.Empty()
	l.emptied.put(ex)
}
