package proxy

import (
	"strconv"
	"sync/atomic"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/route"
	"perigee/proxy/wire"
)

// Gateway moves exchanges. It knows no driver: a driver calls Begin once and
// Advance until it says true, performing the ops that the exchange waits for in
// between.
type Gateway struct {
	current  atomic.Pointer[Snapshot]
	state    *State
	draining atomic.Bool
}

// The steps of an exchange, in their usual order. Several are entered more than
// once: match after a rewrite, the answer's steps once per piece of body.
const (
	stepBefore uint8 = iota
	stepEarly        // steps that come before the route is known
	stepMatch
	stepServerRewrite
	stepRewrite
	stepAccess
	stepContent
	stepBody    // read a short request body before it is sent on
	stepConnect // choose an endpoint, get a connection
	stepSend    // send head and body
	stepHead    // receive the response head
	stepHeader  // header filters over the answer's head
	stepChunk   // get the next piece of body
	stepFilter  // body filters over that piece
	stepWrite   // send it
	stepWritten // it has been sent
	stepTunnel  // after a 101
	stepEnd     // take back ops that are still out
	stepLog     // log filters
	stepDone
)

// Begin takes the current snapshot, so that a reload never splits a request, and
// reads the request's target.
func (g *Gateway) Begin(ex *exchange.Exchange) {
	snap := g.enter(ex)
	ex.Snapshot, ex.Maps = snap, snap.maps
	g.state.Metrics.InFlight.Add(ex.Record.Shard, 1)
	if ex.Worker == 0 {
		g.state.Metrics.GoroutineExchanges.Add(ex.Record.Shard, 1)
	}
	g.beginRecord(ex)
	if snap.tracer != nil {
		snap.beginTrace(ex)
	}
	ex.BeginRequest()
	switch {
	case ex.Refusal != nil:
		g.refuse(ex)
	case snap.inflightLimit > 0 && g.state.Metrics.InFlight.Value() > snap.inflightLimit:
		g.fail(ex, 503, "inflight")
	case !setTarget(ex):
		ex.Down.Close()
		g.fail(ex, 400, "uri")
	default:
		ex.Place.Step = stepBefore
	}
}

// Advance runs steps until the exchange is finished (true) or waits (false). It
// is the whole life of a request; a step answers whether another one can follow
// at once.
func (g *Gateway) Advance(ex *exchange.Exchange) (finished bool) {
	for g.step(ex) {
	}
	return ex.Place.Step == stepDone
}

func (g *Gateway) step(ex *exchange.Exchange) (more bool) {
	switch ex.Place.Step {
	case stepBefore:
		return g.before(ex)
	case stepEarly:
		return g.early(ex)
	case stepMatch:
		return g.match(ex)
	case stepServerRewrite, stepRewrite, stepAccess, stepContent:
		return g.request(ex)
	case stepBody:
		return g.readBody(ex)
	case stepConnect:
		return g.connect(ex)
	case stepSend:
		return g.send(ex)
	case stepHead:
		return g.receiveHead(ex)
	case stepHeader:
		return g.answerHead(ex)
	case stepChunk:
		return g.nextChunk(ex)
	case stepFilter:
		return g.filterChunk(ex)
	case stepWrite:
		return g.write(ex)
	case stepWritten:
		return g.written(ex)
	case stepTunnel:
		return g.tunnel(ex)
	case stepEnd:
		return g.end(ex)
	case stepLog:
		return g.log(ex)
	}
	return false
}

// before finds what is done before the route is looked for.
func (g *Gateway) before(ex *exchange.Exchange) bool {
	snap := ex.Snapshot.(*Snapshot)
	ex.Place.Step = stepMatch
	r := snap.matchBefore(ex)
	if r == nil {
		return true
	}
	snap.evaluate(ex)
	g.enterRoute(ex, r, stepEarly)
	return true
}

