package exchange

import (
	"errors"

	"perigee/luavm"
	"perigee/proxy/wire"
)

// Captured is the downstream of a subrequest: its answer is gathered in memory
// for the parent. Nothing of it waits.
type Captured struct {
	// Head is the memory of the subrequest's Raw.
	Head []byte
	// Body is the answer's body so far.
	Body []byte
	// Limit bounds Body in bytes; 0: no bound.
	Limit int64
	// Whole: the last piece of the answer has come.
	Whole bool

	sent int64
}

// ErrCapture says that a subrequest's answer is larger than its parent takes.
var ErrCapture = errors.New("the answer of a subrequest is larger than limits.subrequest_bytes")

// BodySize implements Downstream.
func (*Captured) BodySize() int64 { return 0 }

// BodyDone implements Downstream.
func (*Captured) BodyDone() bool { return true }

// Write performs an OpWrite.
func (c *Captured) Write(ex *Exchange, s Send) error {
	if ex.Place.BodyFrame == wire.BodyNone {
		return nil
	}
	data := s.Data
	if c.Limit > 0 && int64(len(c.Body)+len(data)) > c.Limit {
		c.Body = append(c.Body, data[:c.Limit-int64(len(c.Body))]...)
		return ErrCapture
	}
	c.Body = append(c.Body, data...)
	c.sent += int64(len(data))
	c.Whole = c.Whole || s.Last
	return nil
}

// Received implements Downstream.
func (c *Captured) Received() int64 { return int64(len(c.Head)) }

// Written implements Downstream.
func (c *Captured) Written() int64 { return c.sent }

// StopReading implements Downstream.
func (*Captured) StopReading() {}

// Close implements Downstream.
func (*Captured) Close() {}

// family is what one op of a script waits for: subrequests.
type family struct {
	op       *luavm.Op
	children []*Exchange
}

func (f *family) kill() {
	for _, child := range f.children {
		child.Kill()
	}
}

// AddChildren makes children the subrequests that op waits for: whoever ends the
// exchange ends them.
func (ex *Exchange) AddChildren(op *luavm.Op, children []*Exchange) {
	ex.mu.Lock()
	ex.families = append(ex.families, family{op, children})
	ex.mu.Unlock()
	if ex.Killed() {
		ex.KillChildren(op)
	}
}

// KillChildren ends the subrequests of op. It may be called from any thread
// while the exchange is not released.
func (ex *Exchange) KillChildren(op *luavm.Op) {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	for _, f := range ex.families {
		if f.op == op {
			f.kill()
		}
	}
}

// TakeChildren gives the subrequests of op, which have ended, to the caller,
// who releases them.
func (ex *Exchange) TakeChildren(op *luavm.Op) []*Exchange {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	for i, f := range ex.families {
		if f.op == op {
			last := len(ex.families) - 1
			ex.families[i] = ex.families[last]
			ex.families[last] = family{}
			ex.families = ex.families[:last]
			return f.children
		}
	}
	return nil
}
