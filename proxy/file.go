package proxy

import (
	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/wire"
)

// judge answers the request's conditions (RFC 9110 §13) before any header
// filter looks at the answer, as nginx does. False: another answer is made.
func (g *Gateway) judge(ex *exchange.Exchange) bool {
	p := &ex.Place
	if p.ErrorPage != 0 || p.Answer > 0 || ex.Running(exchange.Header) {
		return true
	}
	if ex.Lua != nil && ex.Lua.Flags()&luavm.FlagUnconditional != 0 {
		return true
	}
	switch ex.Precondition() {
	case 304:
		ex.Resp.SetStatusCode(304)
		for _, name := range [...]string{"Content-Type", "Content-Length", "Content-Encoding", "Accept-Ranges"} {
			ex.Resp.Del(name)
		}
	case 412:
		g.fail(ex, 412, "precondition")
		return false
	}
	return true
}

// fileChunk reads the next piece of the file; false: the exchange waits for it,
// or has failed.
func (g *Gateway) fileChunk(ex *exchange.Exchange) bool {
	if ex.Place.BodyFrame == wire.BodyNone {
		ex.Chunk, ex.Last = nil, true
		return true
	}
	op := ex.Take(exchange.OpReadFile)
	switch {
	case op == nil:
		if !ex.Waiting(exchange.OpReadFile) {
			ex.Post(exchange.OpReadFile)
		}
		return false
	case op.Err != nil:
		g.state.fileFailed(ex, op.Err)
		if !ex.Place.HeadSent {
			g.fail(ex, 500, "file")
			return false
		}
		g.cut(ex, observe.AbortInternal)
		return false
	}
	ex.Last = ex.File.Length() == 0
	return true
}
