package proxy

import (
	"strconv"

	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// setTarget reads path, query and host of the request.
func setTarget(ex *exchange.Exchange) (ok bool) {
	raw := ex.Head.Path.Of(ex.Raw)
	for i, c := range raw {
		if c == '?' {
			raw, ex.Query = raw[:i:i], raw[i+1:]
			break
		}
	}
	ex.Record.Path, ex.Record.Query = raw, ex.Query
	if snap, ok := ex.Snapshot.(*Snapshot); ok { // explain has none
		ex.HideSecrets(snap.secrets)
	}
	ex.Host = exchange.AppendHost(ex.Host[:0], ex.Head.Host.Of(ex.Raw))
	if ex.Head.Form == wire.FormAsterisk {
		ex.Path = append(ex.Path[:0], '*')
		return true
	}
	var err error
	ex.Path, err = exchange.AppendPath(ex.Path[:0], raw)
	return err == nil
}

// appendUpstreamHead makes the request head that is sent to the endpoint.
func appendUpstreamHead(ex *exchange.Exchange) {
	p := &ex.Outlet.Proxy
	switch {
	case len(ex.Sent) > 0:
		ex.SendTarget(ex.Sent)
	case ex.Rewritten || ex.Head.Form != wire.FormOrigin:
		ex.Target = ex.AppendTarget(ex.Target[:0])
		ex.SendTarget(ex.Target)
	default:
		ex.SendTarget(nil)
	}
	setHost(ex, p)
	setFields(ex, p)
	head := ex.AppendToSend(ex.UpHead[:0], !p.PassForwarded)
	if !ex.RequestHas(wire.FieldHost) {
		head = appendField(head, "Host", ex.Endpoint.Address()) // HTTP/1.0 without one
	}
	if !p.PassForwarded {
		head = appendForwarded(head, ex)
	}
	if ex.Trace.Active() {
		head = appendTrace(head, ex)
	}
	if p.Via != "" {
		head = append(head, "Via: 1."...)
		head = append(head, '0'+ex.Head.Minor, ' ')
		head = append(head, p.Via...)
		head = append(head, '\r', '\n')
	}
	head = appendRequestFraming(head, ex)
	ex.UpHead = append(head, '\r', '\n')
}

// setFields sets the route's own fields.
func setFields(ex *exchange.Exchange, p *exchange.Proxy) {
	for i := range p.SetHeaders {
		ex.SetRequestTemplate(p.SetHeaders[i].Name, p.SetHeaders[i].Value)
	}
}

func setHost(ex *exchange.Exchange, p *exchange.Proxy) {
	switch p.Host {
	case exchange.HostEndpoint:
		ex.SetRequestHeader("Host", []byte(ex.Endpoint.Address()))
	case exchange.HostTarget:
		ex.SetRequestHeader("Host", ex.Authority)
	case exchange.HostTemplate:
		ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], p.HostValue)
		ex.SetRequestHeader("Host", ex.Scratch)
	}
}

// forwarding are the fields that tell an endpoint who the client is, with all that
// stands before their values.
var forwarding = [...]struct {
	id   wire.FieldID
	name string
}{
	{wire.FieldXForwardedFor, "X-Forwarded-For: "},
	{wire.FieldXForwardedProto, "X-Forwarded-Proto: "},
	{wire.FieldXForwardedHost, "X-Forwarded-Host: "},
}

// appendForwarded tells the endpoint who the client is. What the client says of
// itself counts only behind a trusted proxy; a filter's own fields stay.
func appendForwarded(head []byte, ex *exchange.Exchange) []byte {
	scheme := "http"
	if ex.Conn.TLS {
		scheme = "https"
	}
	own := [len(forwarding)][]byte{
		exchange.BytesOf(ex.Conn.RemoteAddr), exchange.BytesOf(scheme), ex.Head.Host.Of(ex.Raw),
	}
	for i := range forwarding {
		f, value := &forwarding[i], own[i]
		if ex.Added(f.name[:len(f.name)-len(": ")]) {
			continue
		}
		head = append(head, f.name...)
		if ex.Conn.Trusted {
			head, value = appendTrusted(head, ex, f.id, value)
		}
		head = append(head, value...)
		head = append(head, '\r', '\n')
	}
	return head
}

