package loop

import (
	"time"

	"perigee/luavm"
)

// family is the subrequests that one op of a script waits for. They run one
// after the other, each until it waits: what is made by scripts and from memory
// alone ends in nginx's order.
type family struct {
	parent *task
	op     *luavm.Op
	left   int
	inline bool // perform has not returned yet
	timer  timer
}

// capture performs an OpCapture.
func (t *task) capture(op *luavm.Op) bool {
	l, ex := t.loop, t.ex
	children := l.server.opt.Subrequests(op)
	if len(children) == 0 {
		return true
	}
	op.OnCancel(func() { ex.KillChildren(op) })
	f := &family{parent: t, op: op, left: len(children), inline: true}
	f.timer.owner = f
	for _, child := range children {
		child.Clock, child.Tally = &l.clock, &l.tally
		child.Record.Start = l.wall
		child.StartNS = l.wallNS
		task := &task{loop: l, client: t.client, ex: child, family: f}
		child.SetWaker(task)
		child.SetPerformer(task)
		task.run()
		l.current = t.client
	}
	f.inline = false
	if f.left == 0 {
		op.OnCancel(nil)
		return true
	}
	if !op.Until.IsZero() {
		l.set(&f.timer, max(1, time.Until(op.Until)))
	}
	return false
}

// finished notes the end of one subrequest.
func (f *family) finished() {
	if f.left--; f.left > 0 || f.inline {
		return
	}
	f.parent.loop.drop(&f.timer)
	f.op.OnCancel(nil)
	f.parent.done(f.op)
}

// expire implements timed: the phase has taken too long.
func (f *family) expire(*timer) {
	if f.parent.ex != nil {
		f.parent.ex.KillChildren(f.op)
	}
}
