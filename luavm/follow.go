package luavm

import "time"

// Two handlers that stand side by side run in one entry into C, where the first
// leaves nothing that the host would have to look at in between:
//
//	Start(rewrite)  --> C --> Done         StartWith(rewrite, access) --> C
//	  edits, verdict                                                     |
//	Start(access)   --> C --> Done         Done, of rewrite alone  <-----'
//	  edits, verdict                         edits, verdict
//	                                       Followed() --> Done, of access
//	                                         edits, verdict
//
// The host sees the same outcomes in the same order; edits of the second come to
// light when its outcome does.

// following is the handler that a run goes on with, and what became of it.
type following struct {
	script  *Script
	went    bool
	first   time.Duration // what the first took
	log     uint32        // its edits end here
	outcome Outcome       // the second's
}

// follower is a handler that is to follow; ref 0: none.
type follower struct {
	ref   int32
	phase Phase
}

// StartWith is Start; when sc just returns, having done no more than to edit
// fields and variables, then runs in its phase at once. Followed tells.
func (s *Slot) StartWith(sc *Script, phase Phase, then *Script, thenPhase Phase, in *Input) Outcome {
	if s.vm.fresh { // whether then compiles is said in its turn
		return s.Start(sc, phase, in)
	}
	f := &s.follows
	f.script = then
	out := s.start(sc, phase, in, follower{ref: s.vm.refs[then.index], phase: thenPhase})
	f.script = nil
	if !f.went {
		return out
	}
	f.outcome = out
	return Outcome{End: End{Kind: Done}, Ran: f.first}
}

// Follows tells whether the second handler of StartWith has run and its outcome is
// still to be taken.
func (s *Slot) Follows() bool { return s.follows.went }

// Followed takes the outcome of the second handler of StartWith; false: it has not
// run.
func (s *Slot) Followed() (out Outcome, ok bool) {
	if !s.follows.went {
		return out, false
	}
	out = s.follows.outcome
	s.follows = following{}
	return out, true
}

// goneOn accounts for the first of two handlers and makes the run the second's; it
// is how long the first ran. One was to follow. The VM's lock is held.
func (s *Slot) goneOn(r *run) time.Duration {
	first, log, ok := r.c.WentOn()
	f := &s.follows
	if !ok {
		return 0
	}
	s.vm.stats[r.script.index].add(true, first)
	r.script = f.script
	f.went, f.first, f.log = true, time.Duration(first), log
	return f.first
}
