package exchange

import (
	"math/bits"

	"perigee/luavm"
	"perigee/proxy/wire"
)

// Ops that an exchange can wait for, beside those of luavm. What an op works
// on are fields of the exchange, named at each kind; its outcome is Op.Err and
// the fields named.
const (
	// OpReadBody reads the whole request body into Exchange.Body, or into a file
	// if it is longer than Exchange.BodyBuffer; Int says otherwise: Body*.
	OpReadBody luavm.OpKind = luavm.OpHost + iota
	// OpConnect gets a connection to Attempt.Endpoint into Exchange.Up; Int says
	// which, such as ConnectFresh.
	OpConnect
	// OpSend writes Exchange.UpHead; the body follows by OpPump.
	OpSend
	// OpPump copies the rest of the request body from the downstream to the
	// upstream until its end. It runs beside OpReceiveHead and later ops.
	OpPump
	// OpReceiveHead reads a response head into Exchange.UpRes and UpRaw. With
	// Place.Unsent it sends Exchange.UpHead and Body before.
	OpReceiveHead
	// OpReceiveBody reads some response body into Exchange.Chunk; io.EOF in
	// Err: there is no more.
	OpReceiveBody
	// OpWrite sends Exchange.Send to the downstream.
	OpWrite
	// OpTunnel copies bytes both ways until one side ends.
	OpTunnel
	// OpTask runs Exchange.Task, which may block.
	OpTask
)

// Task is what a native filter waits for that is no I/O of the exchange itself:
// somebody else's fetch, a store's answer.
type Task interface {
	// Run may block and must end by itself in bounded time; its outcome is op.Err,
	// or where the filter looks for it.
	Run(ex *Exchange, op *luavm.Op)
}

// What an OpReadBody does with the body (luavm.Op.Int).
const (
	BodyBuffered  int32 = iota // memory or a file
	BodyInMemory               // memory, whatever its length
	BodyDiscarded              // it is thrown away
)

// Which connection an OpConnect gets (luavm.Op.Int).
const (
	ConnectAny    int32 = iota // kept or new, and of its own
	ConnectFresh               // new
	ConnectShared              // the request may also stand behind others on one
)

// Post adds an op to those that the exchange waits for. The memory of the op is
// the exchange's, valid until its completion was taken with Take.
func (ex *Exchange) Post(kind luavm.OpKind) *luavm.Op {
	i := bits.TrailingZeros16(^ex.posted)
	if i >= maxOps {
		panic("BUG: exchange waits for too many ops")
	}
	op := ex.ops[i]
	if op == nil {
		op = new(luavm.Op)
		ex.ops[i] = op
	}
	*op = luavm.Op{Kind: kind, Owner: ex}
	ex.posted |= 1 << i
	ex.fresh |= 1 << i
	if ex.spans != nil {
		ex.beginNativeOp(op)
	}
	return op
}

// A Performer is a driver that can perform ops on the thread that advances the
// exchange. Perform begins one; true: it is complete already.
type Performer interface{ Perform(op *luavm.Op) bool }

// SetPerformer makes Try ask p, until the exchange is released.
func (ex *Exchange) SetPerformer(p Performer) { ex.performer = p }

// Try posts an op whose Int is how. done: the driver has performed it at once; it is
// not to be taken, and may be used until the next Post. Else it is as any that was
// posted.
func (ex *Exchange) Try(kind luavm.OpKind, how int32) (op *luavm.Op, done bool) {
	op = ex.Post(kind)
	op.Int = how
	fresh := ex.fresh
	if ex.performer == nil || fresh&(fresh-1) != 0 {
		return op, false // in the order in which Next gives them
	}
	ex.fresh = 0
	if !ex.performer.Perform(op) {
		return op, false
	}
	ex.posted &^= fresh
	if ex.spans != nil {
		ex.spans.endOp(op)
	}
	return op, true
}

// find is the place of the op of a kind among those in set, or -1.
func (ex *Exchange) find(kind luavm.OpKind, set uint16) int {
	for ; set != 0; set &= set - 1 {
		if i := bits.TrailingZeros16(set); ex.ops[i].Kind == kind {
			return i
		}
	}
	return -1
}

// Next hands the driver an op that was posted and not yet started, or nil.
// Background ops come first, so that the last one can be performed in place.
func (ex *Exchange) Next() *luavm.Op {
	if ex.fresh == 0 {
		return ex.scripts.next()
	}
	i := ex.find(OpPump, ex.fresh)
	if i < 0 {
		i = bits.TrailingZeros16(ex.fresh)
	}
	ex.fresh &^= 1 << i
	return ex.ops[i]
}

// NextOf is Next for ops of one kind.
func (ex *Exchange) NextOf(kind luavm.OpKind) *luavm.Op {
	if i := ex.find(kind, ex.fresh); i >= 0 {
		ex.fresh &^= 1 << i
		return ex.ops[i]
	}
	return ex.scripts.nextOf(kind)
}

// Fresh tells how many posted ops have not been started.
func (ex *Exchange) Fresh() int {
	return bits.OnesCount16(ex.fresh) + len(ex.scripts.fresh)
}

