package proxy

import (
	"errors"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/upstream"
	"perigee/proxy/wire"
)

// maxBuffered is the largest request body that is read before it is sent on: it
// leaves with the head in one write and can be sent again. Larger ones stream.
const maxBuffered = 16 << 10

// readBody reads a short body, and refuses one over the limit before any
// endpoint sees the request.
func (g *Gateway) readBody(ex *exchange.Exchange) bool {
	if op := ex.Take(exchange.OpReadBody); op != nil && op.Err != nil {
		return g.bodyFailed(ex, op.Err)
	}
	if ex.Waiting(exchange.OpReadBody) {
		return false
	}
	size := ex.Down.BodySize()
	if ex.BodyLimit > 0 && size > ex.BodyLimit {
		ex.Down.Close()
		g.state.Metrics.Refused.With("body_bytes").Inc()
		return g.fail(ex, 413, "body_bytes")
	}
	if !ex.BodyRead && size > 0 && size <= maxBuffered && !ex.Down.BodyDone() {
		ex.Post(exchange.OpReadBody).Int = exchange.BodyInMemory
		return false
	}
	ex.Place.Step = stepConnect
	return g.connect(ex)
}

// bodyFailed answers a request whose body could not be read.
func (g *Gateway) bodyFailed(ex *exchange.Exchange, err error) bool {
	ex.Down.Close()
	var why *wire.Error
	if errors.As(err, &why) {
		g.state.Metrics.Refused.With(why.Reason).Inc()
		return g.fail(ex, why.Status, why.Reason)
	}
	return g.fail(ex, 400, "body")
}

// connect chooses an endpoint and gets a connection to it.
func (g *Gateway) connect(ex *exchange.Exchange) bool {
	if ex.Waiting(exchange.OpConnect) {
		op := ex.Take(exchange.OpConnect)
		if op == nil {
			return false
		}
		return g.connected(ex, op.Err)
	}
	if !ex.Place.Again {
		switch g.choose(ex) {
		case exchange.Wait:
			return false
		case exchange.Fail:
			return g.fail(ex, ex.FailStatus, "balancer")
		}
	}
	ex.Attempts++
	ex.Record.AddAttempt(ex.Endpoint.Address())
	if ex.AttemptStart = ex.NowNS(); ex.FirstAttempt == 0 {
		ex.FirstAttempt = ex.AttemptStart
	}
	beginAttemptSpan(ex)
	how := exchange.ConnectAny
	switch {
	case ex.Place.Fresh:
		how = exchange.ConnectFresh
	case mayShare(ex):
		how = exchange.ConnectShared
	}
	if op, done := ex.Try(exchange.OpConnect, how); done {
		return g.connected(ex, op.Err)
	}
	return false
}

// choose sets the endpoint of the next attempt: Continue, Wait, or Fail with
// FailStatus.
func (g *Gateway) choose(ex *exchange.Exchange) exchange.Verdict {
	group := ex.Outlet.Group
	if b := ex.Outlet.Balancer; b != nil {
		if verdict := b.Step(ex, exchange.Balancer); verdict != exchange.Continue {
			return verdict
		}
	}
	ex.FailStatus = 502
	var e *upstream.Endpoint
	if ex.Peer.Address != "" {
		var err error
		if e, err = group.Named(ex.Peer.Peer); err != nil {
			g.state.problem("upstream " + group.Name() + ": " + err.Error())
			return exchange.Fail
		}
	} else if e = group.Pick(&ex.Tried); e == nil && ex.Outlet.Balancer != nil {
		ex.Tried.Reset() // the script has asked for more tries than endpoints
		e = group.Pick(&ex.Tried)
	}
	if e == nil {
		return exchange.Fail
	}
	ex.Endpoint = e
	ex.Record.Upstream = group.Name()
	return exchange.Continue
}

func (g *Gateway) connected(ex *exchange.Exchange, err error) bool {
	ex.Place.Again, ex.Place.Fresh = false, false
	if err == nil {
		if ex.Outlet.Proxy.Close {
			ex.Up.Once()
		}
		ex.Record.Last().Connect = ex.Since(ex.AttemptStart)
		ex.Place.Step = stepSend
		return g.send(ex)
	}
	status := 502
	if isTimeout(err) {
		status = 504
	}
	if errors.Is(err, upstream.ErrBusy) {
		status = 503
	} else {
		ex.Endpoint.Failed()
	}
	g.attemptFailed(ex, status, err)
	if ex.Aborted() {
		return g.clientGone(ex)
	}
	if g.mayRetry(ex, exchange.RetryConnect) {
		return true
	}
	return g.fail(ex, status, "connect")
}

