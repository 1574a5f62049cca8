package upstream

import (
	"bytes"
	"io"

	"perigee/proxy/wire"
)

// pipeline sends requests one behind the other on an HTTP/1.1 connection
// without waiting for answers, which come in the same order:
//
//	order   [ A, B, C ]     A's answer is being read: receive serves A alone,
//	          ^head         from Trunk.in or the socket. Where it ends A's own
//	                        framing finds; bytes that A took too many go back.
//
// Nothing is read ahead of the exchange at the head, so that one which cannot
// pass its answer on holds up the others, but takes no memory. Those behind it
// give up after Limits.PipelineWait and are sent again on connections of their
// own (see Conn.Behind); the answers nobody waits for any more are read away.
type pipeline struct {
	*Trunk
	order []*Conn
	first int // order[first] is the head
	// guess is how long the last answer was: so much is given to the next one,
	// which then has to give little back.
	guess, taken int
	last         bool // one has, behind which no other comes

	scratch wire.ResponseHead // of answers that are read away
	away    int               // bytes of the one that is
}

// The bounds of guess, and of an answer that is read away.
const (
	guessLeast = 256
	mostAway   = 1 << 20
)

func (p *pipeline) depth() int { return p.endpoint.limits.Load().Pipeline }

func (p *pipeline) room() int {
	if p.headOf() != nil && p.headOf().link.resident.lane.orphan {
		return 0 // it does not seem to come soon
	}
	return p.depth() - (len(p.order) - p.first)
}

func (p *pipeline) headOf() *Conn {
	if p.first < len(p.order) {
		return p.order[p.first]
	}
	return nil
}

func (p *pipeline) open(c *Conn) { c.kept = false } // until it fails

func (p *pipeline) send(c *Conn, pieces *[3][]byte) error {
	l := c.link.resident.lane
	if !l.began && p.headOf() == nil && p.readable {
		p.arrived() // nothing may lie there that is taken for the answer
	}
	if p.err != nil || p.mute {
		l.unserved = true
		return io.EOF
	}
	if !l.began {
		l.began = true
		p.fresh++
		l.head = bytes.HasPrefix(pieces[0], []byte("HEAD "))
		if p.first == len(p.order) {
			p.order, p.first = p.order[:0], 0
		}
		p.order = append(p.order, c)
	}
	for i, piece := range pieces {
		if len(piece) > 0 {
			p.out = append(p.out, piece...)
			pieces[i] = nil
		}
	}
	p.attend()
	return nil
}

func (p *pipeline) sending(*Conn) bool { return false }

func (p *pipeline) has(c *Conn) bool {
	return p.err != nil || c == p.headOf() && (p.r < p.w || p.readable)
}

func (p *pipeline) receive(c *Conn, b []byte) (int, error) {
	if c != p.headOf() {
		if p.err != nil {
			return 0, p.err
		}
		return 0, errQuiet
	}
	most, known := int64(max(p.guess, guessLeast)), false
	if c.final {
		if most = c.body.Left(); most < 0 {
			most = int64(len(b))
		} else {
			known = true
		}
	}
	b = b[:min(int64(len(b)), most)]
	if p.r == p.w {
		if p.err != nil {
			return 0, p.err
		}
		if known && most > trunkBuffer/4 {
			n, err := p.read(b) // all of it is this answer's
			p.taken += n
			return n, p.broken(err)
		}
		if err := p.fill(); err != nil {
			return 0, p.broken(err)
		}
	}
	n := copy(b, p.in[p.r:p.w])
	p.r += n
	p.taken += n
	return n, nil
}

// broken ends the trunk with an error of reading.
func (p *pipeline) broken(err error) error {
	if err != nil && err != errQuiet {
		p.fail(err)
	}
	return err
}

// arrived lets the head of the order read.
func (p *pipeline) arrived() {
	c := p.headOf()
	switch {
	case c == nil:
		if err := p.fill(); p.r < p.w {
			p.fail(errUnasked)
		} else {
			_ = p.broken(err)
		}
	case c.link.resident.lane.orphan:
		p.readAway(c)
	default:
		p.touch(c)
	}
}

func (p *pipeline) flushed() {}

func (p *pipeline) behind(c *Conn) bool {
	l := c.link.resident.lane
	return l.began && !l.answered && c != p.headOf()
}

// failed tells all who wait. Only the head's request may have been looked at.
func (p *pipeline) failed() {
	for i := p.first; i < len(p.order); i++ {
		c := p.order[i]
		c.link.resident.lane.unserved = p.last || i > p.first
		c.kept = p.some
		p.touch(c)
	}
}

// answered makes way for the next answer.
func (p *pipeline) answered(c *Conn, left int) {
	if c != p.headOf() {
		return
	}
	p.r -= left // receive has not overwritten them
	p.guess, p.taken = p.taken-left, 0
	p.some = true
	p.order[p.first] = nil
	p.first++
	n := p.headOf()
	switch {
	case !c.reusable:
		p.last = true
		p.fail(io.EOF)
	case n != nil && !n.link.resident.lane.orphan:
		p.touch(n) // even without bytes: its time-out is another one now
	case n != nil || p.r < p.w:
		p.again = true
		p.attend()
	}
}

func (p *pipeline) release(c *Conn, finished bool) (free bool) {
	l := c.link.resident.lane
	if l.answered || !l.began || p.err != nil {
		return true
	}
	if c.has(markAnswered) || p.live == 0 {
		p.fail(errReleased)
		return true
	}
	l.orphan = true
	return false
}

// readAway reads an answer that nobody waits for.
func (p *pipeline) readAway(c *Conn) {
	asked := wire.AskedOther
	if c.link.resident.lane.head {
		asked = wire.AskedHEAD
	}
	if c.buf == nil {
		p.away = 0
		c.begin(Timeouts{}, p.endpoint.limits.Load())
	}
	var err error
	for err == nil && !c.link.resident.lane.answered {
		if !c.final {
			_, err = c.ReadHead(&p.scratch, asked)
			continue
		}
		var data []byte
		data, err = c.NextBody()
		if p.away += len(data); p.away > mostAway {
			err = errReleased
		}
	}
	if err == errQuiet {
		return
	}
	c.dropBuffers()
	if err != nil && p.err == nil {
		p.fail(err)
	}
	p.recycle(c)
}
