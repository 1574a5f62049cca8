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
