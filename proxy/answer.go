package proxy

import (
	"io"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/upstream"
	"perigee/proxy/wire"
)

// answerHead runs the header filters and decides how the body is framed.
func (g *Gateway) answerHead(ex *exchange.Exchange) bool {
	if ex.Place.Status != 0 {
		ex.Resp.SetStatusCode(ex.Place.Status)
		ex.Place.Status = 0
	}
	if ex.Place.Answer == 0 {
		ex.DropCoding() // of an answer that this one replaces
	}
	noteLocation(ex)
	ex.LayEarly()
	if ex.Place.Source != exchange.FromUpstream && !g.judge(ex) {
		return true
	}
	if ex.Scripted && !ex.Typeless && len(ex.Resp.ContentType()) == 0 && ex.Resp.StatusCode() != 304 && ex.Route != nil {
		ex.Resp.SetType(ex.Route.DefaultType)
	}
	announce(ex)
	if ex.Route != nil && !ex.Place.Plain {
		steps := ex.Route.Steps[exchange.Header]
		for ex.Place.Answer < len(steps) {
			switch steps[ex.Place.Answer].Step(ex, exchange.Header) {
			case exchange.Wait:
				return false
			case exchange.Hangup:
				return g.hangup(ex)
			case exchange.Fail:
				dropUpstream(ex, upstream.Abandoned)
				ex.Place.Plain = true // what has failed is not asked again
				return g.fail(ex, ex.FailStatus, "filter")
			}
			ex.Place.Answer++
		}
	}
	ex.Place.Answer = 0
	if ex.Place.OwnPath {
		completeLocation(ex)
	}
	ex.Place.HeadDone = true
	if ex.Resp.StatusCode() == 101 {
		ex.Place.BodyFrame = wire.BodyNone
		ex.Place.Step = stepWrite
		return true
	}
	frame(ex)
	ex.Place.Step = stepChunk
	return g.nextChunk(ex)
}

// frame chooses the framing of the answer's body (RFC 9112 §6): a promised
// length if it is known and no filter may change it, else chunks, else the end
// of the connection.
func frame(ex *exchange.Exchange) {
	status := ex.Resp.StatusCode()
	length := contentLength(ex)
	p := &ex.Place
	switch {
	case status == 204 || status < 200:
		ex.Resp.SetLength(-1)
		p.BodyFrame = wire.BodyNone
	case status == 304 || ex.Req.IsHead():
		p.BodyFrame = wire.BodyNone // the length, if known, is that of a GET
	case length >= 0 && !ex.EditsBody():
		ex.Resp.SetLength(length)
		p.BodyFrame, p.Left = wire.BodyLength, length
	case ex.Head.Minor == 0:
		ex.Resp.SetLength(-1)
		p.BodyFrame = wire.BodyUntilClose
		ex.Down.Close()
	default:
		ex.Resp.SetLength(-1)
		p.BodyFrame = wire.BodyChunked
	}
}

// contentLength is the length of the body to come, -1 if it is not known.
func contentLength(ex *exchange.Exchange) int64 {
	if announced := ex.Resp.Length(); announced >= 0 {
		return announced
	}
	if ex.Place.Source == exchange.FromUpstream && ex.UpRes.Body == wire.BodyNone && !ex.Req.IsHead() {
		return 0
	}
	return -1
}

// announce says how long an answer is that is complete. A header filter that
// takes the length away has it sent in chunks. A script's answer is chunked, as
// in nginx, unless the script said a length; an HTTP/1.0 client could not read
// it then.
func announce(ex *exchange.Exchange) {
	p, status := &ex.Place, ex.Resp.StatusCode()
	if p.Source != exchange.FromOut || p.Answer > 0 || ex.Running(exchange.Header) ||
		status < 200 || status == 204 || status == 304 || ex.Resp.Length() >= 0 {
		return
	}
	if ex.Scripted && (ex.Req.IsHead() || ex.Head.Minor > 0 && len(ex.Out) > 0) {
		return
	}
	ex.Resp.SetLength(int64(len(ex.Out)))
}