// appendTrusted gives the value that a trusted proxy's field has; own: there is none.
// Addresses are a list, which own goes on with.
func appendTrusted(head []byte, ex *exchange.Exchange, id wire.FieldID, own []byte) (_, value []byte) {
	if id != wire.FieldXForwardedFor {
		if f, ok := ex.Head.Find(id); ok {
			own = f.Value.Of(ex.Raw)
		}
		return head, own
	}
	for _, f := range ex.Head.Fields {
		if f.ID == id {
			head = append(head, f.Value.Of(ex.Raw)...)
			head = append(head, ", "...)
		}
	}
	return head, own
}

func appendField(head []byte, name, value string) []byte {
	head = append(head, name...)
	head = append(head, ':', ' ')
	head = append(head, value...)
	return append(head, '\r', '\n')
}

// appendRequestFraming says how the body of the request to the endpoint ends,
// and passes an upgrade on.
func appendRequestFraming(head []byte, ex *exchange.Exchange) []byte {
	size := int64(0)
	switch {
	case ex.BodyRead:
		size = ex.BodyLength()
	case !ex.Down.BodyDone():
		size = ex.Down.BodySize()
	}
	announce := size > 0 || ex.BodyRead && ex.Head.Body != wire.BodyNone || ex.Head.Has(wire.FieldContentLength)
	switch {
	case size < 0:
		head = append(head, "Transfer-Encoding: chunked\r\n"...)
	case announce:
		head = append(head, "Content-Length: "...)
		head = strconv.AppendInt(head, size, 10)
		head = append(head, '\r', '\n')
	}
	if ex.Outlet.Proxy.Close && !ex.Head.Upgrade {
		head = append(head, "Connection: close\r\n"...)
	}
	if f, ok := ex.Head.Find(wire.FieldUpgrade); ok && ex.Head.Upgrade {
		head = append(head, "Connection: Upgrade\r\nUpgrade: "...)
		head = append(head, f.Value.Of(ex.Raw)...)
		head = append(head, '\r', '\n')
	}
	return head
}

// notPassed are the fields of an endpoint's answer that stay here: those of its
// connection, and those that are the gateway's own.
const notPassed = wire.HopByHopFields | 1<<wire.FieldContentLength | 1<<wire.FieldDate

// fillResponse makes the response head from the endpoint's, without what belongs
// to the endpoint's connection.
func (g *Gateway) fillResponse(ex *exchange.Exchange) {
	ex.Resp.Reset()
	p := &ex.Outlet.Proxy
	ex.Place.Altered = false
	res := &ex.UpRes
	h := &ex.Resp
	h.Begin(ex.UpRaw, res.Status, res.Reason)
	stays := notPassed
	if res.Status == 101 {
		stays &^= 1 << wire.FieldUpgrade
	}
	listed := res.Has(wire.FieldConnection)
	for i := range res.Fields {
		f := &res.Fields[i]
		switch {
		case stays>>f.ID&1 != 0:
		case listed && f.ID == wire.FieldOther && responseLists(ex, f.Name.Of(ex.UpRaw)):
		case len(p.Hide) > 0 && hides(p.Hide, f.Name.Of(ex.UpRaw)):
			ex.Place.Altered = true
		default:
			h.Pass(f)
		}
	}
	ex.Place.Buffered = p.Buffering && !refusesBuffering(ex)
	if len(p.Redirects) > 0 {
		rewriteRedirect(ex, p.Redirects)
	}
	if res.Status == 101 {
		h.Add("Connection", []byte("Upgrade"))
	}
	if res.ContentLength >= 0 && res.Status >= 200 && res.Status != 204 {
		h.SetLength(res.ContentLength)
	}
}

// refusesBuffering tells whether the endpoint wants its answer passed on as it
// comes.
func refusesBuffering(ex *exchange.Exchange) bool {
	for i := range ex.UpRes.Fields {
		f := &ex.UpRes.Fields[i]
		if f.ID == wire.FieldOther && exchange.SameName(f.Name.Of(ex.UpRaw), accelBuffering) {
			return exchange.SameName(f.Value.Of(ex.UpRaw), []byte("no"))
		}
	}
	return false
}

var accelBuffering = []byte("x-accel-buffering")

func responseLists(ex *exchange.Exchange, name []byte) bool {
	for option, next := ex.UpRes.NextOption(ex.UpRaw, 0); option != nil; option, next = ex.UpRes.NextOption(ex.UpRaw, next) {
		if exchange.SameName(option, name) {
			return true
		}
	}
	return false
}