// Pending tells whether the exchange waits for any op, started or not, whose
// completion has not been taken.
func (ex *Exchange) Pending() bool { return ex.posted != 0 || ex.scripts.out != 0 }

// Complete reports that op has been performed. It may be called from any
// thread; it is luavm.Owner's method. The op belongs to the exchange again.
func (ex *Exchange) Complete(op *luavm.Op) {
	// Under the lock: whoever sees the completion may take it and release the
	// exchange at once, and a later wake-up would reach its next user.
	ex.mu.Lock()
	defer ex.mu.Unlock()
	if ex.IsScripts(op) {
		ex.scripts.done = append(ex.scripts.done, op)
	} else {
		ex.done.Or(uint32(ex.bit(op)))
	}
	if ex.waker != nil {
		ex.waker.Wake()
		return
	}
	select {
	case ex.wake <- struct{}{}:
	default: // a wake-up is waiting already and will see this completion
	}
}

// Performed is Complete for an op that the driver performed in place, on the
// thread that advances the exchange: nobody has to be woken.
func (ex *Exchange) Performed(op *luavm.Op) {
	if !ex.IsScripts(op) {
		ex.performed |= ex.bit(op)
		return
	}
	ex.mu.Lock()
	ex.scripts.done = append(ex.scripts.done, op)
	ex.mu.Unlock()
}

// A Waker is a driver's record of an exchange that it moves on a thread of its
// own. Wake says that an op is complete; it may be called from any thread, also
// when there is nothing to take any more, and must not block.
type Waker interface{ Wake() }

// SetWaker makes Complete tell w instead of Completions, until the exchange is
// released.
func (ex *Exchange) SetWaker(w Waker) { ex.waker = w }

// Completions is where a driver that performed everything it could waits for
// ops that others perform.
func (ex *Exchange) Completions() <-chan struct{} {
	if ex.wake == nil { // only this thread makes it
		ex.mu.Lock()
		ex.wake = make(chan struct{}, 1)
		if ex.done.Load() != 0 || len(ex.scripts.done) > 0 {
			ex.wake <- struct{}{}
		}
		ex.mu.Unlock()
	}
	return ex.wake
}

// Completed tells whether a completion waits to be taken.
func (ex *Exchange) Completed() bool {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	return ex.performed != 0 || ex.done.Load() != 0 || len(ex.scripts.done) > 0
}

// Take returns a completed op of the given kind, or nil. The op may be used
// until the next Post.
func (ex *Exchange) Take(kind luavm.OpKind) *luavm.Op {
	i := ex.find(kind, ex.performed)
	if i >= 0 {
		ex.performed &^= 1 << i
	} else {
		if i = ex.find(kind, uint16(ex.done.Load())); i < 0 {
			return nil
		}
		ex.mu.Lock() // until Complete has done with the exchange
		ex.done.And(^uint32(1 << i))
		ex.mu.Unlock()
	}
	ex.posted &^= 1 << i
	if ex.spans != nil {
		ex.spans.endOp(ex.ops[i])
	}
	return ex.ops[i]
}

// Discard takes all completions that nobody will look at.
func (ex *Exchange) Discard() {
	if !ex.Pending() {
		return // what nobody has can come to nobody
	}
	ex.mu.Lock()
	defer ex.mu.Unlock()
	ex.posted &^= ex.performed | uint16(ex.done.Swap(0))
	ex.performed = 0
	ex.scripts.out -= len(ex.scripts.done)
	clear(ex.scripts.done)
	ex.scripts.done = ex.scripts.done[:0]
}

// CancelScripts cuts short what scripts wait for; the ops still complete. Ops
// that no driver has taken yet are forgotten: nobody will write to them.
func (ex *Exchange) CancelScripts() {
	ex.scripts.out -= len(ex.scripts.fresh)
	clear(ex.scripts.fresh)
	ex.scripts.fresh = ex.scripts.fresh[:0]
	if ex.scripts.out > 0 && ex.Lua != nil {
		ex.Lua.Cancel()
	}
}

// Waiting tells whether an op of the kind is posted and not taken.
func (ex *Exchange) Waiting(kind luavm.OpKind) bool {
	return ex.find(kind, ex.posted) >= 0
}

func (ex *Exchange) bit(op *luavm.Op) uint16 {
	for i := range ex.ops {
		if op == ex.ops[i] {
			return 1 << i
		}
	}
	panic("BUG: op of another exchange")
}

// ReceiveHead is OpReceiveHead's work: it sends what is unsent and reads the
// response head; interim ones but 101 are passed over. After upstream.ErrWait it
// is to be called again.
func (ex *Exchange) ReceiveHead() error {
	if ex.Place.Unsent {
		ex.Place.Unsent = false
		ex.Up.WriteLast(ex.UpHead, ex.Body, nil)
	}
	asked := wire.AskedOther
	if ex.Req.IsHead() {
		asked = wire.AskedHEAD
	}
	for {
		raw, err := ex.Up.ReadHead(&ex.UpRes, asked)
		if err != nil {
			return err
		}
		if ex.UpRes.Status >= 200 || ex.UpRes.Status == 101 {
			ex.UpRaw = raw
			return nil
		}
	}
}
