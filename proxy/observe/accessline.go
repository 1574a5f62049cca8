package observe

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendAccessJSON appends rec as one JSON object and a line feed. Times are in
// seconds; what does not apply (no upstream, no consumer, ...) is left out.
// Bytes that are not UTF-8 become U+FFFD.
func AppendAccessJSON(dst []byte, rec *Record) []byte {
	dst = append(dst, `{"time":"`...)
	dst = rec.Start.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
	dst = append(dst, `","status":`...)
	dst = strconv.AppendInt(dst, int64(rec.Status), 10)
	dst = appendMember(dst, "method", rec.Method)
	dst = appendMember(dst, "scheme", rec.Scheme)
	dst = appendMember(dst, "host", rec.Host)
	dst = appendMember(dst, "path", rec.Path)
	dst = appendMember(dst, "query", rec.Query)
	dst = appendMember(dst, "protocol", rec.Protocol)
	dst = append(dst, `,"client":"`...)
	dst = appendAddr(dst, rec.Client)
	dst = append(dst, `","client_port":`...)
	dst = strconv.AppendUint(dst, uint64(rec.Client.Port()), 10)
	dst = appendMember(dst, "route", rec.Route)
	dst = appendMember(dst, "consumer", rec.Consumer)
	if rec.AuthOutcome != AuthNotAsked {
		dst = appendMember(dst, "auth_method", rec.AuthMethod.String())
		dst = appendMember(dst, "auth", rec.AuthOutcome.String())
	}
	if rec.Limit != "" {
		dst = appendMember(dst, "limit", rec.Limit)
		dst = appendMember(dst, "limit_outcome", LimitOutcome(rec.LimitOutcome))
	}
	dst = append(dst, `,"duration":`...)
	dst = appendSeconds(dst, rec.Duration)
	dst = append(dst, `,"ttfb":`...)
	dst = appendSeconds(dst, rec.TTFB)
	dst = appendNumber(dst, "bytes_in", rec.BytesIn)
	dst = appendNumber(dst, "bytes_out", rec.BytesOut)
	dst = appendNumber(dst, "request_body_bytes", rec.RequestBodyBytes)
	dst = appendNumber(dst, "response_body_bytes", rec.ResponseBodyBytes)
	dst = appendUpstreamJSON(dst, rec)
	dst = appendMember(dst, "abort", rec.Abort.String())
	dst = appendMember(dst, "error_id", rec.ErrorID)
	dst = appendMember(dst, "user_agent", rec.UserAgent)
	dst = appendMember(dst, "referer", rec.Referer)
	dst = appendMember(dst, "listener", rec.Listener)
	if rec.ID[0] != 0 {
		dst = appendMember(dst, "request_id", rec.ID[:])
	}
	if rec.Traced() {
		dst = append(dst, `,"trace_id":"`...)
		dst = hex.AppendEncode(dst, rec.TraceID[:])
		dst = append(dst, `","span_id":"`...)
		dst = hex.AppendEncode(dst, rec.SpanID[:])
		dst = append(dst, '"')
	}
	return append(dst, '}', '\n')
}

// appendUpstreamJSON appends the upstream and its attempts, nothing when the
// answer was local.
func appendUpstreamJSON(dst []byte, rec *Record) []byte {
	dst = appendMember(dst, "upstream", rec.Upstream)
	if rec.Tried == 0 {
		return dst
	}
	if rec.Tried > MaxAttempts {
		dst = appendNumber(dst, "attempts_made", int64(rec.Tried))
	}
	dst = append(dst, `,"attempts":[`...)
	for i := range rec.Tries() {
		a := &rec.Attempts[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"status":`...)
		dst = strconv.AppendInt(dst, int64(a.Status), 10)
		dst = appendMember(dst, "endpoint", a.Endpoint)
		dst = appendPhase(dst, "connect", a.Connect)
		dst = appendPhase(dst, "header", a.Header)
		dst = appendPhase(dst, "response", a.Response)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendMember appends `,"name":"value"`, nothing for an empty value.
func appendMember[T []byte | string](dst []byte, name string, value T) []byte {
	if len(value) == 0 {
		return dst
	}
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':', '"')
	dst = appendJSONText(dst, value)
	return append(dst, '"')
}

func appendNumber(dst []byte, name string, n int64) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return strconv.AppendInt(dst, n, 10)
}

// appendPhase appends a time of an attempt, nothing when it did not get there.
func appendPhase(dst []byte, name string, d time.Duration) []byte {
	if d < 0 {
		return dst
	}
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return appendSeconds(dst, d)
}

// appendSeconds appends d in seconds with six digits after the point.
func appendSeconds(dst []byte, d time.Duration) []byte {
	micros := max(d.Microseconds(), 0)
	dst = strconv.AppendInt(dst, micros/1e6, 10)
	return appendFraction(dst, micros%1e6, 1e5)
}

// appendFraction appends "." and n with leading zeros; unit is the value of the
// first digit.
func appendFraction(dst []byte, n, unit int64) []byte {
	dst = append(dst, '.')
	for ; unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+n/unit%10))
	}
	return dst
}

func appendAddr(dst []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return dst
	}
	return a.Addr().Unmap().WithZone("").AppendTo(dst)
}

const hexDigits = "0123456789abcdef"

// appendJSONText appends s as the inside of a JSON string (RFC 8259 §7). Bytes
// that are not UTF-8 become \ufffd one by one, as encoding/json has it; U+2028
// and U+2029 are escaped because JavaScript once took them for line ends.
func appendJSONText[T []byte | string](dst []byte, s T) []byte {
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b >= ' ' && b < utf8.RuneSelf && b != '"' && b != '\\' {
			i++
			continue
		}
		if b < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, b)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRune([]byte(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\ufffd`...)
			start = i + size
		} else if r == '\u2028' || r == '\u2029' {
			dst = append(dst, s[start:i]...)
			dst = append(dst, '\\', 'u', '2', '0', '2', hexDigits[r&0xf])
			start = i + size
		}
		i += size
	}
	return append(dst, s[start:]...)
}

