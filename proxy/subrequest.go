package proxy

import (
	"errors"
	"fmt"
	"strconv"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/script"
	"perigee/proxy/wire"
)

// maxLevel bounds how deep subrequests may nest, as nginx does.
const maxLevel = 51

// Subrequests makes the exchanges that a script's op asks for. The driver moves
// each by Advance as it moves others; when all have finished, op is complete.
// None: op is complete already, with the error that its script gets.
//
//	client --- exchange --- script: op ---.
//	              ^                       | Subrequests
//	              |   answer, in memory   v
//	              '------------------- child, child, ...
//
// A child matches among all routes, internal ones too, runs the filters of its
// route but those of the log stage, on its parent's VM, and is counted by no
// metric of requests. An error is a status without a body: error pages are for
// clients.
func (g *Gateway) Subrequests(op *luavm.Op) []*exchange.Exchange {
	ex := op.Owner.(*exchange.Exchange)
	capture, err := script.ParseCapture(op.Data, op.Data2)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	if ex.Level >= maxLevel {
		path := capture.Subrequests[0].Path
		g.state.Log.Print(observe.LevelError, &ex.Record, fmt.Sprintf("lua subrequests cycle while processing %q", path))
		script.RefuseCapture(op, "failed to issue subrequest: -1")
		return nil
	}
	children := make([]*exchange.Exchange, 0, len(capture.Subrequests))
	for i := range capture.Subrequests {
		child := exchange.Acquire(&exchange.Captured{Limit: g.captureLimit(ex)}, ex.Conn)
		children = append(children, child)
		if err := g.subrequest(ex, child, &capture, i); err != nil {
			g.state.Log.Print(observe.LevelError, &ex.Record, err.Error())
			script.RefuseCapture(op, err.raised())
			for _, child := range children {
				exchange.Release(child)
			}
			return nil
		}
		ex.RecordChild(child, op)
	}
	for _, child := range children {
		child.Snapshot.(*Snapshot).holds[child.Record.Shard%holdShards].n.Add(1)
	}
	ex.AddChildren(op, children)
	return children
}

func (g *Gateway) captureLimit(ex *exchange.Exchange) int64 {
	return int64(ex.Snapshot.(*Snapshot).File.Limits.SubrequestBytes)
}

// subrequestError says why a subrequest cannot be made.
type subrequestError struct {
	message string
	code    int // as nginx's functions return it
}

func (e *subrequestError) Error() string { return e.message }

// raised is what the script gets; the message is in the log.
func (e *subrequestError) raised() string {
	return "failed to adjust the subrequest: " + strconv.Itoa(e.code)
}

// subrequest makes child the i-th subrequest of ex.
func (g *Gateway) subrequest(ex, child *exchange.Exchange, c *script.Capture, i int) *subrequestError {
	s := &c.Subrequests[i]
	if !wire.IsToken([]byte(s.Method)) || s.Method[0] == '#' {
		return &subrequestError{"unsupported HTTP method: " + s.Method[min(1, len(s.Method)):], -1}
	}
	child.Parent, child.Level = ex, ex.Level+1
	child.SharesVars, child.Context = s.Share, s.Context
	giveBody(ex, child, s)
	if err := g.giveHead(ex, child, s, c.Fields); err != nil {
		return &subrequestError{err.Error(), -1}
	}
	child.Snapshot, child.Maps = ex.Snapshot, ex.Maps
	child.Host = append(child.Host[:0], ex.Host...)
	child.Path = append(child.Path[:0], s.Path...)
	child.SetQuery(s.Query)
	shard := child.Record.Shard
	child.Record = observe.Record{
		Start: ex.Record.Start, ID: ex.Record.ID,
		Connection: ex.Record.Connection, Serial: ex.Record.Serial,
		Client: ex.Record.Client, Peer: ex.Record.Peer, Listener: ex.Record.Listener,
		Scheme: ex.Record.Scheme, Protocol: ex.Record.Protocol, Host: ex.Record.Host,
		UserAgent: ex.Record.UserAgent, Referer: ex.Record.Referer,
		Method: ex.Record.Method, Path: ex.Record.Path, Query: ex.Record.Query,
		TraceID: ex.Record.TraceID, SpanID: ex.Record.SpanID,
		Consumer: ex.Record.Consumer, Subrequest: child.Path, Shard: shard,
	}
	child.Identity = ex.Identity
	child.Place.Step = stepBefore
	return giveVariables(ex, child, s)
}

