package h2

// Hold has an answer's head wait for the body's first piece, or for Pass. Many
// endpoints write the two apart: what they tell is then passed on at once.
func (c *Conn) Hold() { c.holds = true }

// Holds tells whether heads wait.
func (c *Conn) Holds() bool {
	if c.held == 0 {
		c.heads = c.heads[:0]
	}
	return c.held > 0
}

// Pass lets the heads go that wait.
func (c *Conn) Pass() {
	for i, s := range c.heads {
		c.heads[i] = nil
		if s.held {
			c.touch(s)
		}
	}
	c.heads = c.heads[:0]
}

// hold has a head wait.
func (c *Conn) hold(s *Stream) {
	s.held = true
	c.held++
	c.heads = append(c.heads, s)
}

// touch tells of a stream.
func (c *Conn) touch(s *Stream) {
	s.unhold()
	c.touched(s)
}

// unhold lets the head go.
func (s *Stream) unhold() {
	if s.held {
		s.held = false
		s.conn.held--
	}
}
