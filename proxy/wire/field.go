package wire

import "encoding/binary"

// Span is a piece of the buffer that was scanned: bytes Start up to End.
type Span struct{ Start, End uint32 }

// Of returns the span's bytes. buf must start where the scanned buffer started;
// it may have been copied or grown since. The result shares buf's memory.
func (s Span) Of(buf []byte) []byte { return buf[s.Start:s.End:s.End] }

// Len is the number of bytes in the span.
func (s Span) Len() int { return int(s.End - s.Start) }

// Field is one field line.
type Field struct {
	Name  Span    // as it was written, a token
	Value Span    // without surrounding whitespace; may be empty
	ID    FieldID // FieldOther for names this package does not know
}

// FieldID names the fields a gateway looks at, so that a driver can switch on a
// number where it would have to compare strings.
type FieldID uint8

// The known fields. FieldOther is every other name.
const (
	FieldOther FieldID = iota
	FieldHost
	FieldConnection
	FieldKeepAlive
	FieldProxyConnection
	FieldTE
	FieldTrailer
	FieldTransferEncoding
	FieldUpgrade
	FieldHTTP2Settings
	FieldProxyAuthorization
	FieldProxyAuthenticate
	FieldProxyAuthenticationInfo
	FieldContentLength
	FieldContentType
	FieldContentEncoding
	FieldContentRange
	FieldExpect
	FieldMaxForwards
	FieldAuthorization
	FieldCookie
	FieldSetCookie
	FieldWWWAuthenticate
	FieldXForwardedFor
	FieldXForwardedProto
	FieldXForwardedHost
	FieldXForwardedPort
	FieldXRealIP
	FieldXRequestID
	FieldForwarded
	FieldVia
	FieldAccept
	FieldAcceptEncoding
	FieldAcceptLanguage
	FieldAcceptRanges
	FieldUserAgent
	FieldReferer
	FieldOrigin
	FieldRange
	FieldIfRange
	FieldIfMatch
	FieldIfNoneMatch
	FieldIfModifiedSince
	FieldIfUnmodifiedSince
	FieldCacheControl
	FieldPragma
	FieldDate
	FieldServer
	FieldLocation
	FieldETag
	FieldLastModified
	FieldVary
	FieldAge
	FieldExpires
	FieldRetryAfter
	FieldTraceparent
	FieldTracestate
	FieldBaggage
	fieldCount
)

// fieldNames holds the lower-case name of each known field.
var fieldNames = [fieldCount]string{
	FieldHost: "host", FieldConnection: "connection", FieldKeepAlive: "keep-alive",
	FieldProxyConnection: "proxy-connection", FieldTE: "te", FieldTrailer: "trailer",
	FieldTransferEncoding: "transfer-encoding", FieldUpgrade: "upgrade",
	FieldHTTP2Settings:      "http2-settings",
	FieldProxyAuthorization: "proxy-authorization", FieldProxyAuthenticate: "proxy-authenticate",
	FieldProxyAuthenticationInfo: "proxy-authentication-info",
	FieldContentLength:           "content-length", FieldContentType: "content-type",
	FieldContentEncoding: "content-encoding", FieldContentRange: "content-range",
	FieldExpect: "expect", FieldMaxForwards: "max-forwards",
	FieldAuthorization: "authorization", FieldCookie: "cookie", FieldSetCookie: "set-cookie",
	FieldWWWAuthenticate: "www-authenticate",
	FieldXForwardedFor:   "x-forwarded-for", FieldXForwardedProto: "x-forwarded-proto",
	FieldXForwardedHost: "x-forwarded-host", FieldXForwardedPort: "x-forwarded-port",
	FieldXRealIP: "x-real-ip", FieldXRequestID: "x-request-id",
	FieldForwarded: "forwarded", FieldVia: "via",
	FieldAccept: "accept", FieldAcceptEncoding: "accept-encoding",
	FieldAcceptLanguage: "accept-language", FieldAcceptRanges: "accept-ranges",
	FieldUserAgent: "user-agent", FieldReferer: "referer", FieldOrigin: "origin",
	FieldRange: "range", FieldIfRange: "if-range", FieldIfMatch: "if-match",
	FieldIfNoneMatch: "if-none-match", FieldIfModifiedSince: "if-modified-since",
	FieldIfUnmodifiedSince: "if-unmodified-since",
	FieldCacheControl:      "cache-control", FieldPragma: "pragma", FieldDate: "date",
	FieldServer: "server", FieldLocation: "location", FieldETag: "etag",
	FieldLastModified: "last-modified", FieldVary: "vary", FieldAge: "age",
	FieldExpires: "expires", FieldRetryAfter: "retry-after", FieldTraceparent: "traceparent",
	FieldTracestate: "tracestate", FieldBaggage: "baggage",
}

// String returns the field's name in lower case, "" for FieldOther.
func (id FieldID) String() string { return fieldNames[id%fieldCount] }

// fieldSlots finds a known name: nameHash of it is its place. The multiplier
// was searched so that no two known names share a slot; whoever adds a field
// and meets the panic searches another.
var fieldSlots = buildFieldSlots()

func buildFieldSlots() (slots [128]FieldID) {
	for id := FieldOther + 1; id < fieldCount; id++ {
		at := nameHash([]byte(fieldNames[id]))
		if slots[at] != FieldOther {
			panic("BUG: wire: field names " + fieldNames[id] + " and " +
				fieldNames[slots[at]] + " need another nameHash multiplier")
		}
		slots[at] = id
	}
	return slots
}

// nameHash mixes length, first, last and a middle byte (at three quarters: it
// tells x-forwarded-host from x-forwarded-port) into 7 bits, without case.
func nameHash(name []byte) uint32 {
	n := uint32(len(name))
	key := uint32(name[0]) | uint32(name[n*3/4])<<8 | uint32(name[n-1])<<16 | 0x202020
	return (key | n<<24) * 0xa6b13a9 >> 25
}

// LookupField returns the ID of a field name in any case, FieldOther if it is
// not a known one.
func LookupField(name []byte) FieldID {
	if len(name) < 2 || len(name) > 25 {
		return FieldOther
	}
	id := fieldSlots[nameHash(name)]
	if known := fieldNames[id]; len(known) == len(name) && foldName(name, known) {
		return id
	}
	return FieldOther
}

// foldName compares names of equal length, lower being of letters, digits and
// '-' only. Case is bit 5 of a letter, and among those bytes bit 6 marks the
// letters; so bit 5 is set where lower has bit 6, and nowhere else.
func foldName(name []byte, lower string) bool {
	i := 0
	for ; i+8 <= len(name); i += 8 {
		known := load8(lower, i)
		if binary.LittleEndian.Uint64(name[i:])|known>>1&(ones*0x20) != known {
			return false
		}
	}
	for ; i < len(name); i++ {
		if name[i]|lower[i]>>1&0x20 != lower[i] {
			return false
		}
	}
	return true
}

// load8 reads 8 bytes of s at i; the compiler makes one load of it.
func load8(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// Decimal reads a Content-Length or the like: digits alone, so few that nobody's
// arithmetic overflows.
func Decimal(digits []byte) (n int64, ok bool) {
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
