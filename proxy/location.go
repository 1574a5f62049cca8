package proxy

import (
	"perigee/proxy/exchange"
)

// noteLocation looks, before scripts' fields are laid over the answer, whether
// the gateway itself sends the client to a path; what scripts and upstreams say
// stays as it is.
func noteLocation(ex *exchange.Exchange) {
	p, status := &ex.Place, ex.Resp.StatusCode()
	if p.Answer > 0 || ex.Running(exchange.Header) {
		return
	}
	p.OwnPath = false
	if status != 201 && (status < 300 || status >= 400) || ex.Parent != nil || p.Source == exchange.FromUpstream && !p.Redirected {
		return
	}
	snap, _ := ex.Snapshot.(*Snapshot)
	if snap == nil || !snap.File.AbsoluteRedirect {
		return
	}
	location := ex.Resp.Peek("location")
	p.OwnPath = len(location) > 0 && location[0] == '/'
}

// completeLocation makes a whole address of the path that is left when the
// header filters have run.
func completeLocation(ex *exchange.Exchange) {
	location := ex.Resp.Peek("location")
	if len(location) == 0 || location[0] != '/' || len(ex.Host) == 0 {
		return
	}
	scheme, standard := "http", "80"
	if ex.Conn.TLS {
		scheme, standard = "https", "443"
	}
	whole := append(ex.Scratch[:0], scheme...)
	whole = append(append(whole, "://"...), ex.Host...)
	if port := ex.Conn.LocalPort; port != standard && port != "" {
		whole = append(append(whole, ':'), port...)
	}
	ex.Scratch = append(whole, location...)
	ex.Resp.Set("Location", ex.Scratch)
}
