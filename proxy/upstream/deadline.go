package upstream

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// deadlines arms the timeouts of one connection. Setting a deadline costs 160 ns
// and the runtime's timer locks, so it is done late: only when an operation has
// to wait, and then a quarter later than asked, so that the same deadline serves
// the waits of the next exchanges while enough of it is left.
//
//	wait 1        wait 2         wait 3
//	|--- T ---|...|              |
//	|             |--- T ---|....|
//	+----------------------------+--> armed at wait 1 for T + T/4; wait 2 still
//	                                  has T left of it; wait 3 arms anew
//
// A deadline that passes while nobody waits harms nothing: see link.receive.
type deadlines struct {
	timeouts Timeouts

	// The reader's side is also armed by SentAll, from the sender's goroutine,
	// when a reader waits for a head already.
	mu        sync.Mutex
	readUntil monotonic // the armed deadline; 0 is none
	headArmed bool      // once per response, however many pieces the head has
	inBody    bool

	headDue atomic.Bool // the Response timeout runs
	waiting atomic.Bool // a reader waits for a head that is not due yet

	writeUntil monotonic // the sender's alone
}

// longAgo is the deadline that ends every wait at once.
var longAgo = time.Unix(1, 0)

// begin starts another exchange.
func (d *deadlines) begin(t Timeouts) {
	d.timeouts = t
	d.headArmed, d.inBody = false, false
	d.headDue.Store(false)
	d.waiting.Store(false)
}

// endless ends all arming: the owner of a tunnel sets deadlines as it likes.
func (d *deadlines) endless() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timeouts, d.inBody = Timeouts{}, true
	d.readUntil, d.writeUntil = 0, 0
}

// read arms the deadline of a wait for bytes of the response.
func (d *deadlines) read(nc net.Conn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inBody {
		return arm(&d.readUntil, d.timeouts.Read, nc.SetReadDeadline)
	}
	if !d.headDue.Load() {
		d.waiting.Store(true)
		// The request may have been completed since: then its sender did not
		// see waiting, and the head is due.
		if !d.headDue.Load() {
			return arm(&d.readUntil, 0, nc.SetReadDeadline)
		}
	}
	return d.armHead(nc)
}

func (d *deadlines) armHead(nc net.Conn) error {
	if d.headArmed {
		return nil
	}
	d.headArmed = true
	return arm(&d.readUntil, d.timeouts.Response, nc.SetReadDeadline)
}

// startHead begins the Response timeout. A reader that waits already gets its
// deadline while it waits.
func (d *deadlines) startHead(nc net.Conn) {
	if d.headDue.Swap(true) || !d.waiting.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.inBody {
		// The error is of a closed connection; the reader has seen it.
		_ = d.armHead(nc)
	}
}

// startBody ends the Response timeout.
func (d *deadlines) startBody() {
	d.mu.Lock()
	d.inBody = true
	d.mu.Unlock()
}

// write arms the deadline of a wait for room.
func (d *deadlines) write(nc net.Conn) error {
	return arm(&d.writeUntil, d.timeouts.Send, nc.SetWriteDeadline)
}

// arm makes sure that set's deadline is between timeout and 5/4 timeout away.
func arm(until *monotonic, timeout time.Duration, set func(time.Time) error) error {
	if timeout == 0 {
		if *until == 0 {
			return nil
		}
		*until = 0
		return set(time.Time{})
	}
	at := now()
	latest := at.add(timeout + timeout/4)
	if *until >= at.add(timeout) && *until <= latest {
		return nil
	}
	*until = latest
	return set(latest.wall())
}