// nextChunk gets the next piece of the answer's body into Chunk and Last.
func (g *Gateway) nextChunk(ex *exchange.Exchange) bool {
	p := &ex.Place
	switch p.Source {
	case exchange.FromOut:
		ex.Chunk, ex.Last = ex.Out, true
	case exchange.FromFilter:
		ex.Chunk, ex.Last = ex.Out, ex.Ended
	case exchange.FromUpstream:
		if !g.upstreamChunk(ex) {
			return p.Step != stepChunk
		}
	case exchange.FromFile:
		if !g.fileChunk(ex) {
			return p.Step != stepChunk
		}
	default:
		ex.Chunk, ex.Last = nil, true
	}
	p.Step = stepFilter
	if ex.Route == nil || len(ex.Route.Steps[exchange.Body]) == 0 {
		p.Step = stepWrite
	}
	if p.BodyFrame == wire.BodyNone {
		// No body filter sees a body that is not sent, as in nginx.
		ex.Chunk, ex.Last = nil, ex.Last || p.Source == exchange.FromUpstream
		p.Step = stepWrite
	}
	return true
}

// upstreamChunk takes what has arrived from the upstream; false: the exchange
// waits for more, or has failed.
func (g *Gateway) upstreamChunk(ex *exchange.Exchange) bool {
	up := ex.Up
	if ex.Place.BodyFrame == wire.BodyNone {
		return true // whatever body there is (none), nobody wants it
	}
	if op := ex.Take(exchange.OpReceiveBody); op != nil {
		if g.received(ex, op.Err) {
			return true
		}
	}
	for ex.Place.Step == stepChunk && !ex.Waiting(exchange.OpReceiveBody) && up.Buffered() {
		var err error
		ex.Chunk, err = up.NextBody()
		if g.received(ex, err) {
			return true
		}
	}
	if ex.Place.Step != stepChunk || ex.Waiting(exchange.OpReceiveBody) {
		return false
	}
	if !ex.Place.HeadSent {
		// The head leaves before anybody waits for a body: the client of a
		// slow stream sees at once that it has begun.
		ex.Chunk, ex.Last = nil, false
		ex.Place.Step = stepWrite
		return false
	}
	ex.Post(exchange.OpReceiveBody)
	return false
}

// received looks at the outcome of reading the upstream's body.
func (g *Gateway) received(ex *exchange.Exchange, err error) bool {
	switch {
	case err == nil:
		ex.Last = ex.Up.BodyDone()
		return gathered(ex)
	case err == io.EOF:
		ex.Chunk, ex.Last = nil, true
		return gathered(ex)
	case len(ex.Held) > 0 && !ex.Place.Passed && !isTimeout(err):
		// What has come is passed on before the break, which is met again.
		ex.Chunk, ex.Last = ex.Held, false
		ex.Place.Passed = true
		return true
	}
	why := observe.AbortUpstream
	if isTimeout(err) {
		why = observe.AbortUpstreamTimeout
	}
	if ex.Aborted() {
		why = observe.AbortClientGone
	}
	g.cut(ex, why)
	return false
}

// gathered tells whether Chunk is to be passed on now: of a buffered answer small
// pieces are held back until there is enough of them, or none follows.
func gathered(ex *exchange.Exchange) bool {
	if !ex.Place.Buffered {
		return true
	}
	if ex.Place.Passed {
		ex.Held, ex.Place.Passed = ex.Held[:0], false
	}
	if len(ex.Held) == 0 && (ex.Last || len(ex.Chunk) >= exchange.BufferPiece) {
		return true
	}
	ex.Held = append(ex.Held, ex.Chunk...)
	if !ex.Last && len(ex.Held) < exchange.BufferPiece {
		return false
	}
	ex.Chunk, ex.Place.Passed = ex.Held, true
	return true
}

// cut ends an answer whose head has left in a way the client can notice: the
// connection closes before the promised end.
func (g *Gateway) cut(ex *exchange.Exchange, why observe.Abort) {
	if !ex.Place.HeadSent && why != observe.AbortClientGone {
		dropUpstream(ex, upstream.Abandoned)
		g.fail(ex, 502, "upstream_body")
		return
	}
	if ex.Record.Abort == observe.AbortNone {
		ex.Record.Abort = why
	}
	if !ex.Place.HeadSent {
		ex.Record.Status = 499
	}
	switch why {
	case observe.AbortClientGone:
		ex.Fatal = 499
	case observe.AbortInternal:
		ex.Fatal = 500
	}
	ex.Down.Close()
	ex.Place.Step = stepEnd
}

// filterChunk runs the body filters over Chunk.
func (g *Gateway) filterChunk(ex *exchange.Exchange) bool {
	if ex.Route != nil && !ex.Place.Plain {
		steps := ex.Route.Steps[exchange.Body]
		for ex.Place.Answer < len(steps) {
			switch steps[ex.Place.Answer].Step(ex, exchange.Body) {
			case exchange.Wait:
				return false
			case exchange.Fail:
				ex.Place.Plain = true
				g.cut(ex, observe.AbortInternal)
				return true
			}
			ex.Place.Answer++
		}
	}
	ex.Place.Answer = 0
	ex.Place.Step = stepWrite
	return true
}

