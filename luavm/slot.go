package luavm

import (
	"time"

	"perigee/luavm/shim"
)

// Input is what a run may read of its exchange: Go memory, lent until Start or
// Resume returns.
type Input struct {
	Head []byte // request head: request line, fields, CRLF CRLF
	Resp []byte // response head in the same form; empty before there is one
	Body []byte // request body, once read
	Data []byte // body_filter: the chunk; else the result data of an op
}

// A Kind is how a run came back.
type Kind uint8

// The kinds of outcome.
const (
	Done   Kind = iota // the handler returned
	Wait               // it waits for Outcome.Op
	Exit               // ngx.exit(Outcome.Status), or redirect
	Failed             // Outcome.Err
)

// An Outcome is the end of a run.
type Outcome struct {
	Kind   Kind
	Status int32         // Exit: ngx.exit's argument: a status, or ngx.OK, ERROR, AGAIN, DONE, DECLINED
	Op     *Op           // Wait: memory of the slot, until its Resume
	Err    *ScriptError  // Failed
	Ran    time.Duration // time in Lua, waiting for the VM left out
}

// A run is one coroutine of a slot and the op it waits for.
type run struct {
	c      *shim.Run
	script *Script
	op     Op
	waits  bool
}

// A Slot is an exchange's seat in a VM, from its first handler to its last:
// ngx.ctx, the edit log and the output live there. It has one user at a time,
// who may be another thread at each call. It holds no lock between calls.
//
// Handlers of one slot may nest: while one waits (content, for a flush),
// others may start and wait (header and body filters); each is resumed by its
// own op.
type Slot struct {
	// Owner is for the host: whose slot this is. Reset by Release.
	Owner Owner

	c     *shim.Slot
	vm    *VM
	runs  []*run
	next  *Slot // in the VM's free list
	waits int   // runs that wait
	used  bool  // some handler ran since Pin
}

// VM is where the slot's scripts run.
func (s *Slot) VM() *VM { return s.vm }

// Start runs the handler sc in phase until it ends or waits. in may be nil.
// sc must be of the slot's pool.
func (s *Slot) Start(sc *Script, phase Phase, in *Input) Outcome {
	if sc.pool != s.vm.pool {
		panic("BUG: script of another pool")
	}
	r := s.idleRun()
	r.script = sc
	r.c.SetPhase(uint32(phase))
	return s.vm.run(s, r, s.vm.refs[sc.index], in)
}

// Resume lets the handler that waited for op go on; op carries its result.
func (s *Slot) Resume(op *Op, in *Input) Outcome {
	r := op.run
	if r == nil || !r.waits {
		panic("BUG: nobody waits for this op")
	}
	r.waits = false
	s.waits--
	s.c.Res, s.c.ResNum = op.Result, op.Number
	s.vm.suspended.Add(-1)
	return s.vm.run(s, r, -1, in)
}

func (s *Slot) idleRun() *run {
	for _, r := range s.runs {
		if !r.waits {
			return r
		}
	}
	r := &run{c: shim.NewRun()}
	s.runs = append(s.runs, r)
	return r
}

// Release ends the exchange's stay. Handlers that still wait are dropped: no
// op of the slot may be with a performer. The slot must not be used after.
func (s *Slot) Release() { s.vm.release(s) }
