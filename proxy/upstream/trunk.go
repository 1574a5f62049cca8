package upstream

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"perigee/luavm/socket"
	"perigee/proxy/h2"
)

// A Trunk is one connection that several exchanges of an event loop use at a
// time. What each of them holds is a Conn as ever, with the same rules; its
// bytes go by a lane of the trunk instead of a socket of its own:
//
//	Conn  Conn  Conn          one exchange each: ReadHead, NextBody, Write ...
//	  |     |     |
//	lane  lane  lane          what the protocol knows of the exchange
//	   \    |    /
//	     Trunk -- out --> Work, once per wake-up of the loop
//	       ^----- in <--- the socket
//
// How bytes of lanes come together is the protocol's: one answer after another
// (pipeline), or mixed (streams, HTTP/2). All of a trunk belongs to its loop's thread.
type Trunk struct {
	endpoint *Endpoint
	home     int
	fd       int
	nc       net.Conn // closed; its addresses are still asked for
	who      TrunkResident
	patient  *patient // nil: an event loop moves it
	proto    protocol

	readable, ended bool // as resident's
	in              []byte
	r, w            int // in[r:w] has not been looked at
	out             []byte
	sent            int   // out[:sent] has left
	fresh           int   // exchanges whose first bytes are in out[sent:]
	full            bool  // the socket takes no more at present
	mute            bool  // it takes none any more
	err             error // why the connection has ended
	closing         bool  // no exchange begins any more
	again           bool  // proto has to look at in once more

	free    []*Conn // lanes without an exchange
	live    int     // lanes with one
	served  int     // exchanges that have begun
	some    bool    // an answer has come
	touched []*Conn // whose exchanges may get further
}

// A TrunkResident is what an event loop knows of a trunk that lives in it.
type TrunkResident interface {
	// Attend asks the loop to look at the trunk before it polls: bytes are to be
	// flushed, exchanges may get further, there may be a free place, or the end
	// has come. It is called on the loop's thread.
	Attend()
	// Retire says, from any thread, that the endpoint is needed no more.
	Retire()
}

// protocol shares the bytes of a trunk among lanes.
type protocol interface {
	// room is how many more exchanges may begin.
	room() int
	// open prepares a lane for an exchange.
	open(c *Conn)
	// send takes as much of the pieces as it has room for; errQuiet: not all.
	send(c *Conn, pieces *[3][]byte) error
	// sending tells whether something that send took has still to wait for room.
	sending(c *Conn) bool
	// has tells whether receive has something to give, if only an end.
	has(c *Conn) bool
	// receive gives bytes of the lane's answer, as link.receive does.
	receive(c *Conn, p []byte) (int, error)
	// arrived looks at what may have come.
	arrived()
	// flushed says that out is empty again.
	flushed()
	// behind says that the lane's answer can only come after another one's.
	behind(c *Conn) bool
	// failed says that the connection has ended; Trunk.err tells why.
	failed()
	// answered says that the lane's answer is complete; its last left bytes of
	// receive belong to somebody else.
	answered(c *Conn, left int)
	// release ends the exchange of a lane. free: the lane can be used again.
	release(c *Conn, finished bool) (free bool)
}

// lane is a Conn's place on a trunk.
type lane struct {
	trunk *Trunk
	conn  *Conn
	// began says that the endpoint has been, or will be, sent something.
	began bool
	// unserved says that the endpoint has not looked at the request and never
	// will: see ErrUnserved.
	unserved bool
	// answered says that the answer's end has been seen.
	answered bool
	// orphan says that nobody waits for the answer that is still to come.
	orphan bool
	head   bool   // the request is a HEAD
	queued bool   // in Trunk.touched
	waits  *waits // of goroutines
	stream *h2.Stream
}

func (l *lane) receive(p []byte) (int, error) {
	if l.trunk.patient != nil {
		return l.trunk.patient.receive(l.conn, p)
	}
	return l.trunk.proto.receive(l.conn, p)
}

func (l *lane) send(pieces *[3][]byte) error {
	if l.trunk.patient != nil {
		return l.trunk.patient.send(l.conn, pieces)
	}
	return l.trunk.proto.send(l.conn, pieces)
}

// end ends the exchange.
func (l *lane) end(finished bool) {
	if l.trunk.patient != nil {
		l.trunk.patient.end(l.conn, finished)
		return
	}
	l.trunk.release(l.conn, finished)
}

// trunkBuffer is what one read takes at most.
const trunkBuffer = 32 << 10

// keepOut is the largest memory of what is to be sent that is held on to.
const keepOut = 256 << 10

// errReleased is the end of a trunk whose bytes cannot be told apart any more
// because an exchange has left it in the middle of an answer.
var errReleased = errors.New("shared connection was left in the middle of an answer")

// attend asks the loop to look; the loop forgets repetitions.
func (t *Trunk) attend() { t.who.Attend() }

// Endpoint is where the trunk leads.
func (t *Trunk) Endpoint() *Endpoint { return t.endpoint }

// FD is the descriptor, for the loop to watch and, when the trunk is Over, to
// close.
func (t *Trunk) FD() int { return t.fd }

// Over says that the connection has ended, or has no exchange and will get none.
func (t *Trunk) Over() bool { return t.err != nil || t.closing && t.live == 0 }

// Idle says that no exchange uses the trunk.
func (t *Trunk) Idle() bool { return t.live == 0 }

