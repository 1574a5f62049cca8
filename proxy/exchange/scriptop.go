package exchange

import (
	"time"

	"perigee/luavm"
)

// Run is one run of Lua, between two waits.
type Run struct {
	Took   time.Duration
	Stage  Stage
	Script string
}

// LuaRun is how far the script of a stage has come.
type LuaRun struct {
	// Running: it was started and has not ended.
	Running bool
	// Asked are its ops that the exchange's own steps carry out, in the order
	// in which they came up: reading the body, sending output.
	Asked []*luavm.Op
	// Due are ops that are complete; their threads can go on.
	Due []*luavm.Op
	// Emitting: the first of Asked was handed to the gateway by Emit.
	Emitting bool
	// Until is when the stage's scripts must have ended, after Record.Start; 0: no
	// bound is known.
	Until time.Duration
}

// LuaRun is how far the script of a stage has come: while a content script waits
// for its output to be sent, the filters of that output run, and may wait too.
// It is made for who waits; Running and LuaUntil ask for less.
func (ex *Exchange) LuaRun(stage Stage) *LuaRun {
	if ex.runs == nil {
		ex.runs = new([StageCount]LuaRun)
	}
	return &ex.runs[stage]
}

// Running tells whether the script of a stage was started and has not ended.
func (ex *Exchange) Running(stage Stage) bool { return ex.runs != nil && ex.runs[stage].Running }

// LuaUntil is when a stage's script must have ended, after Record.Start; 0: it
// has no bound, or has not waited.
func (ex *Exchange) LuaUntil(stage Stage) time.Duration {
	if ex.runs == nil {
		return 0
	}
	return ex.runs[stage].Until
}

// EndRun forgets a stage's script that has ended.
func (ex *Exchange) EndRun(stage Stage) {
	if ex.runs != nil {
		ex.runs[stage].Reset()
	}
}

// endRuns forgets the scripts of all stages, and their bounds.
func (ex *Exchange) endRuns() {
	for stage := range Stage(StageCount) {
		ex.EndRun(stage)
		if ex.runs != nil {
			ex.runs[stage].Until = 0
		}
	}
}

// Reset forgets a script that has ended.
func (r *LuaRun) Reset() {
	r.Running, r.Emitting = false, false
	clear(r.Asked)
	clear(r.Due)
	r.Asked, r.Due = r.Asked[:0], r.Due[:0]
}

// scriptOps are the ops of scripts that the exchange waits for. Their memory is
// the Slot's; there may be as many as scripts have threads.
type scriptOps struct {
	fresh []*luavm.Op // posted, not yet handed to the driver
	done  []*luavm.Op // complete, not yet taken; guarded by Exchange.mu
	out   int         // posted and not taken
}

// PostScript adds a script's op to those that the exchange waits for. op.Tag
// becomes the stage whose script waits.
func (ex *Exchange) PostScript(op *luavm.Op, stage Stage) {
	ex.scripts.hold(ex, op, stage)
	ex.scripts.fresh = append(ex.scripts.fresh, op)
	if ex.spans != nil {
		ex.spans.beginScriptOp(op, stage)
	}
}

// hold counts an op that the exchange waits for.
func (s *scriptOps) hold(ex *Exchange, op *luavm.Op, stage Stage) {
	op.Tag = uint32(stage)
	op.Owner = ex
	s.out++
}

// TakeScript returns a completed op of a stage's script, or nil.
func (ex *Exchange) TakeScript(stage Stage) *luavm.Op {
	if ex.scripts.out == 0 {
		return nil
	}
	ex.mu.Lock()
	defer ex.mu.Unlock()
	for i, op := range ex.scripts.done {
		if op.Tag == uint32(stage) {
			ex.scripts.done = append(ex.scripts.done[:i], ex.scripts.done[i+1:]...)
			ex.scripts.out--
			if ex.spans != nil {
				ex.spans.endOp(op)
			}
			return op
		}
	}
	return nil
}

// ScriptsOut is how many ops of scripts were posted and not taken.
func (ex *Exchange) ScriptsOut() int { return ex.scripts.out }

// IsScripts tells whether op is a script's, performed by what the Slot's
// package knows, or the exchange's own.
func (ex *Exchange) IsScripts(op *luavm.Op) bool { return op.VM() != nil }

func (s *scriptOps) next() *luavm.Op {
	if len(s.fresh) == 0 {
		return nil
	}
	return s.take(0)
}

func (s *scriptOps) nextOf(kind luavm.OpKind) *luavm.Op {
	for i, op := range s.fresh {
		if op.Kind == kind {
			return s.take(i)
		}
	}
	return nil
}

func (s *scriptOps) take(i int) *luavm.Op {
	op := s.fresh[i]
	s.fresh = append(s.fresh[:i], s.fresh[i+1:]...)
	return op
}
