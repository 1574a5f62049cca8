package luavm

import "time"

// Perform does what an op of a script asks for and returns when that is done
// or the op was cancelled. It knows the kinds that need no request: sleeping,
// semaphores, sockets, child processes, worker threads, limits in a store. It
// blocks; a host calls it on a goroutine that may.
func Perform(op *Op) {
	op.Result = ResultOK
	switch op.Kind {
	case OpSleep:
		if !op.wait(op.Seconds) {
			op.Result = ResultAborted
		}
	case OpSemaphore, OpAbort, OpSockQueue:
		seconds := op.Seconds
		if op.Kind == OpAbort {
			seconds = -1
		}
		if op.wait(seconds) {
			op.Result = ResultTimeout
			return
		}
		op.Result = op.said()
	case OpSockConnect, OpSockHandshake, OpSockRead, OpSockWrite:
		performSocket(op)
	case OpPipeSpawn, OpPipeRead, OpPipeWrite, OpPipeWait, OpPipeKill, OpPipeShutdown:
		performPipe(op)
	case OpWorkerThread:
		performThread(op)
	case OpLimit:
		performLimit(op)
	default:
		panic("BUG: luavm: op of unknown kind")
	}
}

// wait lets time pass; false: it was cut short. Negative: no end of its own.
func (op *Op) wait(seconds float64) (whole bool) {
	w := op.w
	bound := op.bound(seconds)
	if w == nil {
		time.Sleep(bound)
		return true
	}
	if clock := w.slot.vm.pool.options.Clock; clock != nil {
		return op.waitBy(clock, seconds)
	}
	if bound < 0 {
		<-w.signal
		return false
	}
	if w.timer == nil {
		w.timer = time.NewTimer(bound)
	} else {
		w.timer.Reset(bound)
	}
	select {
	case <-w.timer.C:
		return true
	case <-w.signal:
		w.timer.Stop()
		return false
	}
}

// bound is how long a wait for some time may take; negative: no bound.
func (op *Op) bound(seconds float64) time.Duration {
	bound := time.Duration(-1)
	if seconds >= 0 {
		bound = inDuration(seconds)
	}
	if !op.Until.IsZero() {
		if left := max(0, time.Until(op.Until)); bound < 0 || left < bound {
			bound = left
		}
	}
	return bound
}

// waitBy is wait by another clock than the machine's. Until is the machine's
// still: it bounds how long a phase really takes.
func (op *Op) waitBy(clock Clock, seconds float64) (whole bool) {
	over := make(chan struct{})
	if seconds >= 0 {
		why := ForTimeout
		if op.Kind == OpSleep {
			why = ForSleep
		}
		stop := clock.After(inDuration(seconds), why, func() { close(over) })
		defer stop()
	}
	var late <-chan time.Time
	if !op.Until.IsZero() {
		late = time.After(time.Until(op.Until))
	}
	select {
	case <-over:
		return true
	case <-late:
		return true
	case <-op.w.signal:
		return false
	}
}

// inDuration is a time that a script has given.
func inDuration(seconds float64) time.Duration {
	const longest = 1e9 // seconds; what a time.Duration can hold, and then some
	return time.Duration(min(seconds, longest) * float64(time.Second))
}

// said is the result that the op was woken with.
func (op *Op) said() int32 {
	op.w.mu.Lock()
	defer op.w.mu.Unlock()
	if op.w.woken {
		return op.w.result
	}
	return ResultAborted
}
