package exchange

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"perigee/luavm"
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
	passing

	// Head is the head that arrived, spans of Raw.
	Head wire.RequestHead
	// Req has the method of the request as it will be sent on. Its target is that of
	// Head, or SendTarget's, its fields are those of Head and what SetRequestHeader
	// and its like have made of them.
	Req fasthttp.RequestHeader
	// Path is the decoded path without dot segments and double slashes: what
	// routes match and $uri is.
	Path []byte
	// Host is the request's host in lower case, without port.
	Host []byte

	// Resp is the head of the answer.
	Resp ResponseHead
	// Out is the body of a local answer, or the part of it that Emit sends.
	Out []byte
	// Coding is what encodes the answer's body on its way out; nil: it goes as it
	// is. A header filter sets it.
	Coding Coding
	// Held is what of a buffered answer has not been passed on.
	Held []byte

	// Body is the request body, once it was read or set. BodyRead tells the two
	// from nothing; BodyStreamed: it went to the upstream unseen.
	Body []byte

	// Captures are what the expression of the route has captured.
	Captures [][]byte

	Authority, Sent []byte // see Outlet

	Tried  upstream.Tried
	UpHead []byte // request head as it is sent, own memory
	UpRes  wire.ResponseHead

	// Lookup is what a filter asks the disk; File is an answer's body on it.
	Lookup Lookup
	File   FileBody

	// Limits is what limits have decided.
	Limits Limits
	// Value is what a script was asked for by another filter, and its answer.
	Value Value

	// Vars are variables set by scripts and by the configuration. Maps are those
	// that are looked up when they are used, and are not in Vars yet.
	Vars []Var

	// Trace is the exchange's place in a trace.
	Trace trace.Context

	// Groups is memory for offsets of captures. Target and Scratch are memory for
	// building the request that is sent on.
	Groups          []int
	Target, Scratch []byte

	// HeadText and RespText are heads as scripts read them, where the raw bytes
	// are not to be had.
	HeadText, RespText []byte

	runs        *[StageCount]LuaRun // see LuaRun; nil: no script has waited as yet
	early       *earlyHead          // nil: no filter has needed it as yet
	spans       *Spans              // nil: not sampled
	formerSpans *Spans              // memory for spans
	glancing    bool                // what is looked up is not kept

	owned []string // files that go with the exchange

	gone   []bool       // fields of Head that filters have taken out; empty: none
	added  []addedField // fields of the request that filters have added
	query  []byte       // memory of a query that was set
	hidden []byte       // memory of the record's query, where it has a secret

	ops           [maxOps]*luavm.Op // made when first posted, kept in the pool
	posted, fresh uint16
	scripts       scriptOps
	mu            sync.Mutex    // guards scripts.done, families, cancel, and setting done
	done          atomic.Uint32 // complete, by others
	families      []family
	wake          chan struct{}
	aborted       atomic.Bool
	killed        atomic.Bool
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
	ex.DropCoding()
	ex.ReleaseFiles()
	ex.removeOwned()
	ex.Limits.reset()
	ex.Value.reset()
	ex.Trace.Reset()
	ex.DropSpans()
	ex.Tried.Reset()
	if ex.seated {
		ex.seated = false
		ex.endRuns()
	}
	shard := ex.Record.Shard
	ex.passing = passing{}
	ex.Record.Shard = shard
	ex.trimAll()
	ex.Captures, ex.Vars, ex.Groups = ex.Captures[:0], ex.Vars[:0], ex.Groups[:0]
	if len(ex.families) > 0 {
		clear(ex.families)
		ex.families = ex.families[:0]
	}
	if ex.done.Load() != 0 { // an atomic write takes as long as thirty others
		ex.done.Store(0)
	}
	if ex.aborted.Load() {
		ex.aborted.Store(false)
		ex.killed.Store(false)
	}
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