// send writes the request; a body that is not in memory is pumped beside what
// follows.
func (g *Gateway) send(ex *exchange.Exchange) bool {
	if !ex.Waiting(exchange.OpSend) {
		appendUpstreamHead(ex)
		if !ex.BodyFile.Set() && (ex.BodyRead || ex.Down.BodyDone()) {
			// All of the request is in memory: it is sent by the op that then
			// waits for the answer.
			ex.Place.Unsent = true
			ex.Place.Step = stepHead
			if op, done := ex.Try(exchange.OpReceiveHead, 0); done {
				return g.headReceived(ex, op.Err)
			}
			return false
		}
		ex.Post(exchange.OpSend)
		return false
	}
	op := ex.Take(exchange.OpSend)
	if op == nil {
		return false
	}
	if op.Err != nil {
		return g.attemptBroke(ex, op.Err)
	}
	ex.BodyStreamed = true
	ex.Post(exchange.OpPump)
	ex.Post(exchange.OpReceiveHead)
	ex.Place.Step = stepHead
	return false
}

// receiveHead takes the response head, or decides about another attempt.
func (g *Gateway) receiveHead(ex *exchange.Exchange) bool {
	if op := ex.Take(exchange.OpPump); op != nil && op.Err != nil {
		// A client's fault ends the attempt; an endpoint that takes no more may
		// have answered all the same.
		var why *wire.Error
		if errors.As(op.Err, &why) {
			ex.PumpFault = why
			ex.Up.Cancel()
		}
	}
	op := ex.Take(exchange.OpReceiveHead)
	if op == nil {
		return false
	}
	return g.headReceived(ex, op.Err)
}

func (g *Gateway) headReceived(ex *exchange.Exchange, err error) bool {
	if err != nil {
		if ex.PumpFault != nil {
			g.attemptFailed(ex, 0, err)
			return g.bodyFailed(ex, ex.PumpFault)
		}
		return g.attemptBroke(ex, err)
	}
	a := ex.Record.Last()
	a.Header = ex.Since(ex.AttemptStart)
	a.Status = ex.UpRes.Status
	ex.Endpoint.Answered()
	if g.retryStatus(ex) {
		return true
	}
	if ex.UpRes.Status == 101 && !ex.Head.Upgrade {
		return g.attemptBroke(ex, errUnasked)
	}
	if ex.UpRes.Status >= 300 && ex.Outlet.Proxy.Intercept && g.intercepted(ex) {
		return true
	}
	g.fillResponse(ex)
	ex.Place.Source = exchange.FromUpstream
	ex.Place.Step = stepHeader
	return g.answerHead(ex)
}

// intercepted turns to the error page of an upstream's status, if there is one.
func (g *Gateway) intercepted(ex *exchange.Exchange) bool {
	if _, ok := ex.Route.ErrorPages[ex.UpRes.Status]; !ok || ex.Place.ErrorPage != 0 {
		return false
	}
	endAttempt(ex, nil)
	dropUpstream(ex, upstream.Abandoned)
	return g.fail(ex, ex.UpRes.Status, "intercepted")
}

var errUnasked = errors.New("endpoint switched protocols (101) though no upgrade was asked for")

// attemptBroke handles a connection that failed before a response head.
func (g *Gateway) attemptBroke(ex *exchange.Exchange, err error) bool {
	if ex.Aborted() {
		g.attemptFailed(ex, 0, err)
		return g.clientGone(ex)
	}
	unserved := errors.Is(err, upstream.ErrUnserved)
	unsent := unserved || errors.Is(err, upstream.ErrUnsent)
	stale := unsent || errors.Is(err, upstream.ErrStale)
	if stale && ex.Place.Replays < maxReplays && g.replayable(ex) && (unsent || idempotent(ex)) {
		// Not the endpoint's fault, and not an attempt the client paid for.
		g.attemptFailed(ex, 502, err)
		ex.Place.Replays++
		ex.Place.Again = true
		ex.Place.Fresh = !unserved || ex.Place.Replays > maxReplays/2
		ex.Place.Step = stepConnect
		return true
	}
	status, on := 502, exchange.RetryBroken
	if isTimeout(err) {
		status, on = 504, exchange.RetryTimeout
	}
	if !stale {
		ex.Endpoint.Failed()
	}
	g.attemptFailed(ex, status, err)
	if g.mayRetry(ex, on) {
		return true
	}
	return g.fail(ex, status, "upstream")
}

