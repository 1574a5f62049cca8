package upstream

import (
	"io"

	"perigee/proxy/h2"
)

// streams gives each exchange a stream of an HTTP/2 connection; package h2 turns
// its bytes into HTTP/1.1 and back.
type streams struct {
	*Trunk
	h2 *h2.Conn
}

// mostStreams is how many exchanges share a connection, if the endpoint allows
// as many: each may hold a window of body.
const mostStreams = 256

func newStreams(t *Trunk) *streams {
	p := &streams{Trunk: t}
	limits := h2.Limits{HeaderBytes: t.endpoint.limits.Load().Head.HeaderBytes, Streams: mostStreams}
	p.h2 = h2.New(&t.out, limits, p.touchStream)
	return p
}

// Holds tells whether answers' heads wait for what follows them, until Pass.
func (t *Trunk) Holds() bool {
	p, ok := t.proto.(*streams)
	return ok && p.h2.Holds()
}

// Pass lets heads go that wait.
func (t *Trunk) Pass() {
	if p, ok := t.proto.(*streams); ok {
		p.h2.Pass()
	}
}

func (p *streams) touchStream(s *h2.Stream) {
	if c, ok := s.Owner.(*Conn); ok {
		p.touch(c)
	}
}

func (p *streams) room() int { return p.h2.Room() }

func (p *streams) open(c *Conn) {
	s := p.h2.Open()
	s.Owner = c
	c.link.resident.lane.stream = s
	c.kept = p.some
}

func (p *streams) send(c *Conn, pieces *[3][]byte) error {
	l := c.link.resident.lane
	err := p.err
	if err == nil && p.mute {
		err = io.EOF
	}
	switch {
	case err == nil:
		if !l.stream.Begun() {
			p.fresh++
		}
		err = l.stream.Send(pieces)
		p.attend()
	case !l.stream.Begun():
		err = errLeft
	}
	return verdict(err)
}

// errLeft says that a connection has ended before a request was sent.
var errLeft = &h2.Error{Unserved: true}

// verdict translates what a stream says.
func verdict(err error) error {
	if err == h2.ErrWait {
		return errQuiet
	}
	return err
}

func (p *streams) sending(c *Conn) bool { return c.link.resident.lane.stream.Sending() }

func (p *streams) has(c *Conn) bool { return c.link.resident.lane.stream.Has() }

func (p *streams) receive(c *Conn, b []byte) (int, error) {
	l := c.link.resident.lane
	n, err := l.stream.Read(b)
	if n > 0 {
		p.some = true
		p.attend() // there may be a window to be granted
	}
	return n, verdict(err)
}

// arrived takes in all that has come: no stream waits for another one's reader.
func (p *streams) arrived() {
	for p.err == nil {
		err := p.fill()
		if p.w > p.r {
			used, bad := p.h2.Feed(p.in[p.r:p.w])
			p.r += used
			if bad != nil {
				p.h2.Last(bad)
				p.push()
				err = bad
			}
			p.attend()
		}
		if p.h2.Leaving() {
			p.closing = true
		}
		if err == errQuiet {
			return
		}
		if err != nil {
			p.fail(err)
		}
	}
}

func (p *streams) flushed() { p.h2.Flushed() }

func (p *streams) behind(*Conn) bool { return false }

func (p *streams) failed() { p.h2.Fail(p.err) }

func (p *streams) answered(*Conn, int) {}

func (p *streams) release(c *Conn, _ bool) (free bool) {
	l := c.link.resident.lane
	l.stream.Close()
	l.stream = nil
	return true
}
