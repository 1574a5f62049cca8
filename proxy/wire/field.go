package wire

import (
	"encoding/binary"
	"math/bits"
)

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

// A known is a known name as words: its first eight bytes and its last, which are
// the same ones, filled up with zeros, where it has no more. FieldOther has a length
// that no name has.
type known struct {
	first, second, last uint64 // second: bytes 8 to 15 of more than 16
	length              int
}

var knownNames = buildKnown()

func buildKnown() (all [64]known) {
	for id := range all {
		all[id].length = -1
	}
	for id := FieldOther + 1; id < fieldCount; id++ {
		name := []byte(fieldNames[id])
		k := &all[id]
		k.length = len(name)
		k.first, k.last = nameWords(name)
		if k.length > 16 {
			k.second = word(name, 8)
		}
	}
	return all
}

// fieldSlots finds a known name: nameHash of its words is its place. The multiplier
// was searched so that no two known names share a slot; whoever adds a field and
// meets the panic searches another.
var fieldSlots = buildFieldSlots()

func buildFieldSlots() (slots [256]FieldID) {
	for id := FieldOther + 1; id < fieldCount; id++ {
		at := nameHash(knownNames[id].first, knownNames[id].last)
		if slots[at] != FieldOther {
			panic("BUG: wire: field names " + fieldNames[id] + " and " +
				fieldNames[slots[at]] + " need another nameHash multiplier")
		}
		slots[at] = id
	}
	return slots
}

const spaces = ones * ' '

// nameHash mixes both words into 8 bits, without case.
func nameHash(first, last uint64) uint8 {
	return uint8(((first | spaces) ^ (last|spaces)<<1) * 0xef19268711588347 >> 56)
}

// nameWords gives the words of a name; see known.
func nameWords(name []byte) (first, last uint64) {
	n := len(name)
	if n >= 8 {
		return word(name, 0), word(name, n-8)
	}
	for i := range n {
		first |= uint64(name[i]) << (8 * i)
	}
	return first, first
}

// LookupField returns the ID of a field name in any case, FieldOther if it is
// not a known one.
func LookupField(name []byte) FieldID {
	first, last := nameWords(name)
	id := fieldSlots[nameHash(first, last)] & 63
	k := &knownNames[id]
	if n := len(name); k.length != n || !foldWord(first, k.first) || !foldWord(last, k.last) ||
		n > 16 && !foldName(name[8:n-8], fieldNames[id][8:n-8]) {
		return FieldOther
	}
	return id
}

// nameLen returns how long the name at buf[at:] is, which a colon ends: 0 or less
// where there is none before the last word of buf's memory. first is the name's first
// word.
//
//go:noinline
func nameLen(buf []byte, at, last int, first uint64) int {
	n, marks := at, equal(first, ':')
	for marks == 0 {
		if n += 8; n > last {
			return 0
		}
		marks = equal(word(buf, n), ':')
	}
	return n - at + bits.TrailingZeros64(marks)/8
}

// Case is bit 5 of a letter, and among letters, digits and '-' bit 6 marks the letters.
// So a name is the known one if it is after bit 5 has been set where the known one has
// bit 6, and nowhere else.

// foldWord compares eight bytes of a name with those of a known one.
func foldWord(name, lower uint64) bool { return name|lower>>1&spaces == lower }

// foldName compares names of equal length, lower being of letters, digits and
// '-' only.
func foldName(name []byte, lower string) bool {
	i := 0
	for ; i+8 <= len(name); i += 8 {
		if !foldWord(binary.LittleEndian.Uint64(name[i:]), load8(lower, i)) {
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
