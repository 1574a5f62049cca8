package script

import (
	"errors"
	"unsafe"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// text is b as a string for the length of a call; the callee must copy it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// applyEdits carries out what the script wrote down since its last run. restart:
// it asked for the request to be matched again.
func applyEdits(ex *exchange.Exchange, stage exchange.Stage) (restart bool) {
	var e luavm.Edit
	for ex.Lua.NextEdit(&e) {
		switch e.Kind {
		case luavm.EditRequestSet, luavm.EditRequestAdd, luavm.EditRequestClear:
			editRequest(ex, &e)
		case luavm.EditResponseSet, luavm.EditResponseAdd, luavm.EditResponseClear:
			editResponse(ex, stage, &e)
		case luavm.EditMethod:
			ex.Req.SetMethodBytes(e.Value)
		case luavm.EditURI:
			ex.Path = append(ex.Path[:0], e.Value...)
			ex.Rewritten, ex.Place.Relocated = true, true
			ex.Place.Moved = stage == exchange.ServerRewrite
			restart = restart || e.Aux == 1
		case luavm.EditExec:
			exec(ex, &e)
			restart = true
		case luavm.EditArgs:
			ex.SetQuery(e.Value)
		case luavm.EditBody:
			ex.EditBody(e.Aux, e.Name, e.Value)
		case luavm.EditReason:
			if !ex.Place.HeadSent {
				ex.Resp.SetReason(e.Value)
			}
		case luavm.EditVariable:
			ex.SetVariable(e.Name, e.Value)
		case luavm.EditValue:
			ex.Value.Set(e.Value, e.Aux == 1)
		case luavm.EditPeer, luavm.EditPeerTries, luavm.EditPeerTimeouts, luavm.EditPeerKeepalive:
			editPeer(ex, &e)
		}
	}
	if status := ex.Lua.Status(); status != 0 && ex.Lua.Flags()&luavm.FlagStatusSet != 0 && !ex.Place.HeadSent {
		ex.Resp.SetStatusCode(status)
		ex.Place.Status = 0 // an error page says itself what the client is told
	}
	return restart
}

// exec turns the request to another path, with a query of its own, or to a named
// route as it is.
func exec(ex *exchange.Exchange, e *luavm.Edit) {
	if e.Name[0] == '@' {
		ex.Jump = string(e.Name)
		return
	}
	ex.Path = append(ex.Path[:0], e.Name...)
	ex.SetQuery(e.Value)
	ex.Place.Anew = true
}

func editRequest(ex *exchange.Exchange, e *luavm.Edit) {
	id := wire.LookupField(e.Name)
	if id.HopByHop() || id == wire.FieldContentLength {
		return // they belong to the connection; the body's own length is sent
	}
	switch e.Kind {
	case luavm.EditRequestSet:
		ex.SetRequestHeader(text(e.Name), e.Value)
	case luavm.EditRequestAdd:
		ex.AddRequestHeader(text(e.Name), e.Value)
	default:
		ex.DelRequestHeader(text(e.Name))
	}
}

// editResponse edits the head of the answer: before there is one, in the fields
// that are laid over it.
func editResponse(ex *exchange.Exchange, stage exchange.Stage, e *luavm.Edit) {
	if wire.LookupField(e.Name).HopByHop() || ex.Place.HeadSent {
		return
	}
	if wire.LookupField(e.Name) == wire.FieldContentType {
		ex.Typeless = e.Kind == luavm.EditResponseClear
	}
	h := &ex.Resp
	if stage < exchange.Header {
		h = ex.Early()
	}
	switch e.Kind {
	case luavm.EditResponseSet:
		h.Set(text(e.Name), e.Value)
	case luavm.EditResponseAdd:
		h.Add(text(e.Name), e.Value)
	default:
		h.Del(text(e.Name))
	}
}

// drop forgets what a failed run wrote down.
func drop(ex *exchange.Exchange) {
	var e luavm.Edit
	for ex.Lua.NextEdit(&e) {
		if e.Kind == luavm.EditBody && (e.Aux == luavm.BodyTemp || e.Aux == luavm.BodyBegun) {
			ex.OwnFile(string(e.Value))
		}
	}
	ex.Lua.ClearOutput()
}

// takeOutput moves what was printed, which is something but in the body stage, to
// the exchange; there it is the chunk that goes on.
func takeOutput(ex *exchange.Exchange, stage exchange.Stage) {
	if stage == exchange.Body {
		ex.Chunk, ex.Last = ex.Lua.EndChunk(ex.Chunk)
		return
	}
	ex.Out = append(ex.Out, ex.Lua.Output()...)
	ex.Lua.ClearOutput()
	ex.Scripted = true
}

// began tells whether the script has begun an answer.
func began(ex *exchange.Exchange) bool {
	return ex.Place.HeadDone || len(ex.Out) > 0 || ex.Lua.Flags()&luavm.FlagCommitted != 0
}

// hasRaw tells whether the script speaks on the connection itself: what it sent
// is all that the client gets.
func hasRaw(ex *exchange.Exchange) bool { return ex.Lua.Flags()&luavm.FlagRaw != 0 }

// respond ends the request stages with the script's own answer.
func respond(ex *exchange.Exchange) exchange.Verdict {
	ex.Scripted = true
	return exchange.Respond
}

// Arguments of ngx.exit that are no status.
const ok, failure, declined = 0, -1, -5

// hangup ends the exchange without an answer, or in the middle of one. status is
// for the log.
func hangup(ex *exchange.Exchange, status int) exchange.Verdict {
	if !ex.Place.HeadSent {
		ex.Resp.SetStatusCode(status)
	}
	return exchange.Hangup
}

// exitHeader carries out ngx.exit in header_filter: another answer takes the
// place of the one whose head was filtered.
func exitHeader(ex *exchange.Exchange, out *luavm.Outcome) exchange.Verdict {
	status := int(out.Status)
	switch {
	case out.Kind != luavm.Exit || status == ok || status == ex.Resp.StatusCode():
		return exchange.Continue
	case status < 200:
		return hangup(ex, 500)
	}
	return fail(ex, status)
}

// exit carries out ngx.exit.
func exit(ex *exchange.Exchange, stage exchange.Stage, status int) exchange.Verdict {
	switch {
	case status == failure && ex.Parent != nil && !ex.Place.HeadSent:
		return fail(ex, 500) // a subrequest's end, not the client's
	case status == failure || status == declined && stage == exchange.Content:
		return hangup(ex, 500)
	case status == 408 || status == 444 || status == 499:
		return hangup(ex, status)
	case began(ex):
		return respond(ex)
	case (status == ok || status == declined) && stage != exchange.Content:
		return exchange.Continue
	case status < 200:
		return respond(ex)
	}
	ex.Resp.SetStatusCode(status)
	ex.Scripted = status < 300
	ex.Bare, ex.Exited = status >= 300, status >= 300
	return exchange.Respond
}

// fail answers with a status of the gateway's own.
func fail(ex *exchange.Exchange, status int) exchange.Verdict {
	ex.FailStatus = status
	return exchange.Fail
}

func bodyStatus(err error) int {
	var why *wire.Error
	if errors.As(err, &why) {
		return why.Status
	}
	return 400
}
