package exchange

import "perigee/proxy/wire"

// claimable are fields that may be no more than the client's word.
const claimable = wire.ForwardingFields | wire.TraceFields

// claim tells whether such a field is: perigee writes the field anew, or anybody
// could have written it.
func (ex *Exchange) claim(id wire.FieldID) bool {
	switch id {
	case wire.FieldTraceparent, wire.FieldTracestate, wire.FieldBaggage:
		return ex.Trace.Active()
	case wire.FieldXForwardedFor, wire.FieldXForwardedProto, wire.FieldXForwardedHost:
		return true
	}
	return !ex.Conn.Trusted
}

// dropClaims takes the client's own fields among drop, a set of IDs, out of Req.
// What filters have added in the same spelling stands behind the client's, and
// stays.
func (ex *Exchange) dropClaims(drop uint64) {
	for i := range ex.Head.Fields {
		f := &ex.Head.Fields[i]
		if ex.claims&drop>>f.ID&1 == 0 {
			continue
		}
		spelt := f.Name.Of(ex.Raw)
		came, first := ex.spelt(spelt)
		if first != i {
			continue // done
		}
		values := ex.Req.PeekAll(text(spelt))
		var added []string
		for _, v := range values[min(came, len(values)):] {
			added = append(added, string(v))
		}
		ex.Req.DelBytes(spelt)
		for _, v := range added {
			ex.Req.AddBytesK(spelt, v)
		}
	}
	ex.claims &^= drop
}

// spelt counts the fields that arrived with exactly this spelling, and gives the
// index of the first.
func (ex *Exchange) spelt(name []byte) (n, first int) {
	for i := range ex.Head.Fields {
		if string(ex.Head.Fields[i].Name.Of(ex.Raw)) == string(name) {
			if n == 0 {
				first = i
			}
			n++
		}
	}
	return n, first
}