// appendEscape appends the escape of a quote, a backslash or a control.
func appendEscape(dst []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(dst, '\\', b)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&0xf])
}

// AppendAccessText appends rec as nginx's "combined" line with more at its end,
// and a line feed:
//
//	ADDR - CONSUMER [TIME] "REQUEST" STATUS BODY "REFERER" "AGENT" rt=... us=...
//
// rt is $request_time, ua, us and ut are $upstream_addr, $upstream_status and
// $upstream_response_time with ", " between attempts. As in nginx's default
// escaping, a quote, a backslash and every byte outside of printable ASCII is
// written \xHH, and what is empty as "-".
func AppendAccessText(dst []byte, rec *Record) []byte {
	if rec.Client.IsValid() {
		dst = appendAddr(dst, rec.Client)
	} else {
		dst = append(dst, '-')
	}
	dst = append(dst, " - "...)
	dst = appendWord(dst, rec.Consumer)
	dst = append(dst, " ["...)
	dst = rec.Start.AppendFormat(dst, "02/Jan/2006:15:04:05 -0700")
	dst = append(dst, `] "`...)
	dst = appendRequestLine(dst, rec)
	dst = append(dst, `" `...)
	dst = strconv.AppendInt(dst, int64(rec.Status), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, rec.ResponseBodyBytes, 10)
	dst = append(dst, ` "`...)
	dst = appendWord(dst, rec.Referer)
	dst = append(dst, `" "`...)
	dst = appendWord(dst, rec.UserAgent)
	dst = append(dst, `" rt=`...)
	dst = appendMillis(dst, rec.Duration)
	dst = append(dst, ` ua="`...)
	dst = rec.AppendUpstreamAddr(dst)
	dst = append(dst, `" us="`...)
	dst = rec.AppendUpstreamStatus(dst)
	dst = append(dst, `" ut="`...)
	dst = rec.AppendUpstreamTime(dst, ResponseTime)
	dst = append(dst, `" route=`...)
	dst = appendWord(dst, rec.Route)
	if rec.AuthOutcome != AuthNotAsked {
		dst = append(dst, " auth="...)
		dst = append(dst, rec.AuthOutcome.String()...)
	}
	if rec.Limit != "" {
		dst = append(dst, " limit="...)
		dst = append(dst, rec.Limit...)
		dst = append(dst, ':')
		dst = append(dst, LimitOutcome(rec.LimitOutcome)...)
	}
	if rec.Abort != AbortNone {
		dst = append(dst, " abort="...)
		dst = append(dst, rec.Abort.String()...)
	}
	if rec.ErrorID != "" {
		dst = append(dst, " error="...)
		dst = appendWord(dst, rec.ErrorID)
	}
	dst = append(dst, " id="...)
	if rec.ID[0] == 0 {
		dst = append(dst, '-')
	} else {
		dst = append(dst, rec.ID[:]...)
	}
	if rec.Traced() {
		dst = append(dst, " trace="...)
		dst = hex.AppendEncode(dst, rec.TraceID[:])
	}
	return append(dst, '\n')
}

// appendRequestLine appends nginx's $request, escaped.
func appendRequestLine(dst []byte, rec *Record) []byte {
	if len(rec.Method) == 0 {
		return append(dst, '-')
	}
	dst = appendHexEscaped(dst, rec.Method)
	dst = append(dst, ' ')
	dst = appendHexEscaped(dst, rec.Path)
	if len(rec.Query) > 0 {
		dst = append(dst, '?')
		dst = appendHexEscaped(dst, rec.Query)
	}
	dst = append(dst, ' ')
	return appendHexEscaped(dst, rec.Protocol)
}

func appendWord[T []byte | string](dst []byte, s T) []byte {
	if len(s) == 0 {
		return append(dst, '-')
	}
	return appendHexEscaped(dst, s)
}

// appendHexEscaped appends s with nginx's default log escaping.
func appendHexEscaped[T []byte | string](dst []byte, s T) []byte {
	start := 0
	for i := range len(s) {
		b := s[i]
		if b >= ' ' && b < 0x7f && b != '"' && b != '\\' {
			continue
		}
		const upper = "0123456789ABCDEF"
		dst = append(dst, s[start:i]...)
		dst = append(dst, '\\', 'x', upper[b>>4], upper[b&0xf])
		start = i + 1
	}
	return append(dst, s[start:]...)
}

// AppendHexEscaped appends s as nginx writes a variable into a log line: a quote,
// a backslash and every byte outside of printable ASCII as \xHH.
func AppendHexEscaped(dst, s []byte) []byte { return appendHexEscaped(dst, s) }

// AppendJSONEscaped appends s as the inside of a JSON string.
func AppendJSONEscaped(dst, s []byte) []byte { return appendJSONText(dst, s) }
