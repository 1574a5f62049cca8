package serve

import (
	"errors"
	"io"
	"sync"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/upstream"
	"perigee/proxy/wire"
)

// errGone says that the client has left.
var errGone = errors.New("client has closed the connection")

// drive moves an exchange to its end, performing its ops.
func (s *Server) drive(ex *exchange.Exchange) {
	for !s.advance(ex) {
		s.await(ex)
	}
}

// advance moves an exchange as far as it gets without waiting for anything that
// takes time; true: it has finished.
func (s *Server) advance(ex *exchange.Exchange) (finished bool) {
	for !s.opt.Advance(ex) {
		if !s.performQuick(ex) {
			return false
		}
	}
	return true
}

// performQuick performs an op that takes no time; false: there is none.
func (s *Server) performQuick(ex *exchange.Exchange) bool {
	for op := ex.NextOf(luavm.OpCapture); op != nil; op = ex.NextOf(luavm.OpCapture) {
		if s.subrequests(ex, op) {
			ex.Performed(op)
			return true
		}
	}
	if ex.Parent == nil {
		return false
	}
	op := ex.NextOf(exchange.OpWrite) // to memory
	if op == nil {
		return false
	}
	s.perform(ex, op)
	ex.Performed(op)
	return true
}

// await performs what an exchange waits for and returns when an op is complete.
func (s *Server) await(ex *exchange.Exchange) {
	inPlace := false
	for op := ex.Next(); op != nil; op = ex.Next() {
		if inPlace = !besides(ex, op); !inPlace {
			go s.performBeside(ex, op)
			continue
		}
		s.perform(ex, op)
		ex.Performed(op)
	}
	if !inPlace {
		// Every completion since the last look leaves a token here.
		<-ex.Completions()
	}
}

// besides tells whether op must be performed beside the exchange's own
// goroutine: another op may complete before it, whose waiter is to go on.
func besides(ex *exchange.Exchange, op *luavm.Op) bool {
	others := ex.ScriptsOut()
	if ex.IsScripts(op) {
		others--
	}
	return op.Kind == exchange.OpPump || others > 0 || ex.Fresh() > 0
}

// performBeside performs an op on a goroutine of its own, because the exchange
// waits for others too.
func (s *Server) performBeside(ex *exchange.Exchange, op *luavm.Op) {
	var fault upstream.Canceler
	defer func() {
		if v := recover(); v != nil {
			s.opt.Recovered(v)
			op.Err = errors.New("panic while an op was performed")
		}
		ex.Complete(op)
		fault.Cancel()
	}()
	var up upstream.Canceler
	if op.Kind == exchange.OpPump {
		up = ex.Up.Canceler()
	}
	s.perform(ex, op)
	// Whoever waits for the endpoint's answer to a body that never becomes
	// whole must be told, once the reason can be read.
	var why *wire.Error
	if errors.As(op.Err, &why) {
		fault = up
	}
}

func (s *Server) perform(ex *exchange.Exchange, op *luavm.Op) {
	switch op.Kind {
	case exchange.OpReadBody:
		op.Err = s.readWholeBody(ex, op.Int)
	case exchange.OpConnect:
		op.Err = connect(ex, op.Int == exchange.ConnectFresh)
	case exchange.OpPump:
		op.Err = pump(ex)
	case exchange.OpWrite:
		op.Err = answer(ex)
	case exchange.OpTunnel:
		op.Err = tunnel(ex)
	case luavm.OpReqRead, luavm.OpReqReadRaw, luavm.OpReqWrite:
		forScript(ex, op)
	default:
		Perform(ex, op)
	}
}

// answer sends a piece of an answer to the client, or to a subrequest's parent.
func answer(ex *exchange.Exchange) error {
	if parent, ok := ex.Down.(*exchange.Captured); ok {
		return parent.Write(ex, ex.Send)
	}
	return ex.Down.(*conn).Write(ex, ex.Send)
}

// Perform performs an op that needs nothing of the client's connection. It
// blocks until that is done: an event loop has such ops performed on goroutines.
func Perform(ex *exchange.Exchange, op *luavm.Op) {
	switch op.Kind {
	case exchange.OpSend:
		op.Err = ex.Up.Write(ex.UpHead, nil, nil)
	case exchange.OpReceiveHead:
		op.Err = ex.ReceiveHead()
	case exchange.OpReceiveBody:
		ex.Chunk, op.Err = ex.Up.NextBody()
	case exchange.OpTask:
		ex.Task.Run(ex, op)
	case exchange.OpLookup:
		ex.Lookup.Run(int(op.Int))
	case exchange.OpReadFile:
		ex.Chunk, op.Err = ex.File.Next()
	default:
		luavm.Perform(op)
	}
}

func connect(ex *exchange.Exchange, fresh bool) error {
	t := ex.Timeouts()
	if fresh {
		up, err := ex.Endpoint.AcquireNew(t)
		ex.SetUp(up)
		return err
	}
	up, _, err := ex.Endpoint.Acquire(t)
	ex.SetUp(up)
	return err
}

// pumpSize is the memory of one body on its way through.
const pumpSize = 32 << 10

var pumpBuffers = sync.Pool{New: func() any { return new([pumpSize]byte) }}

// pump sends a request body that is not in memory to the upstream.
func pump(ex *exchange.Exchange) error {
	if ex.BodyFile.Set() {
		return pumpFile(ex)
	}
	return ex.Down.(*conn).pump(ex)
}

// pump streams the rest of the request body to the upstream, as chunks unless
// its length is known.
func (c *conn) pump(ex *exchange.Exchange) error {
	mem := pumpBuffers.Get().(*[pumpSize]byte)
	defer pumpBuffers.Put(mem)
	buf := mem[:]
	const room = 16 // a chunk's size line before the data
	chunked := c.BodySize() < 0
	limit := ex.BodyLimit
	var total int64
	for {
		n, err := c.ReadBody(buf[room : pumpSize-8])
		total += int64(n)
		if limit > 0 && total > limit {
			c.Close()
			return exchange.ErrBodyTooLarge
		}
		piece := buf[room : room+n]
		if chunked && n > 0 {
			var line [room]byte
			size := wire.AppendChunkHeader(line[:0], n)
			copy(buf[room-len(size):], size)
			piece = wire.AppendChunkEnd(buf[room-len(size) : room+n])
		}
		ended := err == io.EOF || err == nil && c.body.done.Load()
		if err != nil && !ended {
			return err
		}
		if ended && chunked {
			text, fields := c.body.chunks.Trailers()
			piece = wire.AppendFinalChunkTrailers(piece, text, fields)
		}
		if len(piece) > 0 {
			if err := ex.Up.Write(piece, nil, nil); err != nil {
				return err
			}
		}
		if ended {
			ex.Up.SentAll()
			return nil
		}
	}
}

func tunnel(ex *exchange.Exchange) error {
	t, err := ex.Up.Hijack()
	if err != nil {
		return err
	}
	defer t.Close()
	sent, received, err := ex.Down.(*conn).Tunnel(t)
	ex.Record.ResponseBodyBytes += sent
	ex.Record.BytesIn += received
	return err
}
