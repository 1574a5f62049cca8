package script

import (
	"errors"
	"strconv"

	"perigee/luavm"
	"perigee/proxy/exchange"
)

// Fill implements luavm.Filler. ex.Scratch may be lent to the script.
func (f *Filter) Fill(s *luavm.Slot, p luavm.Parts) error {
	ex := s.Owner.(*exchange.Exchange)
	var err error
	if p&luavm.PartRequest != 0 {
		err = fillVariables(ex)
	}
	if p&luavm.PartTries != 0 {
		err = errors.Join(err, fillTries(ex))
	}
	if err != nil {
		f.report.Refused(ex, err)
	}
	return err
}

// fillVariables copies the variables that every request has.
func fillVariables(ex *exchange.Exchange) error {
	s, conn, rec := ex.Lua, ex.Conn, &ex.Record
	client := exchange.BytesOf(conn.RemoteAddr)
	if rec.Client != conn.Peer {
		var room [64]byte
		client = rec.Client.Addr().AppendTo(room[:0])
	}
	return s.SetVars([]luavm.VarValue{
		{Var: luavm.VarURI, Value: ex.Path},
		{Var: luavm.VarArgs, Value: ex.Query},
		{Var: luavm.VarRequestURI, Value: ex.Head.Target.Of(ex.Raw)},
		{Var: luavm.VarMethod, Value: ex.Req.Method()},
		{Var: luavm.VarHost, Value: ex.Host},
		{Var: luavm.VarScheme, Value: exchange.BytesOf(rec.Scheme)},
		{Var: luavm.VarProtocol, Value: exchange.BytesOf(rec.Protocol)},
		{Var: luavm.VarRemoteAddr, Value: client},
		{Var: luavm.VarRemotePort, Value: exchange.BytesOf(conn.RemotePort)},
		{Var: luavm.VarServerAddr, Value: exchange.BytesOf(conn.LocalAddr)},
		{Var: luavm.VarServerPort, Value: exchange.BytesOf(conn.LocalPort)},
		{Var: luavm.VarServerName, Value: ex.Host},
		{Var: luavm.VarRequestID, Value: rec.ID[:]},
		{Var: luavm.VarRoute, Value: exchange.BytesOf(rec.Route)},
		{Var: luavm.VarDefaultType, Value: exchange.BytesOf(ex.Route.DefaultType)},
		{Var: luavm.VarDocumentRoot, Value: exchange.BytesOf(ex.Route.DocumentRoot)},
	})
}

// fillTries copies the variables that tell of attempts at the upstream.
func fillTries(ex *exchange.Exchange) error {
	var (
		room [256]byte
		err  error
	)
	for _, v := range [...]struct {
		name string
		at   luavm.Variable
	}{
		{"upstream_addr", luavm.VarUpstreamAddr},
		{"upstream_status", luavm.VarUpstreamStatus},
		{"upstream_response_time", luavm.VarUpstreamResponseTime},
	} {
		err = errors.Join(err, ex.Lua.SetVar(v.at, ex.AppendTries(room[:0], v.name)))
	}
	return err
}

// fillRequest copies what else scripts read of a request into the slot, once, when
// the exchange takes its seat, and leaves the variables to Fill.
func (f *Filter) fillRequest(ex *exchange.Exchange) (err error) {
	s := ex.Lua
	s.Defer(luavm.PartRequest, f)
	if ex.Trace.Active() {
		ex.Scratch = ex.Trace.AppendParent(ex.Scratch[:0], ex.Trace.SpanID)
		err = s.SetVar(luavm.VarTraceparent, ex.Scratch)
	}
	if former := ex.TakeFormer(); former != nil || ex.Identity != nil || ex.Conn.TLS || len(ex.Captures) > 0 || len(ex.Vars) > 0 {
		fillExtras(ex, former, &err)
	}
	if ex.Conn.TLS {
		s.SetFlags(luavm.FlagTLS)
	}
	fillNumbers(ex)
	if ex.HeadEdited {
		ex.HeadText = ex.AppendHead(ex.HeadText[:0])
	}
	if ex.Parent == nil && !ex.HeadEdited {
		return err
	}
	first := ex
	for first.Parent != nil {
		first = first.Parent
		s.SetFlags(luavm.FlagSubrequest | luavm.FlagInternal)
	}
	return errors.Join(err, s.SetVar(luavm.VarRawHead, first.Raw[first.Head.Method.Start:]))
}

// fillExtras copies the variables that scripts find by name alone. Those that
// the configuration or a script has set come last: they hide others.
func fillExtras(ex *exchange.Exchange, former *exchange.Identity, err *error) {
	extra := func(name string, value []byte) {
		if e := ex.Lua.SetExtra(name, value); e != nil {
			*err = e
		}
	}
	for _, v := range former.Vars() {
		extra(v.Name, nil)
	}
	for _, v := range ex.Identity.Vars() {
		extra(v.Name, exchange.BytesOf(v.Value))
	}
	for i, group := range ex.Captures {
		extra(captureNames[min(i, 8)], group)
	}
	if ex.Conn.TLS {
		for _, name := range exchange.TLSVariables {
			extra(name, []byte(ex.Conn.TLSVariable(name)))
		}
	}
	for i := range ex.Vars {
		extra(ex.Vars[i].Name, []byte(ex.Vars[i].Value))
	}
}

