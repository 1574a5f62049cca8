package luavm

import (
	"slices"
	"sync"
	"time"

	"perigee/luavm/shim"
)

// Input is what a run may read of its exchange: Go memory, lent until Start or
// Resume returns.
type Input = shim.Inputs

// A Kind is how a run came back.
type Kind uint8

// The kinds of outcome.
const (
	Done   Kind = iota // the handler and its threads have ended
	Wait               // it waits for ops; Outcome.Op heads those that are new
	Exit               // ngx.exit(Outcome.Status), or redirect
	Failed             // Outcome.Err
	Gone               // the op's thread was killed meanwhile: nothing ran
)

// An Outcome is how a run came back. Its fields are four, and End's two, so that the
// compiler keeps them in registers.
type Outcome struct {
	End
	Op  *Op           // Wait: new ops, by Op.Next; each is the slot's memory until its Resume
	Err *ScriptError  // Failed
	Ran time.Duration // time in Lua, waiting for the VM left out
}

// End is the part of an Outcome that says what it is.
type End struct {
	Kind   Kind
	Status int32 // Exit: ngx.exit's argument: a status, or ngx.OK, ERROR, AGAIN, DONE, DECLINED
}

// A run is one handler of a slot.
type run struct {
	c      *shim.Run
	script *Script
	active bool // it has not ended
}

// A Slot is an exchange's seat in a VM, from its first handler to its last:
// ngx.ctx, the edit log and the output live there. It has one user at a time,
// who may be another thread at each call. It holds no lock between calls.
//
// Handlers of one slot may nest: while one waits (content, for a flush),
// others may start and wait (header and body filters). A handler may have
// several threads, each with an op of its own; each is resumed by its op.
//
// A handler that ends while ops of its threads are out cancels them; they come
// back to Resume all the same, which answers Gone.
type Slot struct {
	// Owner is for the host: whose slot this is. Reset by Release.
	Owner Owner

	c     *shim.Slot
	vm    *VM
	runs  []*run
	grow  sync.Mutex // guards ops against Cancel
	ops   []*waiter  // by shim.Thread.Index
	next  *Slot      // in the VM's free list
	waits int        // ops that are out
	until time.Time  // the end of all waits of a handler that drive runs
	used  bool       // some handler ran since Pin
	begun float64    // by Options.Clock: when it was pinned

	sockets *SocketSettings // see UseSockets
	follows following       // see StartWith
	filler  Filler          // of what is deferred; stays, as it is of the same pool
}

// Phase is that of the handler that ran last.
func (s *Slot) Phase() Phase { return Phase(s.c.Phase) }

// VM is where the slot's scripts run.
func (s *Slot) VM() *VM { return s.vm }

// Start runs the handler sc in phase until it ends or waits. in may be nil.
// sc must be of the slot's pool.
func (s *Slot) Start(sc *Script, phase Phase, in *Input) Outcome {
	return s.start(sc, phase, in, follower{})
}

func (s *Slot) start(sc *Script, phase Phase, in *Input, then follower) Outcome {
	if sc.pool != s.vm.pool {
		panic("BUG: script of another pool")
	}
	var ref int32
	if !s.vm.fresh {
		ref = s.vm.refs[sc.index]
	} else {
		var why *ScriptError
		if ref, why = s.vm.handler(sc); why != nil {
			return Outcome{End: End{Kind: Failed}, Err: why}
		}
	}
	var r *run
	if len(s.runs) > 0 && !s.runs[0].active {
		r = s.runs[0]
	} else {
		r = s.idleRun()
	}
	r.script = sc
	r.c.SetPhase(uint32(phase))
	r.c.Follow(then.ref, uint32(then.phase))
	return s.vm.run(s, r, ref, nil, in)
}

// Resume lets the thread that waited for op go on; op carries its result.
// in.Data is ignored where op has a Reply.
func (s *Slot) Resume(op *Op, in *Input) Outcome {
	w := op.w
	if w == nil || w.slot != s || !w.away.Load() {
		panic("BUG: nobody waits for this op")
	}
	w.away.Store(false)
	s.waits--
	s.vm.suspended.Add(-1)
	t := op.thread
	if t.State != shim.ThreadWaiting {
		w.mend()
		if s.vm.condition.Load() != vmLost {
			shim.Recycle(s.c, t)
		}
		return Outcome{End: End{Kind: Gone}}
	}
	t.Res, t.ResNum = op.Result, op.Number
	return s.vm.run(s, op.run, -1, op, in)
}

// Waits tells whether ops of the slot are out.
func (s *Slot) Waits() bool { return s.waits > 0 }

// Cancel cuts short all ops of the slot that are out. They still complete. It
// may be called from any thread until Release.
func (s *Slot) Cancel() {
	s.grow.Lock()
	ops := slices.Clone(s.ops)
	s.grow.Unlock()
	for _, w := range ops {
		if w != nil {
			w.interrupt(false, ResultAborted)
		}
	}
}

func (s *Slot) idleRun() *run {
	for _, r := range s.runs {
		if !r.active {
			return r
		}
	}
	r := &run{c: shim.NewRun()}
	s.runs = append(s.runs, r)
	return r
}

// hand makes the op of a thread that began to wait.
func (s *Slot) hand(r *run, t *shim.Thread) *Op {
	w := s.waiter(int(t.Index))
	op := &w.op
	*op = Op{
		Kind: OpKind(t.Op), Seconds: t.OpNum, Number2: t.OpNum2, Int: t.OpInt, Int2: t.OpInt2,
		Data: copied(op.Data, &t.OpStr), Data2: copied(op.Data2, &t.OpStr2),
		Reply: op.Reply[:0], Owner: s.Owner, run: r, thread: t, w: w,
	}
	w.handOut()
	s.waits++
	s.vm.suspended.Add(1)
	return op
}

// waiter is the one of the thread with that index, made when it first waits.
func (s *Slot) waiter(index int) *waiter {
	if index < len(s.ops) && s.ops[index] != nil {
		return s.ops[index]
	}
	s.grow.Lock()
	defer s.grow.Unlock()
	for index >= len(s.ops) {
		s.ops = append(s.ops, nil)
	}
	s.ops[index] = &waiter{slot: s, signal: make(chan struct{}, 1)}
	return s.ops[index]
}

// copied takes a string of Lua over into buf and forgets it.
func copied(buf []byte, s *shim.Str) []byte {
	if s.P == nil {
		return buf[:0]
	}
	if cap(buf) > keepBuffer {
		buf = nil
	}
	buf = append(buf[:0], s.Bytes()...)
	*s = shim.Str{}
	return buf
}

// Release ends the exchange's stay. Handlers that still wait are dropped: no
// op of the slot may be with a performer (see Cancel). The slot must not be used after.
func (s *Slot) Release() { s.vm.release(s) }
