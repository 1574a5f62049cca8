package luavm

// An OpKind says what an Op waits for.
type OpKind uint32

// Ops that scripts yield; the numbers are PG_OP_* in perigee_ffi.h. Who runs
// scripts performs them. Kinds from OpHost on are free for the host's own
// waits: luavm neither makes nor reads them.
const (
	OpNone        OpKind = 0
	OpSleep       OpKind = 1 // Seconds
	OpReadBody    OpKind = 2 // then Input.Body is there; Result: 0, or a status such as 413
	OpDiscardBody OpKind = 3
	OpFlush       OpKind = 4 // send head and output; Int 1: complete when it was sent
	OpEOF         OpKind = 5 // send all and end the answer
	OpSendHeaders OpKind = 6

	OpHost OpKind = 64
)

// An Op is one thing that an exchange waits for: time, I/O, another exchange.
//
// Who waits makes the Op and keeps its memory: a Slot for what its script
// yielded, the host for its own. It is handed to who performs it, who owns it
// until calling Owner.Complete, exactly once, from any thread. Ops of one
// owner may complete in any order; the owner resumes whoever waited for each.
//
// Cancelling: the owner that no longer wants an op still gets its completion.
// It tells the performer through Cancel, which the performer sets while it
// works, and waits: no op is ever forgotten while somebody may write to it.
//
// An Op may be copied while nobody performs it; a copy of a script's op
// resumes the script just as well.
type Op struct {
	Kind    OpKind
	Seconds float64 // OpSleep: how long
	Int     int32   // argument of the kind
	Data    []byte  // argument of the kind; valid until completion

	// The outcome, written by the performer before Complete.
	Result int32   // for the script: its op's result code
	Number float64 // for the script, where a kind has a second result
	Err    error   // for native waits

	// Cancel, when not nil, ends the work early: the op then completes with
	// Err context.Canceled or what it reached. Set by the performer, called by
	// the owner, at most once, from any thread.
	Cancel func()
	// Owner takes the completed op.
	Owner Owner

	run *run // the coroutine that yielded this op; nil for native waits
}

// An Owner is who waits for ops.
type Owner interface {
	// Complete takes back an op that has been performed. It may be called
	// from any thread and must not block or run scripts: it notes the op and
	// lets the owner's own thread go on.
	Complete(*Op)
}
