package exchange

import (
	"net/netip"
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"perigee/luavm"
	"perigee/proxy/mapping"
	"perigee/proxy/observe"
	"perigee/proxy/trace"
	"perigee/proxy/upstream"
	"perigee/proxy/wire"
)

// maxOps is how many ops an exchange can wait for at once: a pump, a receive, a
// write, and what a filter posts.
const maxOps = 8

// Exchange is one request and its response. It is pooled: nothing of it may be
// kept past finish. One thread at a time advances it; only Complete and Abort
// may be called by others.
type Exchange struct {
	// Request as it arrived: Raw is the head, lent by the downstream until the
	// exchange ends; Head are spans of Raw.
	Raw  []byte
	Head wire.RequestHead
	// Refusal is why the client's request was refused; Raw is a StandIn.
	Refusal *wire.Error
	// Req has the method of the request as it will be sent on. Its target is that of
	// Head, or SendTarget's, its fields are those of Head and what SetRequestHeader
	// and its like have made of them.
	Req fasthttp.RequestHeader
	// Path is the decoded path without dot segments and double slashes: what
	// routes match and $uri is. Query is raw, without the '?'.
	Path, Query []byte
	// Host is the request's host in lower case, without port.
	Host []byte
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

	// Resp is the head of the answer.
	Resp ResponseHead
	// Out is the body of a local answer, or the part of it that Emit sends.
	Out []byte
	// Chunk is the piece of body the Body stage looks at; filters may replace
	// it by memory they own until the stage runs again. Last: none follows.
	Chunk []byte
	Last  bool
	// Coding is what encodes the answer's body on its way out; nil: it goes as it
	// is. A header filter sets it.
	Coding Coding
	// Held is what of a buffered answer has not been passed on.
	Held []byte
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

	// Body is the request body, once it was read or set. BodyRead tells the two
	// from nothing; BodyStreamed: it went to the upstream unseen.
	Body         []byte
	BodyRead     bool
	BodyStreamed bool
	// BodyFile is where a read or set body is, if not in Body.
	BodyFile BodyFile
	// BodyLimit bounds the body in bytes; 0: no bound. What is read of one that
	// is longer than BodyBuffer goes to a file.
	BodyLimit, BodyBuffer int64

	// Snapshot is the configuration the exchange lives under from its first
	// step to its last.
	Snapshot Snapshot
	// Route is what the request matched last; Captures what its regular
	// expression captured; Restarts how often it was matched again.
	Route    *Route
	Captures [][]byte
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
	Outlet          *Outlet
	Authority, Sent []byte

	// Peer is what a balancer script has said of this and later attempts.
	Peer Peer

	// Upstream side of the running attempt.
	Endpoint *upstream.Endpoint
	Tried    upstream.Tried
	Up       *upstream.Conn
	UpHead   []byte // request head as it is sent, own memory
	UpRes    wire.ResponseHead
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
	// Lookup is what a filter asks the disk; File is an answer's body on it.
	Lookup Lookup
	File   FileBody

	// Limits is what limits have decided.
	Limits Limits
	// Value is what a script was asked for by another filter, and its answer.
	Value Value

	// Clock is its driver's; nil: the driver has none.
	Clock *Clock
	// Worker is 1 more than the number of the VM that the exchange's scripts run
	// in, as its driver wants it; 0: any.
	Worker int
	// Lua is the exchange's seat in a VM, taken by its first script.
	Lua *luavm.Slot
	// LongestRun is the longest run of Lua since somebody has looked.
	LongestRun Run
	// Vars are variables set by scripts and by the configuration. Maps are those
	// that are looked up when they are used, and are not in Vars yet.
	Vars []Var
	Maps mapping.Set

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
	// Trace is the exchange's place in a trace.
	Trace trace.Context

	// Groups is memory for offsets of captures. Target and Scratch are memory for building the request that is sent on.
	Groups          []int
	Target, Scratch []byte

	// HeadText and RespText are heads as scripts read them, where the raw bytes
	// are not to be had.
	HeadText, RespText []byte
	// StartNS is the monotonic clock's reading at Record.Start.
	StartNS int64

	runs        *[StageCount]LuaRun // see LuaRun; nil: no script has waited as yet
	early       *earlyHead          // nil: no filter has needed it as yet
	spans       *Spans              // nil: not sampled
	formerSpans *Spans              // memory for spans
	glancing    bool                // what is looked up is not kept

	owned []string // files that go with the exchange

	former *Identity // until scripts' copy of it is gone

	gone    []bool       // fields of Head that filters have taken out; empty: none
	added   []addedField // fields of the request that filters have added
	target  []byte       // what SendTarget was given
	query   []byte       // memory of a query that was set
	secrets Secrets      // what logs do not show
	hidden  []byte       // memory of the record's query, where it has a secret

	ops           [maxOps]*luavm.Op // made when first posted, kept in the pool
	posted, fresh uint16
	scripts       scriptOps
	performed     uint16        // complete, by the thread that advances the exchange
	mu            sync.Mutex    // guards scripts.done, families, cancel, and setting done
	done          atomic.Uint32 // complete, by others
	families      []family
	cancel        upstream.Canceler
	wake          chan struct{}
	waker         Waker
	performer     Performer
	aborted       atomic.Bool
	killed        atomic.Bool
	ends          bool       // Abort ends the exchange; guarded by mu
	told          bool       // a script was told of it, or will learn of it; guarded by mu
	onAbort       *luavm.Op  // waits for Abort; guarded by mu
	seat          sync.Mutex // guards Lua against Kill
	seated        bool       // Lua was set since it was acquired
}

