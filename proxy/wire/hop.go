package wire

// HopByHop reports whether a field belongs to one connection and is never sent
// on (RFC 9110 §7.6.1, with the Proxy-Connection and Keep-Alive of old and the
// HTTP2-Settings of RFC 7540). Transfer-Encoding and Trailer are among them
// because each connection is framed anew; Proxy-Authenticate and
// Proxy-Authorization because this proxy is the last to understand them.
func (id FieldID) HopByHop() bool { return HopByHopFields>>id&1 != 0 }

// HopByHopFields are those of HopByHop, a bit each.
const HopByHopFields uint64 = 1<<FieldConnection | 1<<FieldKeepAlive | 1<<FieldProxyConnection |
	1<<FieldTE | 1<<FieldTrailer | 1<<FieldTransferEncoding | 1<<FieldUpgrade |
	1<<FieldHTTP2Settings | 1<<FieldProxyAuthorization | 1<<FieldProxyAuthenticate |
	1<<FieldProxyAuthenticationInfo

// HopByHop reports the same for a name, a token in any case.
func HopByHop(name []byte) bool { return LookupField(name).HopByHop() }

// Forwarding reports whether a field says for whom a request was forwarded:
// what anybody can write.
func (id FieldID) Forwarding() bool { return ForwardingFields>>id&1 != 0 }

// ForwardingFields are those of Forwarding, a bit each. TraceFields are those of
// W3C Trace Context and Baggage.
const (
	ForwardingFields uint64 = 1<<FieldXForwardedFor | 1<<FieldXForwardedProto | 1<<FieldXForwardedHost |
		1<<FieldXForwardedPort | 1<<FieldXRealIP | 1<<FieldForwarded
	TraceFields uint64 = 1<<FieldTraceparent | 1<<FieldTracestate | 1<<FieldBaggage
)

// EndToEnd reports whether a field keeps its way through the gateway even when
// Connection lists it. RFC 9110 §7.6.1 lets a sender list only fields of one
// connection; a client that lists Host, Cookie or X-Forwarded-For tries to make
// the gateway strip what the upstream relies on.
func (id FieldID) EndToEnd() bool { return endToEnd>>id&1 != 0 }

const endToEnd uint64 = 1<<FieldHost | 1<<FieldContentLength | 1<<FieldContentType |
	1<<FieldContentEncoding | 1<<FieldContentRange | 1<<FieldExpect | 1<<FieldMaxForwards |
	1<<FieldAuthorization | 1<<FieldCookie | 1<<FieldSetCookie | 1<<FieldWWWAuthenticate |
	1<<FieldXForwardedFor | 1<<FieldXForwardedProto | 1<<FieldXForwardedHost |
	1<<FieldXForwardedPort | 1<<FieldXRealIP | 1<<FieldForwarded | 1<<FieldVia |
	1<<FieldRange | 1<<FieldOrigin | 1<<FieldCacheControl | 1<<FieldVary | 1<<FieldDate |
	1<<FieldLocation | 1<<FieldETag

// NextOption walks the members of all Connection fields of a head. at is 0 at
// first, then what the call before returned; option is nil after the last.
//
//	for option, at := h.NextOption(buf, 0); option != nil; option, at = h.NextOption(buf, at) {
//
// at is an offset into buf. Options are tokens in the case they came in.
func (h *Head) NextOption(buf []byte, at uint32) (option []byte, next uint32) {
	if !h.Has(FieldConnection) {
		return nil, at
	}
	for _, f := range h.Fields {
		if f.ID != FieldConnection || f.Value.End <= at {
			continue
		}
		list := Span{max(at, f.Value.Start), f.Value.End}.Of(buf)
		for len(list) > 0 {
			option, list = NextMember(list)
			if len(option) > 0 {
				return option, f.Value.End - uint32(len(list))
			}
		}
	}
	return nil, at
}

// Lists reports whether Connection lists a name, which must be lower case, and
// the field may therefore be dropped: never true for EndToEnd fields.
func (h *Head) Lists(buf []byte, lower string) bool {
	for option, at := h.NextOption(buf, 0); option != nil; option, at = h.NextOption(buf, at) {
		if EqualFold(option, lower) {
			return !LookupField(option).EndToEnd()
		}
	}
	return false
}
