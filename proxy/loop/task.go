package loop

import (
	"errors"
	"sync/atomic"

	"perigee/luavm"
	"perigee/proxy/exchange"
)

// task is an exchange as its loop moves it: a client's, or a subrequest. It is
// the memory of one client or one family and used again, so others may only ask
// it to look (Wake).
type task struct {
	loop   *Loop
	client *client
	ex     *exchange.Exchange // nil: finished
	family *family            // of a subrequest
	queued bool               // in Loop.runnable
	woken  atomic.Bool        // in the inbox
}

// Wake implements exchange.Waker.
func (t *task) Wake() {
	if !t.woken.Swap(true) {
		t.loop.post(t)
	}
}

func (t *task) posted() {
	t.woken.Store(false)
	if t.ex != nil && t.ex.Completed() {
		t.schedule()
	}
}

// schedule has t run before the loop polls again.
func (t *task) schedule() {
	if !t.queued {
		t.queued = true
		t.loop.runnable = append(t.loop.runnable, t)
	}
}

// done reports an op that was parked as performed.
func (t *task) done(op *luavm.Op) {
	if t.ex == nil {
		return // its exchange has panicked
	}
	t.ex.Performed(op)
	t.schedule()
}

// run moves the exchange until it has finished or all it waits for is parked.
func (t *task) run() {
	l, ex := t.loop, t.ex
	l.current = t.client
	t.lendHead()
	for {
		finished := l.server.opt.Advance(ex)
		if ex.LongestRun.Took > l.longestRun.Took {
			l.longestRun = ex.LongestRun
		}
		ex.LongestRun.Took = 0
		if finished {
			t.finish()
			l.current = nil
			return
		}
		progress := false
		for op := ex.Next(); op != nil; op = ex.Next() {
			if t.Perform(op) {
				ex.Performed(op)
				progress = true
			}
		}
		// Others' completions wake the loop. One that no step wants as yet, such as
		// a pump's beside an answer, is no reason to go on.
		if !progress {
			break
		}
	}
	t.reclaimHead()
	l.current = nil
}

// lendHead gives an exchange memory for the head of a request to its endpoint.
func (t *task) lendHead() {
	if t.ex.UpHead == nil {
		t.ex.UpHead, t.loop.request = t.loop.request, nil
	}
}

// reclaimHead takes it back unless the head waits to be sent: the wait for the
// answer needs it no more, and another attempt makes it anew.
func (t *task) reclaimHead() {
	ex, l := t.ex, t.loop
	if l.request != nil || cap(ex.UpHead) == 0 || cap(ex.UpHead) > keepHead {
		return
	}
	if ex.Up != nil {
		if linkOf(ex) == nil || ex.Place.Unsent || ex.Up.Sending() {
			return
		}
	}
	l.request, ex.UpHead = ex.UpHead[:0], nil
}

func (t *task) finish() {
	ex := t.ex
	t.reclaimHead()
	t.ex = nil
	if t.family != nil {
		t.family.finished()
		return
	}
	t.loop.underWay--
	t.loop.quickest.add(ex.Record.Duration)
	t.loop.release(ex)
	t.client.finished()
}

// Perform implements exchange.Performer.
func (t *task) Perform(op *luavm.Op) bool {
	ex, c := t.ex, t.client
	switch op.Kind {
	case exchange.OpReadBody:
		return c.readBody(t, op)
	case exchange.OpConnect:
		return t.connect(op)
	case exchange.OpSend:
		return t.send(op)
	case exchange.OpPump:
		return c.pump(t, op)
	case exchange.OpReceiveHead, exchange.OpReceiveBody:
		return t.receive(op)
	case exchange.OpWrite:
		if ex.Parent != nil {
			op.Err = ex.Down.(*exchange.Captured).Write(ex, ex.Send)
			return true
		}
		return c.answer(op)
	case exchange.OpTunnel:
		t.tunnel(op)
		return false
	case luavm.OpCapture:
		return t.capture(op)
	case luavm.OpReqRead, luavm.OpReqReadRaw:
		return c.readForScript(t, op)
	case luavm.OpReqWrite:
		return c.writeForScript(t, op)
	case luavm.OpSockRead, luavm.OpSockWrite:
		return t.useSocket(op)
	case luavm.OpSockConnect:
		if p := t.connectSocket(op); p != declined {
			return p == performed
		}
	}
	if d, ok := op.Timed(); ok {
		t.wait(op, d)
		return false
	}
	t.beside(op)
	return false
}

// beside performs an op that blocks on a goroutine.
func (t *task) beside(op *luavm.Op) {
	t.loop.stats.besides.Add(1)
	s, ex := t.loop.server, t.ex
	go func() {
		defer func() {
			if v := recover(); v != nil {
				s.opt.Recovered(v)
				op.Err = errors.New("panic while an op was performed")
			}
			ex.Complete(op)
		}()
		s.opt.Perform(ex, op)
	}()
}