// Snapshot is a configuration as an exchange holds on to it.
type Snapshot interface {
	// Leave ends one exchange's hold; shard is what it entered with.
	Leave(shard uint32)
}

// Var is a variable of one exchange.
type Var struct{ Name, Value string }

// Place is where the steps of an exchange stand. It belongs to the gateway.
type Place struct {
	Step   uint8 // what is done next
	Back   uint8 // the step that goes on after a chunk was written
	Filter int   // index of the filter that is next in a request stage
	Answer int   // index of the filter that is next in a response stage
	Source Source
	Left   int64 // body bytes that a promised Content-Length still needs

	Adjoins    bool // after the rewrite stage's last filter comes the same filter's access step
	Moved      bool // a server_rewrite script has set the path
	Anew       bool // the restart is nginx's internal redirect: server_rewrite runs again
	Chosen     bool // the next match is the last word: server_rewrite does not run again
	Named      bool // variables of the configuration have their values
	Relocated  bool // the path has been replaced since the route was matched
	HeadDone   bool // the header filters have run, the framing is settled
	HeadSent   bool
	Altered    bool          // Resp is not what the upstream sent, even before filters
	Redirected bool          // an upstream's Location is the gateway's own
	OwnPath    bool          // Location is a path that the gateway wrote
	Plain      bool          // response filters are passed over: one of them has failed
	Finished   bool          // the last piece of the answer has been sent
	Lost       bool          // the client takes no more, though a script goes on
	Buffered   bool          // the answer is passed on in larger pieces
	Passed     bool          // Held is being passed on
	Stock      bool          // the answer is the gateway's own for a status
	Away       bool          // the snapshot was left: nothing of it is needed any more
	Skipped    bool          // nothing was there to write
	Unsent     bool          // OpReceiveHead sends UpHead and Body first
	Again      bool          // the next attempt goes to the same endpoint
	Fresh      bool          // the next attempt must not use a kept connection
	Replays    uint8         // attempts made again by no fault of the endpoint
	BodyFrame  wire.BodyKind // how the answer's body is framed to the client
	ErrorPage  int           // the status whose error page is being made, or 0
	Status     int           // what the client is told instead of the page's status, or 0
}

// Source is where the answer's body comes from.
type Source uint8

// The sources.
const (
	FromNone     Source = iota
	FromOut             // Exchange.Out, all of it
	FromFilter          // Exchange.Out now, and more from the filter that emits
	FromUpstream        // the connection Exchange.Up
	FromFile            // Exchange.File
)

// Send is the argument of OpWrite.
type Send struct {
	Head bool   // Resp goes first
	Data []byte // then this
	Last bool   // and nothing follows
	// Trailers follow the last chunk; their spans are of TrailerText.
	TrailerText []byte
	Trailers    []wire.Field
}

// Conn is what is known of a client connection. It is shared by its exchanges
// and does not change while one is under way.
type Conn struct {
	ID         uint64
	Listener   string
	Peer       netip.AddrPort
	RemoteAddr string // without port; "unix:" for unix sockets
	RemotePort string
	LocalAddr  string
	LocalPort  string
	TLS        bool
	ServerName string     // SNI
	Handshake  *Handshake // nil without TLS
	Trusted    bool       // the peer is one of trusted_proxies
	Requests   uint64     // exchanges so far, this one included
}

var pool = sync.Pool{New: func() any { return New() }}

// New makes an exchange for a driver that has a use for it again after Empty. Down
// and Conn are to be set.
func New() *Exchange { return new(Exchange) }

