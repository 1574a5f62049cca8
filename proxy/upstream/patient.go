package upstream

import (
	"net"
	"os"
	"sync"
	"time"
)

// patient moves a trunk for exchanges that goroutines drive, and can wait. All
// that belongs to the trunk is guarded by mu; two goroutines of its own read
// and write:
//
//	exchange: lock, send or receive --- errQuiet: unlock, wait for touch, again
//	reader:   read, lock, arrived, touch those who have got something
//	writer:   wait for Attend, lock, take out, unlock, write
//
// While one write is under way others gather what leaves in the next.
type patient struct {
	*Trunk
	mu    sync.Mutex
	nc    net.Conn
	dirty chan struct{}
	idle  *time.Timer // runs while there is no exchange
	over  bool        // nc is closed
}

// waits are where an exchange's reader and sender wait for their lane.
type waits struct{ read, write chan struct{} }

// Canceled implements Resident.
func (w *waits) Canceled() { w.wake() }

// Now implements Resident.
func (w *waits) Now() time.Time { return time.Now() }

// Close implements Resident; lanes have nothing to close.
func (w *waits) Close() {}

func (w *waits) wake() {
	signal(w.read)
	signal(w.write)
}

// signal leaves one token.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Attend implements TrunkResident; mu is held.
func (p *patient) Attend() { signal(p.dirty) }

// Retire implements TrunkResident. The caller holds the pool, which the end of a
// trunk needs.
func (p *patient) Retire() { go p.leave() }

// leave has no further exchange begin.
func (p *patient) leave() {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.settle()
}

// settle ends the trunk if it is over, and tells those who wait for a place.
func (p *patient) settle() {
	p.mu.Lock()
	end := p.Over() && !p.over
	p.over = p.over || end
	p.mu.Unlock()
	pool := &p.endpoint.trunks[p.home]
	if end {
		pool.remove(p.Trunk)
		_ = p.nc.Close()
		signal(p.dirty)
		p.endpoint.giveUp()
	}
	pool.tell()
}

// start begins to move the trunk.
func (p *patient) start() {
	p.Trunk.patient, p.who = p, p
	p.idle = time.AfterFunc(time.Hour, p.expire)
	go p.readAll()
	go p.writeAll()
}

// expire ends a trunk that nobody has used for a while.
func (p *patient) expire() {
	p.mu.Lock()
	unused := p.live == 0
	p.mu.Unlock()
	if unused {
		p.leave()
	}
}

func (p *patient) readAll() {
	buf := make([]byte, trunkBuffer)
	for {
		n, err := p.nc.Read(buf)
		p.mu.Lock()
		for data := buf[:n]; len(data) > 0 && p.err == nil; {
			data = data[p.put(data):]
			p.proto.arrived()
		}
		if err != nil {
			p.fail(err)
		}
		done := p.err != nil
		p.mu.Unlock()
		p.settle()
		if done {
			return
		}
	}
}

func (p *patient) writeAll() {
	var out []byte
	for range p.dirty {
		p.mu.Lock()
		out, p.out = p.out, out[:0]
		over := p.over
		p.mu.Unlock()
		if over {
			p.idle.Stop()
			return
		}
		if len(out) == 0 {
			continue
		}
		_ = p.nc.SetWriteDeadline(time.Now().Add(writePatience))
		_, err := p.nc.Write(out)
		p.mu.Lock()
		if err != nil {
			p.fail(err)
		} else {
			p.proto.flushed()
		}
		p.mu.Unlock()
		if err != nil {
			p.settle()
		}
		if cap(out) > keepOut {
			out = nil
		}
	}
}

// writePatience is how long an endpoint may take no bytes of a shared connection
// at all before it is given up. Exchanges have time-outs of their own.
const writePatience = time.Minute

// receive is protocol.receive that waits.
func (p *patient) receive(c *Conn, b []byte) (int, error) {
	for {
		p.mu.Lock()
		n, err := p.proto.receive(c, b)
		p.mu.Unlock()
		if err != errQuiet {
			return n, err
		}
		timeouts, bound := &c.link.deadlines.timeouts, time.Duration(0)
		switch {
		case c.final:
			bound = timeouts.Read
		case c.AllSent() || c.link.deadlines.headDue.Load():
			bound = timeouts.Response
		}
		if err := c.await(c.link.resident.lane.waits.read, bound); err != nil {
			return 0, err
		}
	}
}

