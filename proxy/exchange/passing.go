package exchange

import (
	"regexp"

	"perigee/luavm"
	"perigee/proxy/mapping"
	"perigee/proxy/observe"
	"perigee/proxy/upstream"
	"perigee/proxy/wire"
)

// passing is what an exchange forgets as a whole when it is emptied: all that is no
// memory worth keeping, and nothing that its end has to be told. One clearing of it
// is a few lines of code where naming each field was forty.
type passing struct {
	// Raw is the head that arrived, lent by the downstream until the exchange ends.
	Raw []byte
	// Refusal is why the client's request was refused; Raw is a StandIn.
	Refusal *wire.Error
	// Query is the target's query, raw, without the '?'.
	Query []byte
	// Rewritten says that Path or Query were set after arrival, so that the
	// target sent on is built from them instead of the client's.
	Rewritten bool
	// Stale says that path, query, method, captures or variables were changed
	// natively since scripts' copy of them was made.
	Stale bool
	// HeadEdited says that native filters edited the head, so that scripts must not
	// read the head from Raw any more.
	HeadEdited bool
	// Conn is what is known of the connection the request came by.
	Conn *Conn
	// Identity is who asks, set by Identify; nil: nobody asked, or nobody is
	// known. A subrequest has its parent's.
	Identity *Identity

	// Chunk is the piece of body the Body stage looks at; filters may replace
	// it by memory they own until the stage runs again. Last: none follows.
	Chunk []byte
	Last  bool
	// Scripted says that the answer is a script's.
	Scripted bool
	// Typeless says that a script took the default Content-Type away.
	Typeless bool
	// FailStatus is what a filter that answered Fail wants the client told.
	FailStatus int
	// Bare says that the status has no body made for it: the gateway makes one.
	Bare bool
	// Exited says that a script made such a status, by ngx.exit: a script of its
	// error page begins with it even if the page answers with its own.
	Exited bool
	// Ended: the script ended the answer (ngx.eof) though it goes on running.
	Ended bool

	BodyRead     bool // see Body
	BodyStreamed bool
	// BodyFile is where a read or set body is, if not in Body.
	BodyFile BodyFile
	// BodyLimit bounds the body in bytes; 0: no bound. What is read of one that
	// is longer than BodyBuffer goes to a file.
	BodyLimit, BodyBuffer int64

	// Snapshot is the configuration the exchange lives under from its first
	// step to its last.
	Snapshot Snapshot
	// Route is what the request matched last, Restarts how often it was matched
	// again.
	Route    *Route
	Matched  *regexp.Regexp // that made Captures, as the route was matched; or nil
	Restarts int
	// Jump is the name of the route that a filter which answered Restart wants;
	// empty: whichever matches. It keeps path and query (nginx: a named
	// location).
	Jump string
	// Place is where the gateway's steps stand.
	Place Place

	// Outlet is where the request is sent on: the route's, or what its Target
	// said; nil while that is not known. Authority and Sent are that Target's
	// host[:port] and, if not empty, what is sent on as the request's target.
	Outlet *Outlet

	// Peer is what a balancer script has said of this and later attempts.
	Peer Peer

	// Upstream side of the running attempt.
	Endpoint *upstream.Endpoint
	Up       *upstream.Conn
	UpRaw    []byte // response head as received, lent by Up
	Attempts int
	// AttemptStart is when the running attempt began, and FirstAttempt when the
	// first did (0: none has), by NowNS. PumpFault is what the client did wrong
	// while its body was streamed.
	AttemptStart int64
	FirstAttempt int64
	PumpFault    *wire.Error

	// Task is what OpTask runs.
	Task Task
	// AuthWaited says that auth has waited for an issuer's keys, and must not again.
	AuthWaited bool
	// Send is what OpWrite sends.
	Send Send
	// Down takes the answer.
	Down Downstream

	// Clock is its driver's; nil: the driver has none.
	Clock *Clock
	// Tally is its driver's; nil: what is observed is counted at once.
	Tally *observe.Tally
	// Worker is 1 more than the number of the VM that the exchange's scripts run
	// in, as its driver wants it; 0: any.
	Worker int
	// Lua is the exchange's seat in a VM, taken by its first script.
	Lua *luavm.Slot
	// LongestRun is the longest run of Lua since somebody has looked.
	LongestRun Run
	Maps       mapping.Set // see Vars

	// Parent is the exchange whose script made this one, a subrequest, and waits
	// for its end; nil: a client made it. Level is how many are above it.
	Parent *Exchange
	Level  int
	// SharesVars says that what becomes of Vars becomes of the parent's too.
	SharesVars bool
	// Context is what Lua calls the table that becomes this subrequest's ngx.ctx.
	Context uint32
	// Fatal is the status for which the parent must end too, without an answer:
	// what nginx answers by terminating a request ends all that belongs to it.
	Fatal int

	// Record is what metrics, log and trace will read.
	Record observe.Record

	// StartNS is the monotonic clock's reading at Record.Start.
	StartNS int64

	former *Identity // until scripts' copy of it is gone

	target  []byte  // what SendTarget was given
	secrets Secrets // what logs do not show

	performed uint16 // complete, by the thread that advances the exchange
	cancel    upstream.Canceler
	waker     Waker
	performer Performer
	ends      bool // Abort ends the exchange; guarded by mu
	told      bool // a script was told of it, or will learn of it; guarded by mu
}