// giveBody gives a subrequest its body: its own, or the parent's as far as that
// was read.
func giveBody(ex, child *exchange.Exchange, s *script.Subrequest) {
	child.BodyRead = true
	switch {
	case s.HasBody:
		child.Body = append(child.Body[:0], s.Body...)
	case ex.BodyRead && (s.Forward || s.Method == "PUT" || s.Method == "POST"):
		child.Body, child.BodyFile = append(child.Body[:0], ex.Body...), ex.BodyFile
	}
}

var errHead = errors.New("the head of a subrequest cannot be made")

// giveHead makes a subrequest's head: the request line is the client's, as in
// nginx, so that $request and $request_uri are; the fields are the parent's.
func (g *Gateway) giveHead(ex, child *exchange.Exchange, s *script.Subrequest, fields []script.Pair) error {
	head := child.Down.(*exchange.Captured).Head
	line := ex.Raw[ex.Head.Method.Start:]
	for i, c := range line {
		head = append(head, c)
		if c == '\n' && i > 0 {
			break
		}
	}
	head = appendFields(head, fields, s.Headers)
	head = appendField(head, "Host", string(ex.Head.Host.Of(ex.Raw)))
	if n := child.BodyLength(); s.HasBody || n > 0 {
		head = appendField(head, "Content-Length", strconv.FormatInt(n, 10))
	}
	head = append(head, '\r', '\n')
	child.Down.(*exchange.Captured).Head = head
	child.Raw = head
	limits := wire.Limits{HeaderBytes: len(head) + 1, LineBytes: len(head)}
	if n, err := wire.ScanRequest(&child.Head, head, 0, limits); err != nil || n != len(head) {
		return errors.Join(errHead, err)
	}
	child.Head.Upgrade, child.Head.ExpectContinue = false, false
	child.BeginRequest()
	child.Req.SetMethod(s.Method)
	return nil
}

// appendFields appends fields that may stand in a head; those that say whose it
// is and how its body ends are made anew.
func appendFields(head []byte, lists ...[]script.Pair) []byte {
	for i, list := range lists {
		for _, f := range list {
			switch id := wire.LookupField(f.Name); id {
			case wire.FieldHost, wire.FieldContentLength, wire.FieldTransferEncoding:
				continue
			}
			if i == 0 && replaced(lists[1], f.Name) || !wire.IsToken(f.Name) || !wire.IsValue(f.Value) {
				continue
			}
			head = append(append(head, f.Name...), ':', ' ')
			head = append(append(head, f.Value...), '\r', '\n')
		}
	}
	return head
}

func replaced(by []script.Pair, name []byte) bool {
	for _, f := range by {
		if exchange.SameName(f.Name, name) {
			return true
		}
	}
	return false
}

// giveVariables gives a subrequest variables of its own, or the parent's.
func giveVariables(ex, child *exchange.Exchange, s *script.Subrequest) *subrequestError {
	if s.Share || s.Copy {
		child.Vars = append(child.Vars[:0], ex.Vars...)
		child.Place.Named = true
	} else {
		child.Snapshot.(*Snapshot).evaluate(child)
	}
	for _, v := range s.Vars {
		switch {
		case string(v.Name) == "args":
			child.SetQuery(v.Value)
			continue
		case exchange.KnownVariable(string(v.Name)):
			return &subrequestError{fmt.Sprintf("variable %q not changeable", v.Name), 500}
		case !hasVariable(child, v.Name):
			return &subrequestError{fmt.Sprintf("variable %q cannot be assigned a value (maybe you forgot to define it first?) ", v.Name), -1}
		}
		child.SetVariable(v.Name, v.Value)
	}
	return nil
}

func hasVariable(ex *exchange.Exchange, name []byte) bool {
	for i := range ex.Vars {
		if ex.Vars[i].Name == string(name) {
			return true
		}
	}
	return false
}