// Acquire takes an exchange from the pool. The caller gives it back with
// Release once, after the last completion has been taken.
func Acquire(down Downstream, conn *Conn) *Exchange {
	ex := pool.Get().(*Exchange)
	ex.Down = down
	ex.Conn = conn
	return ex
}

// keep is the largest buffer that a pooled exchange holds on to.
const keep = 64 << 10

// Release empties the exchange and gives it back.
func Release(ex *Exchange) {
	ex.Empty()
	pool.Put(ex)
}

// Empty makes the exchange as a new one, but for memory. No op of it is out.
func (ex *Exchange) Empty() {
	if ex.Pending() {
		panic("BUG: exchange released while it waits for ops")
	}
	if len(ex.wake) > 0 {
		<-ex.wake
	}
	ex.Req.Reset()
	ex.Resp.Reset()
	ex.dropEarly()
	ex.forgetFields()
	ex.Refusal = nil
	ex.Raw, ex.Conn, ex.Down, ex.Route, ex.Snapshot = nil, nil, nil, nil, nil
	ex.Identity, ex.former = nil, nil
	ex.Query, ex.target, ex.secrets, ex.Chunk, ex.Groups = nil, nil, nil, nil, ex.Groups[:0]
	ex.trimAll()
	ex.FailStatus, ex.StartNS, ex.AttemptStart, ex.FirstAttempt = 0, 0, 0, 0
	ex.HeadEdited, ex.Typeless, ex.Stale = false, false, false
	ex.Rewritten, ex.Scripted, ex.Ended, ex.Last = false, false, false, false
	ex.BodyRead, ex.BodyStreamed, ex.BodyLimit = false, false, 0
	ex.DropCoding()
	ex.Captures, ex.Vars, ex.Maps = ex.Captures[:0], ex.Vars[:0], nil
	ex.Jump, ex.Matched = "", nil
	ex.Restarts, ex.Attempts, ex.PumpFault = 0, 0, nil
	ex.Place, ex.Send, ex.Task = Place{}, Send{}, nil
	ex.AuthWaited = false
	ex.ReleaseFiles()
	ex.removeOwned()
	ex.BodyFile, ex.BodyBuffer = BodyFile{}, 0
	ex.Endpoint, ex.Up, ex.UpRaw, ex.Outlet = nil, nil, nil, nil
	ex.Tried.Reset()
	ex.Peer = Peer{}
	ex.Lua, ex.Bare, ex.Exited = nil, false, false
	ex.Limits.reset()
	ex.Value.reset()
	ex.Parent, ex.Level, ex.SharesVars, ex.Context, ex.Fatal = nil, 0, false, 0, 0
	clear(ex.families)
	ex.families = ex.families[:0]
	if ex.seated {
		ex.seated = false
		ex.endRuns()
	}
	ex.LongestRun = Run{}
	ex.Record.Reset()
	ex.Trace.Reset()
	ex.DropSpans()
	ex.performed, ex.cancel, ex.waker, ex.performer = 0, upstream.Canceler{}, nil, nil
	ex.Worker, ex.Clock = 0, nil
	if ex.done.Load() != 0 { // an atomic write takes as long as thirty others
		ex.done.Store(0)
	}
	if ex.aborted.Load() {
		ex.aborted.Store(false)
		ex.killed.Store(false)
	}
	ex.ends, ex.told = false, false
}

// trimAll empties the exchange's memory for texts.
func (ex *Exchange) trimAll() {
	trim(&ex.Path)
	trim(&ex.Host)
	trim(&ex.query)
	trim(&ex.Target)
	trim(&ex.Scratch)
	trim(&ex.hidden)
	trim(&ex.HeadText)
	trim(&ex.RespText)
	trim(&ex.Out)
	trim(&ex.UpHead)
	trim(&ex.Body)
	trim(&ex.Held)
	trim(&ex.Authority)
	trim(&ex.Sent)
}

// trim empties b and keeps its memory, unless that is large.
func trim(b *[]byte) {
	if cap(*b) > keep {
		*b = nil
		return
	}
	*b = (*b)[:0]
}

// SetUp makes c the connection of the running attempt, which Abort cancels;
// nil: there is none.
func (ex *Exchange) SetUp(c *upstream.Conn) {
	ex.Up = c
	if c == nil {
		return // the handle to cancel the one before does nothing any more
	}
	cancel := c.Canceler()
	ex.mu.Lock()
	ex.cancel = cancel
	ex.mu.Unlock()
	if ex.aborted.Load() {
		cancel.Cancel()
	}
}

// EditsBody tells whether filters may change the answer's body.
func (ex *Exchange) EditsBody() bool {
	return ex.Coding != nil || ex.Route != nil && ex.Route.EditsBody
}