func (g *Gateway) enterRoute(ex *exchange.Exchange, r *exchange.Route, step uint8) {
	ex.Route, ex.Outlet, ex.Place.Relocated = r, nil, false
	ex.BodyLimit, ex.BodyBuffer = r.BodyLimit, r.BodyBuffer
	ex.Record.Route = r.Name
	ex.Stale = true
	ex.Place.Filter = 0
	ex.Place.Step = step
}

// match finds the route and lays out its filters.
func (g *Gateway) match(ex *exchange.Exchange) bool {
	snap := ex.Snapshot.(*Snapshot)
	if ex.Lookup.Asked != 0 {
		ex.ReleaseFiles() // of the route before
	}
	jump := ex.Jump
	r, found := snap.match(ex)
	if r == nil {
		if jump != "" {
			return g.fail(ex, 500, "there is no route "+strconv.Quote(jump))
		}
		if found == route.WrongMethod {
			return g.failMethod(ex)
		}
		return g.fail(ex, 404, "no_route")
	}
	snap.evaluate(ex)
	g.enterRoute(ex, r, stepServerRewrite)
	if ex.Place.Chosen {
		ex.Place.Chosen = false
		ex.Place.Step = stepRewrite
	}
	return g.request(ex)
}

// maxRestarts bounds how often one request is matched again; nginx has the same
// bound and answers 500 beyond it.
const maxRestarts = 10

// early runs the filters of the route that comes before the request's own.
func (g *Gateway) early(ex *exchange.Exchange) (more bool) {
	ex.Place.Adjoins = false
	way := g.filters(ex, exchange.Rewrite)
	if way == passed {
		ex.Place.Step = stepMatch
	}
	return way != waits
}

// stageOf are the stages of the steps that run a route's filters.
var stageOf = [stepBody]exchange.Stage{
	stepServerRewrite: exchange.ServerRewrite, stepRewrite: exchange.Rewrite,
	stepAccess: exchange.Access, stepContent: exchange.Content,
}

// request runs the filters of the request's stages, from where it stands, and goes
// on to the endpoint.
func (g *Gateway) request(ex *exchange.Exchange) (more bool) {
	for step := ex.Place.Step; step < stepBody; step++ {
		stage := stageOf[step]
		if len(ex.Route.Steps[stage]) == 0 || stage == exchange.Access && ex.Parent != nil {
			continue // who may ask was asked of the client's own request
		}
		ex.Place.Step = step
		ex.Place.Adjoins = step == stepRewrite && ex.Route.Adjoins && ex.Parent == nil
		if way := g.filters(ex, stage); way != passed {
			return way == turned
		}
	}
	ex.Place.Step = stepContent
	if !g.findOutlet(ex) {
		return true
	}
	ex.Place.Step = stepBody
	return g.readBody(ex)
}

// way is how an exchange leaves the filters of a stage.
type way uint8

const (
	passed way = iota // all have run
	turned            // the next step is another one
	waits
)

// filters runs the filters of a stage, from the one that is next on.
func (g *Gateway) filters(ex *exchange.Exchange, stage exchange.Stage) way {
	steps := ex.Route.Steps[stage]
	for ex.Place.Filter < len(steps) {
		switch steps[ex.Place.Filter].Step(ex, stage) {
		case exchange.Continue:
			ex.Place.Filter++
		case exchange.Wait:
			return waits
		case exchange.Respond:
			g.respond(ex)
			return turned
		case exchange.Emit:
			ex.Place.Back = ex.Place.Step
			ex.Place.Source = exchange.FromFilter
			ex.Place.Step = stepChunk
			if !ex.Place.HeadDone {
				ex.Place.Step = stepHeader
			}
			return turned
		case exchange.Fail:
			g.fail(ex, ex.FailStatus, "filter")
			return turned
		case exchange.Hangup:
			g.hangup(ex)
			return turned
		case exchange.Restart:
			if ex.Restarts++; ex.Restarts <= maxRestarts {
				g.restart(ex, stage)
			} else {
				g.fail(ex, 500, "rewrite or internal redirection cycle")
			}
			return turned
		}
	}
	ex.Place.Filter = 0
	if ex.Place.Moved {
		ex.Place.Moved, ex.Place.Chosen = false, true
		ex.Place.Step = stepMatch
		return turned
	}
	return passed
}