// send is protocol.send that waits.
func (p *patient) send(c *Conn, pieces *[3][]byte) error {
	for {
		p.mu.Lock()
		err := p.proto.send(c, pieces)
		p.mu.Unlock()
		if err != errQuiet {
			return err
		}
		if err := c.await(c.link.resident.lane.waits.write, c.link.deadlines.timeouts.Send); err != nil {
			return err
		}
	}
}

// await waits for a token.
func (c *Conn) await(token chan struct{}, bound time.Duration) error {
	var late <-chan time.Time
	if bound > 0 {
		t := time.NewTimer(bound)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-token:
	case <-late:
		return os.ErrDeadlineExceeded
	}
	if c.link.canceled() {
		return ErrCanceled
	}
	return nil
}

// end is Trunk.release for an exchange that a goroutine drives.
func (p *patient) end(c *Conn, finished bool) {
	p.mu.Lock()
	p.release(c, finished)
	if p.live == 0 {
		if d := p.IdleTimeout(); d > 0 {
			p.idle.Reset(d)
		} else {
			p.closing = true
		}
	}
	p.mu.Unlock()
	p.settle()
}

// acquireShared gives a place on a shared connection to an exchange that a
// goroutine drives.
func (e *Endpoint) acquireShared(t Timeouts) (c *Conn, reused bool, err error) {
	home := len(e.trunks) - 1
	pool := &e.trunks[home]
	var late <-chan time.Time
	for {
		c, changed, mine := pool.place(t, e.limits.Load())
		switch {
		case c != nil:
			e.reused.Add(1)
			return c, true, nil
		case mine && !e.AdmitTrunk():
			pool.dialed()
			if pool.size() == 0 {
				return nil, false, ErrBusy
			}
		case mine:
			err := e.dialPatient(home, t)
			pool.dialed()
			if err != nil {
				return nil, false, err
			}
			continue
		}
		if late == nil {
			timer := time.NewTimer(t.Connect)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-changed:
		case <-late:
			return nil, false, ErrBusy
		}
	}
}

func (e *Endpoint) dialPatient(home int, t Timeouts) error {
	c, err := e.dialer.dial(e, t.Connect)
	if err != nil {
		e.giveUp()
		return err
	}
	nc := c.link.Conn
	if c.tls != nil {
		if agreed := c.tls.ConnectionState().NegotiatedProtocol; agreed != "h2" {
			_ = nc.Close()
			e.giveUp()
			return e.dialer.failure(noHTTP2(agreed), ConnectTLS)
		}
		nc = c.tls
	}
	e.dialed.Add(1)
	p := &patient{Trunk: &Trunk{endpoint: e, home: home, fd: -1, nc: c.link.Conn}, nc: nc, dirty: make(chan struct{}, 1)}
	p.proto = newStreams(p.Trunk)
	p.mu.Lock()
	p.start()
	p.Join(p)
	p.attend()
	p.mu.Unlock()
	return nil
}

// noHTTP2 is the protocol that an endpoint agreed to instead; empty: to none.
type noHTTP2 string

func (p noHTTP2) Error() string {
	if p == "" {
		return "endpoint does not offer HTTP/2 (ALPN \"h2\"); write protocol: http1 for it"
	}
	return "endpoint chose " + string(p) + " instead of HTTP/2"
}

// place looks for a trunk with room. mine: there is none, and the caller is to
// dial; dialed must follow. changed is closed when another look may help.
func (p *trunkPool) place(t Timeouts, limits *Limits) (c *Conn, changed <-chan struct{}, mine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, trunk := range p.trunks {
		trunk.patient.mu.Lock()
		if trunk.Room() {
			c = trunk.open(t, limits)
			trunk.patient.idle.Stop()
		}
		trunk.patient.mu.Unlock()
		if c != nil {
			return c, nil, false
		}
	}
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	mine = !p.dialing
	p.dialing = true
	return nil, p.changed, mine
}

// dialed says that the caller of place has dialed, or could not.
func (p *trunkPool) dialed() {
	p.mu.Lock()
	p.dialing = false
	p.mu.Unlock()
	p.tell()
}

// tell has all who wait for a place look again.
func (p *trunkPool) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}