// write sends Chunk, with the head if it has not left.
func (g *Gateway) write(ex *exchange.Exchange) bool {
	p := &ex.Place
	if ex.Ended && p.Source == exchange.FromFilter && p.HeadSent && p.Finished {
		// Output behind ngx.eof has nowhere to go.
		ex.Chunk = nil
	}
	if p.BodyFrame == wire.BodyLength {
		promise(ex)
	}
	ex.Send = exchange.Send{Head: !p.HeadSent, Data: ex.Chunk, Last: ex.Last && !p.Finished}
	ex.Record.ResponseBodyBytes += int64(len(ex.Chunk))
	if ex.Send.Last && p.BodyFrame == wire.BodyChunked && p.Source == exchange.FromUpstream {
		ex.Send.TrailerText, ex.Send.Trailers = ex.Up.Trailers()
	}
	p.Step = stepWritten
	if !ex.Send.Head && len(ex.Send.Data) == 0 && !ex.Send.Last {
		p.Skipped = true
		return true
	}
	if ex.Send.Head {
		ex.Record.Status = ex.Resp.StatusCode()
		ex.Record.TTFB = ex.Since(ex.StartNS)
	}
	p.HeadSent = true
	p.Finished = p.Finished || ex.Last
	p.Skipped = false
	if op, done := ex.Try(exchange.OpWrite, 0); done {
		return g.wrote(ex, op.Err)
	}
	return false
}

// promise holds the answer to its Content-Length: what is beyond it would be
// read as the next answer of the connection.
func promise(ex *exchange.Exchange) {
	p := &ex.Place
	if int64(len(ex.Chunk)) > p.Left {
		ex.Chunk = ex.Chunk[:p.Left]
		ex.Down.Close()
	}
	p.Left -= int64(len(ex.Chunk))
	if ex.Last && p.Left > 0 {
		ex.Down.Close() // shorter than promised: only the end can tell
	}
}

// written goes on after a piece has been sent, or was not to be.
func (g *Gateway) written(ex *exchange.Exchange) bool {
	if ex.Place.Skipped {
		return g.wrote(ex, nil)
	}
	op := ex.Take(exchange.OpWrite)
	if op == nil {
		return false
	}
	return g.wrote(ex, op.Err)
}

func (g *Gateway) wrote(ex *exchange.Exchange, err error) bool {
	if err != nil {
		return g.clientLost(ex, err)
	}
	p := &ex.Place
	switch {
	case ex.Resp.StatusCode() == 101 && p.Source == exchange.FromUpstream:
		g.leave(ex)
		p.Step = stepTunnel
	case p.Source == exchange.FromFilter:
		ex.Out = ex.Out[:0]
		p.Step = p.Back
	case ex.Last:
		p.Step = stepEnd
	default:
		if !needsScripts(ex) {
			g.leave(ex)
		}
		p.Step = stepChunk
	}
	return true
}

// needsScripts tells whether filters are still to run for the answer's body or
// the log.
func needsScripts(ex *exchange.Exchange) bool {
	streams := ex.Place.Source == exchange.FromUpstream || ex.Place.Source == exchange.FromFile
	return ex.Route == nil || !streams || ex.Route.EditsBody || len(ex.Route.Steps[exchange.Log]) > 0
}

// leave gives up the exchange's VM and its hold on the snapshot: a stream or a
// tunnel may live for days, and the VMs of a configuration that was replaced
// must not wait for it. The connection to the endpoint stays.
func (g *Gateway) leave(ex *exchange.Exchange) {
	if ex.Place.Away || ex.ScriptsOut() > 0 {
		return // a performer still writes to an op of a thread that was killed
	}
	ex.Place.Away = true
	ex.LeaveSeat()
	ex.Snapshot.Leave(ex.Record.Shard)
}

// clientLost ends an exchange whose answer cannot be sent any more.
func (g *Gateway) clientLost(ex *exchange.Exchange, err error) bool {
	ex.Record.Abort = observe.AbortClientGone
	if isTimeout(err) {
		ex.Record.Abort = observe.AbortClientTimeout
	}
	if ex.Place.Source == exchange.FromFilter {
		// The script runs on to its end, told by ngx.print's return value.
		ex.Out = ex.Out[:0]
		ex.Place.Lost = true
		ex.Place.Step = ex.Place.Back
		return true
	}
	ex.Place.Step = stepEnd
	return true
}
