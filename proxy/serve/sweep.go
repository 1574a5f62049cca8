package serve

import "time"

// tickTime is how exact client deadlines are. Arming a runtime timer costs each
// request more than its head's scan; a store of the deadline costs nothing, and
// nobody needs a time-out to the millisecond.
const tickTime = 50 * time.Millisecond

// expired is the deadline of a connection that the sweep has ended.
const expired = -1

func (s *Server) tick() { s.clock.Store(int64(time.Since(s.start))) }

// sweep keeps the coarse clock and ends connections past their deadline.
func (s *Server) sweep() {
	ticker := time.NewTicker(tickTime)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		s.tick()
		// With very many connections a walk at each tick would cost more than
		// it brings; every deadline is still noticed within half a second.
		if s.conns.size() > 20000 && i%10 != 0 {
			continue
		}
		now := s.clock.Load()
		s.conns.each(func(c *conn) { c.expire(now) })
	}
}

// setDeadline bounds what the connection does next; 0: no bound. False: the
// former bound has been passed and the connection is being ended.
func (c *conn) setDeadline(d time.Duration) bool {
	if c.deadline.Swap(c.until(d)) == expired {
		c.deadline.Store(expired)
		return false
	}
	return true
}

// until is the clock's reading in d from now; 0: no bound.
func (c *conn) until(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return c.server.clock.Load() + int64(d) + int64(tickTime)
}

// clearDeadline lifts the bound, unless it has been passed.
func (c *conn) clearDeadline() {
	if at := c.deadline.Load(); at != expired {
		c.deadline.CompareAndSwap(at, 0)
	}
}

// expire ends the connection if its deadline has passed: its reads and writes
// fail with a time-out from then on.
func (c *conn) expire(now int64) {
	if by := c.sendBy.Load(); by > 0 && now >= by {
		c.deadline.Store(expired)
		_ = c.tcp.SetDeadline(time.Unix(1, 0))
		return
	}
	at := c.deadline.Load()
	if at <= 0 || now < at || !c.deadline.CompareAndSwap(at, expired) {
		return
	}
	_ = c.tcp.SetDeadline(time.Unix(1, 0))
}

// revive lets the connection write again after a deadline has ended its reads.
func (c *conn) revive() {
	c.deadline.Store(0)
	_ = c.tcp.SetDeadline(time.Time{})
}

func (c *conn) isExpired() bool { return c.deadline.Load() == expired }