// maxReplays is how often a request is sent again because an endpoint has ended
// connections without looking at it. The later half goes alone.
const maxReplays = 8

// mayShare tells whether the request may stand behind others on a connection: it
// is whole, can be sent again, and asks for nothing of the connection.
func mayShare(ex *exchange.Exchange) bool {
	return idempotent(ex) && !ex.Head.Upgrade && !ex.Outlet.Proxy.Close && !ex.BodyFile.Set() &&
		(ex.BodyRead && ex.BodyLength() == 0 || !ex.BodyRead && ex.Down.BodyDone())
}

// attemptFailed notes how an attempt ended and closes its connection.
func (g *Gateway) attemptFailed(ex *exchange.Exchange, status int, err error) {
	ex.Record.Last().Status = status
	endAttempt(ex, err)
	g.state.attemptFailed(ex, err)
	dropUpstream(ex, upstream.Abandoned)
}

// mayRetry turns to another endpoint if the route allows it after such an
// outcome. Only what never reached an endpoint is repeated for every method
// (RFC 9110 §9.2.2).
func (g *Gateway) mayRetry(ex *exchange.Exchange, on exchange.RetryOn) bool {
	p := &ex.Outlet.Proxy
	if p.Retry&on == 0 || !ex.MayTry() || !g.replayable(ex) {
		return false
	}
	if on != exchange.RetryConnect && !idempotent(ex) && !p.RetryAny {
		return false
	}
	if p.RetryWithin > 0 && ex.Since(ex.FirstAttempt) >= p.RetryWithin {
		return false
	}
	ex.Place.Step = stepConnect
	return true
}

// retryStatus turns to another endpoint because of the status of an answer.
func (g *Gateway) retryStatus(ex *exchange.Exchange) bool {
	on := exchange.OfStatus(ex.UpRes.Status)
	if on == 0 || !g.mayRetry(ex, on) {
		return false
	}
	endAttempt(ex, nil)
	dropUpstream(ex, upstream.Abandoned)
	return true
}

// replayable tells whether the request can be sent again from memory.
func (g *Gateway) replayable(ex *exchange.Exchange) bool { return !ex.BodyStreamed }

func idempotent(ex *exchange.Exchange) bool {
	switch string(ex.Req.Method()) {
	case "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// clientGone ends an exchange whose client left before an answer: nginx's 499.
func (g *Gateway) clientGone(ex *exchange.Exchange) bool {
	ex.Record.Status = 499
	ex.Record.Abort = observe.AbortClientGone
	ex.Fatal = 499
	ex.Resp.SetStatusCode(499)
	ex.Down.Close()
	ex.Place.Step = stepEnd
	return true
}

// tunnel hands both connections over after a 101.
func (g *Gateway) tunnel(ex *exchange.Exchange) bool {
	if ex.Waiting(exchange.OpTunnel) {
		if ex.Take(exchange.OpTunnel) == nil {
			return false
		}
		ex.SetUp(nil)
		ex.Place.Step = stepEnd
		return true
	}
	ex.Post(exchange.OpTunnel)
	return false
}

// endUpstream takes note of the last attempt's end and drops its connection.
func endUpstream(ex *exchange.Exchange) {
	if a := ex.Record.Last(); a != nil && a.Response < 0 {
		endAttempt(ex, nil)
	}
	dropUpstream(ex, upstream.Finished)
}

// endAttempt notes and counts the end of the running attempt. err is nil if there
// was an answer.
func endAttempt(ex *exchange.Exchange, err error) {
	a := ex.Record.Last()
	a.Response = ex.Since(ex.AttemptStart)
	ex.Endpoint.Metrics().Observe(ex.Record.Shard, a, ex.Tally)
	endAttemptSpan(ex, err)
}

// dropUpstream gives the connection back: kept if everything about it is
// complete. While a pump or a receive still uses it, it is only ended; the last
// step, which waits for them, drops it again.
func dropUpstream(ex *exchange.Exchange, outcome upstream.Outcome) {
	up := ex.Up
	if up == nil {
		return
	}
	if ex.Waiting(exchange.OpPump) || ex.Waiting(exchange.OpReceiveBody) || ex.Waiting(exchange.OpReceiveHead) {
		if ex.Waiting(exchange.OpPump) && !ex.Down.BodyDone() {
			ex.Down.StopReading() // the answer is complete, the question is not
		}
		if !up.AllSent() || outcome == upstream.Abandoned {
			up.Cancel()
		}
		return
	}
	ex.SetUp(nil)
	up.Release(outcome)
}