// restart has the request matched again: a named route or a path that a rewrite
// script set keeps the server_rewrite stage behind it; an internal redirect
// begins anew.
func (g *Gateway) restart(ex *exchange.Exchange, stage exchange.Stage) {
	p := &ex.Place
	p.Moved = false
	p.Chosen = ex.Jump != "" || stage <= exchange.Rewrite && p.Step != stepEarly && !p.Anew
	p.Step = stepMatch
	if p.Anew {
		p.Anew = false
		p.Step = stepBefore
	}
}

// respond turns to the answer that a filter has made.
func (g *Gateway) respond(ex *exchange.Exchange) bool {
	if ex.Place.Finished || ex.Place.Lost {
		ex.Place.Step = stepEnd
		return true
	}
	if ex.Bare && !ex.Place.HeadDone {
		ex.Bare = false
		status := ex.Resp.StatusCode()
		if g.errorPage(ex, status) {
			return true
		}
		localError(ex, status)
	}
	ex.Place.Source = exchange.FromOut
	if ex.File.IsOpen() && !ex.Scripted {
		ex.Place.Source = exchange.FromFile
	}
	ex.Place.Step = stepChunk
	if !ex.Place.HeadDone {
		ex.Place.Step = stepHeader
	}
	return true
}

// end waits for ops that others still perform: nothing may touch the exchange
// once it is released.
func (g *Gateway) end(ex *exchange.Exchange) bool {
	ex.Discard()
	ex.CancelScripts()
	endUpstream(ex)
	if ex.Pending() {
		return false
	}
	ex.ReleaseFiles()
	ex.Record.Duration = ex.Since(ex.StartNS)
	ex.Record.BytesIn, ex.Record.BytesOut = ex.Down.Received(), ex.Down.Written()
	ex.Place.Answer = 0
	ex.Place.Step = stepLog
	return true
}

// log runs the log filters and lets go of everything.
func (g *Gateway) log(ex *exchange.Exchange) bool {
	if ex.Route != nil && ex.Parent == nil {
		steps := ex.Route.Steps[exchange.Log]
		for ex.Place.Answer < len(steps) {
			if steps[ex.Place.Answer].Step(ex, exchange.Log) == exchange.Wait {
				return false
			}
			ex.Place.Answer++
		}
	}
	snap := ex.Snapshot.(*Snapshot)
	ex.SettleLimits()
	if ex.Parent == nil {
		snap.observe(ex)
		g.state.Metrics.InFlight.Add(ex.Record.Shard, -1)
	}
	g.endSpans(ex)
	ex.LeaveSeat()
	ex.Place.Step = stepDone
	if !ex.Place.Away {
		snap.Leave(ex.Record.Shard)
	}
	return false
}

// HasPage tells whether a refusal has an error page. Which route it would have
// been is not known: those of the whole configuration count.
func (g *Gateway) HasPage(why *wire.Error) bool {
	snap := g.hold(0)
	defer snap.Leave(0)
	_, found := snap.errorPages[why.Status]
	return found
}

// refuse answers a request that was refused with its error page.
func (g *Gateway) refuse(ex *exchange.Exchange) {
	why := ex.Refusal
	rec := &ex.Record
	rec.Method, rec.Abort = nil, observe.AbortClientProtocol
	ex.Path = append(ex.Path[:0], '/')
	g.state.Metrics.Refused.With(why.Reason).Inc()
	g.state.report(observe.LevelInfo, ex, "client sent a request that was refused: "+why.Text)
	ex.Down.Close()
	g.fail(ex, why.Status, why.Reason)
}

// Refused counts a request that never became an exchange.
func (g *Gateway) Refused(conn *exchange.Conn, why *wire.Error) {
	g.state.Metrics.Refused.With(why.Reason).Inc()
	g.state.refused(conn, why)
}