// Room tells whether an exchange can begin.
func (t *Trunk) Room() bool { return !t.closing && t.err == nil && t.proto.room() > 0 }

// Leave has no further exchange begin.
func (t *Trunk) Leave() {
	t.closing = true
	t.attend()
}

// open gives a lane to an exchange.
func (t *Trunk) open(timeouts Timeouts, limits *Limits) *Conn {
	var c *Conn
	if n := len(t.free); n > 0 {
		c = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		c = &Conn{endpoint: t.endpoint}
		c.link.Conn = t.nc
		c.link.resident = &resident{fd: -1, home: t.home, lane: &lane{}}
	}
	t.live++
	t.served++
	if limits.Requests > 0 && t.served >= limits.Requests {
		t.closing = true
	}
	w := c.link.resident.lane.waits
	if w == nil && t.patient != nil {
		w = &waits{make(chan struct{}, 1), make(chan struct{}, 1)}
		c.Tell(w)
	}
	*c.link.resident.lane = lane{trunk: t, conn: c, waits: w}
	c.link.resident.readable = false
	c.begin(timeouts, limits)
	c.once = false
	t.proto.open(c)
	return c
}

// release ends an exchange's use of its lane.
func (t *Trunk) release(c *Conn, finished bool) {
	t.live--
	if t.proto.release(c, finished) {
		t.recycle(c)
	}
	t.attend()
}

// recycle keeps a lane for a later exchange.
func (t *Trunk) recycle(c *Conn) {
	if t.err == nil {
		t.free = append(t.free, c)
	}
}

// touch has the loop try again what the exchange waits for.
func (t *Trunk) touch(c *Conn) {
	l := c.link.resident.lane
	if l.waits != nil {
		l.waits.wake()
		return
	}
	if l.queued || l.orphan {
		return
	}
	l.queued = true
	t.touched = append(t.touched, c)
	t.attend()
}

// Touched gives one of the connections whose exchanges may get further, or nil.
func (t *Trunk) Touched() *Conn {
	n := len(t.touched)
	if n == 0 {
		return nil
	}
	c := t.touched[n-1]
	t.touched = t.touched[:n-1]
	c.link.resident.lane.queued = false
	return c
}

// Ready says that there are bytes to read, or with ended that none follow those.
// They are read by Work.
func (t *Trunk) Ready(ended bool) {
	t.readable, t.again = true, true
	t.ended = t.ended || ended
	t.attend()
}

// Writable says that the socket takes bytes again.
func (t *Trunk) Writable() {
	if t.full {
		t.full = false
		t.attend()
	}
}

// fill reads once behind in[r:w]. The error is errQuiet, io.EOF or the network's.
func (t *Trunk) fill() error {
	if t.in == nil {
		t.in = make([]byte, trunkBuffer)
	}
	if t.r > 0 {
		t.w = copy(t.in, t.in[t.r:t.w])
		t.r = 0
	}
	n, err := t.read(t.in[t.w:])
	t.w += n
	return err
}

// put is fill with bytes that somebody else has read.
func (t *Trunk) put(p []byte) int {
	_ = t.fill() // makes room: nothing is readable
	n := copy(t.in[t.w:], p)
	t.w += n
	return n
}

// read reads once, if there may be something.
func (t *Trunk) read(p []byte) (int, error) {
	if !t.readable {
		return 0, errQuiet
	}
	n, err := readSocket(uintptr(t.fd), p)
	if err == errQuiet || n > 0 && n < len(p) && !t.ended {
		t.readable = false
	}
	if err != nil && err != errQuiet && err != io.EOF {
		err = os.NewSyscallError("read", err)
	}
	return n, err
}

// fail ends the connection for all of its exchanges.
func (t *Trunk) fail(err error) {
	if t.err != nil {
		return
	}
	t.err, t.closing = err, true
	t.proto.failed()
	t.attend()
}

// What is enough to leave at once.
const (
	enoughRequests = 32
	enoughBytes    = 16 << 10
)

// CanWait tells whether what is to be sent loses nothing by waiting a little for
// more to come together: it is little, and the endpoint has more requests of this
// connection to answer than wait here.
func (t *Trunk) CanWait() bool {
	n := len(t.out) - t.sent
	return n > 0 && n < enoughBytes && t.fresh < enoughRequests && t.fresh < t.live-t.fresh
}

// Work does what the trunk has asked the loop to attend to: it sends what has
// come together, as far as there is room, unless that is to wait, and then reads
// what has come: the endpoint has something to do meanwhile.
func (t *Trunk) Work(wait bool) {
	if !wait {
		t.push()
	}
	if t.again && t.err == nil {
		t.again = false
		t.proto.arrived()
	}
	if t.sent > 0 && t.sent == len(t.out) {
		t.sent = 0
		if t.out = t.out[:0]; cap(t.out) > keepOut {
			t.out = nil
		}
		t.proto.flushed()
	}
}

// push sends as much as there is room for.
func (t *Trunk) push() {
	for t.patient == nil && t.err == nil && !t.full && !t.mute && t.sent < len(t.out) {
		n, err := socket.WriteOnce(uintptr(t.fd), t.out[t.sent:])
		switch err {
		case nil:
			t.sent += n
			t.fresh = 0
		case syscall.EAGAIN:
			t.full = true
		default:
			// Answers may have come before the end; reading finds it.
			t.mute, t.closing, t.readable = true, true, true
			t.again = true
			t.attend()
		}
	}
}