func fillNumbers(ex *exchange.Exchange) {
	ex.Lua.SetNumbers(&luavm.Numbers{
		StartTime: float64(ex.Record.Start.UnixMilli()) / 1e3,
		StartNS:   ex.StartNS,
		BytesSent: ex.Record.BytesOut, BodyBytesSent: ex.Record.ResponseBodyBytes,
		RequestLength: int64(len(ex.Raw)) + ex.Record.RequestBodyBytes,
		Connection:    ex.Conn.ID, ConnectionRequests: ex.Conn.Requests,
		HTTPMinor: int32(ex.Head.Minor),
	})
}

var captureNames = [9]string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}

// fillStage brings the slot up to date before a run.
func (f *Filter) fillStage(ex *exchange.Exchange, stage exchange.Stage) {
	s := ex.Lua
	// Variables can only fail for lack of room, which an earlier fill has reported;
	// nil in Lua then.
	if len(ex.Maps) > 0 {
		ex.Glance(func(name string, value []byte) { _ = s.SetExtra(name, value) })
	}
	if ex.BodyFile.Set() && s.Var(luavm.VarBodyFile) == nil {
		_ = s.SetVarString(luavm.VarBodyFile, ex.BodyFile.Path)
		if ex.Owns(ex.BodyFile.Path) { // not of a parent
			s.SetFlags(luavm.FlagBodyTemp)
		}
	}
	s.SetBodyBuffer(ex.BodyBuffer)
	s.ClearFlags(luavm.FlagUnbuffered | luavm.FlagUnderscores | luavm.FlagWaits | luavm.FlagCheckAbort | luavm.FlagValue)
	s.SetFlags(f.flags)
	if ex.Place.HeadSent {
		s.SetFlags(luavm.FlagHeadersSent)
	}
	if ex.BodyRead {
		s.SetFlags(luavm.FlagBodyRead)
	}
	if ex.Restarts > 0 || ex.Place.ErrorPage != 0 {
		s.SetFlags(luavm.FlagInternal)
	}
	switch stage {
	case exchange.Content:
		s.SetFlags(luavm.FlagLocal)
		return
	case exchange.Balancer:
		if !ex.Running(stage) {
			beginAttempt(ex)
		}
		return
	case exchange.Header, exchange.Body, exchange.Log:
	default:
		return
	}
	s.SetStatus(ex.Resp.StatusCode())
	if stage == exchange.Body {
		if !ex.Running(stage) {
			s.BeginChunk(ex.Last)
		}
		return
	}
	if ex.Record.Tried > 0 {
		s.Defer(luavm.PartTries, f)
		// A body script reads what they were for the head.
		if (f.scripts[stage].Reads()&luavm.PartTries != 0 || f.Has(exchange.Body)) && fillTries(ex) == nil {
			s.Filled(luavm.PartTries)
		}
	}
	if stage == exchange.Log {
		fillNumbers(ex)
	}
}

// input lends the run what it may read of the exchange.
func (f *Filter) input(ex *exchange.Exchange, stage exchange.Stage, in *luavm.Input) {
	in.Head = ex.Raw[ex.Head.Method.Start:]
	if ex.HeadEdited {
		in.Head = ex.HeadText
	}
	if ex.BodyRead {
		in.Body = ex.Body
	}
	switch stage {
	case exchange.Access:
		if f.flags&luavm.FlagValue != 0 && !ex.Running(stage) {
			in.Data = ex.Value.Args
		}
	case exchange.Header:
		in.Resp = ex.RespText
		switch {
		case !ex.Running(stage):
			in.Resp = f.responseText(ex)
		case f.readsUpstream(ex):
			in.Resp = ex.UpRaw
		}
	case exchange.Body:
		in.Resp, in.Data = ex.RespText, ex.Chunk
	case exchange.Log:
		in.Resp = ex.RespText
	}
}

// readsUpstream tells whether the upstream's own copy of the head will do.
func (f *Filter) readsUpstream(ex *exchange.Exchange) bool {
	return ex.Place.Source == exchange.FromUpstream && !ex.Place.Altered && !f.Has(exchange.Body) && !f.Has(exchange.Log)
}

// responseText is the answer's head before scripts edited it: their edits are
// replayed over it. It is kept where later stages will read it too, because the
// upstream's own copy does not last that long.
func (f *Filter) responseText(ex *exchange.Exchange) []byte {
	switch {
	case f.readsUpstream(ex):
		return ex.UpRaw
	case ex.Place.Source == exchange.FromUpstream && !ex.Place.Altered:
		ex.RespText = append(ex.RespText[:0], ex.UpRaw...)
	case !ex.Scripted:
		ex.RespText = append(ex.Resp.Append(ex.RespText[:0], ex.Now()), "\r\n"...)
	default:
		// Everything but the type is in the scripts' own edits.
		ex.RespText = append(ex.RespText[:0], "HTTP/1.1 200 OK\r\nContent-Type: "...)
		ex.RespText = append(ex.RespText, ex.Resp.ContentType()...)
		if length := ex.Resp.Length(); length >= 0 {
			ex.RespText = append(ex.RespText, "\r\nContent-Length: "...)
			ex.RespText = strconv.AppendInt(ex.RespText, length, 10)
		}
		ex.RespText = append(ex.RespText, "\r\n\r\n"...)
	}
	return ex.RespText
}
