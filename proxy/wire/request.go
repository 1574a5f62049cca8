package wire

import "bytes"

// TargetForm is the form of a request target (RFC 9112 §3.2). The authority
// form has no value: it belongs to CONNECT, which is refused.
type TargetForm uint8

const (
	FormOrigin   TargetForm = iota // /path?query
	FormAbsolute                   // http://host/path?query
	FormAsterisk                   // *, of OPTIONS
)

// maxEmptyLines is how many empty lines may precede a request line.
const maxEmptyLines = 4

// RequestHead is one scanned request head; all spans are of the scanned buffer.
type RequestHead struct {
	Head
	Method Span
	// Target is the request target as it was written.
	Target Span
	// Path is the target's path and query: all of an origin form, what follows
	// the authority in an absolute form (it may be empty, or start with '?'),
	// "*" for the asterisk form.
	Path Span
	// Host is the request's host and port: of an absolute target its
	// authority, which replaces the Host field (RFC 9112 §3.2.2), else the
	// Host field. It is valid (ValidHost) unless it is empty, which only
	// HTTP/1.0 allows. A driver sends this on, never the field itself.
	Host Span
	// Form is the form of Target.
	Form TargetForm
	// ExpectContinue: a body follows, and the client waits for 100 (Continue)
	// before it sends it (RFC 9110 §10.1.1).
	ExpectContinue bool
	// TakesTrailers: TE lists trailers (RFC 9110 §10.1.4).
	TakesTrailers bool
}

// ScanRequest looks for one complete request head at the start of buf.
//
// from is 0 for a new head. When an earlier call on the same h said that more
// bytes were needed, buf is that call's buffer with more bytes appended (at any
// address), and from is the length it had then.
//
//	n > 0:                the head is buf[:n], empty lines before it included
//	n == 0, err == nil:   more bytes are needed
//	err != nil:           an *Error of this package; answer its Status and close
//
// A line is judged as soon as it is complete, so a client that sends anything
// but HTTP is refused at its first line, not at a timeout.
func ScanRequest(h *RequestHead, buf []byte, from int, lim Limits) (n int, err error) {
	lim = lim.orDefault()
	if from <= 0 {
		h.reset()
		from = 0
	}
	if !h.startLine {
		if e := h.scanRequestLine(buf, from, lim); e != nil {
			return 0, e
		}
		if !h.startLine {
			return 0, nil
		}
	}
	n, e := h.scanFields(buf, from, lim)
	if e == nil && n > 0 {
		e = h.judge(buf)
	}
	if e != nil {
		return 0, e
	}
	return n, nil
}

func (h *RequestHead) reset() {
	h.Head.reset()
	h.Method, h.Target, h.Path, h.Host = Span{}, Span{}, Span{}, Span{}
	h.Form, h.ExpectContinue, h.TakesTrailers = FormOrigin, false, false
}

// scanRequestLine reads leading empty lines and the request line, if complete.
// A line too long is told from a head too large: it is 414, not 431.
func (h *RequestHead) scanRequestLine(buf []byte, from int, lim Limits) *Error {
	for {
		if err := h.firstByte(buf); err != nil {
			return err
		}
		limit := min(lim.HeaderBytes, h.next+lim.LineBytes+2)
		if from <= h.next && h.goodRequestLine(buf[:min(len(buf), limit)]) {
			return h.readTarget(buf)
		}
		cr, err := h.line(buf, from, limit)
		if err == ErrHeaderBytes {
			return h.fail(h.Offset, ErrLineBytes)
		}
		if err != nil {
			return err
		}
		if cr < 0 {
			return nil
		}
		if cr > h.next {
			return h.readRequestLine(buf, cr)
		}
		if h.empty++; h.empty > maxEmptyLines {
			return h.fail(cr, ErrEmptyLines)
		}
		h.next = cr + 2
	}
}

// firstByte refuses a request line by its first byte, before its end has come: a
// TLS hello on a plain port holds no LF and would otherwise wait for the timeout.
func (h *RequestHead) firstByte(buf []byte) *Error {
	if h.next == len(buf) {
		return nil
	}
	if c := buf[h.next]; c == '\r' || c == '\n' || class[c]&classToken != 0 {
		return nil
	}
	return h.fail(h.next, ErrMethod)
}

// goodRequestLine reads a request line that is complete and good but for the form of
// its target. It is to readRequestLine what goodFields is to addField.
func (h *RequestHead) goodRequestLine(buf []byte) bool {
	start := h.next
	last := cap(buf) - 8
	method := start
	for method < len(buf) && class[buf[method]]&classToken != 0 {
		method++
	}
	target := method + 1
	end := targetEnd(buf, target, last)
	cr := end + len(" HTTP/1.1")
	if method == start || cr+2 > len(buf) || buf[method] != ' ' || buf[end] != ' ' ||
		buf[cr] != '\r' || buf[cr+1] != '\n' {
		return false
	}
	version := word(buf, end+1)
	if version|1<<56 != versionOne {
		return false
	}
	h.Method = Span{uint32(start), uint32(method)}
	h.Target = Span{uint32(target), uint32(end)}
	h.Minor = uint8(version >> 56 & 1)
	h.next, h.startLine = cr+2, true
	return true
}

// readRequestLine reads buf[h.next:cr]: method SP request-target SP
// HTTP-version (RFC 9112 §3). The lenient splitting on any whitespace that §3
// allows is not done.
func (h *RequestHead) readRequestLine(buf []byte, cr int) *Error {
	start := h.next
	line := buf[start:cr]
	i := leading(line, classToken)
	if i == 0 || i == len(line) || line[i] != ' ' {
		return h.fail(start+i, ErrMethod)
	}
	h.Method = Span{uint32(start), uint32(start + i)}
	i++
	space := bytes.IndexByte(line[i:], ' ')
	if space < 0 {
		return h.fail(cr, ErrRequestLine)
	}
	target := line[i : i+space]
	if at := badTarget(target); at < len(target) {
		return h.fail(start+i+at, ErrTargetByte)
	}
	h.Target = Span{uint32(start + i), uint32(start + i + space)}
	version := line[i+space+1:]
	if len(version) != 8 || string(version[:5]) != "HTTP/" || version[6] != '.' ||
		class[version[5]]&class[version[7]]&classDigit == 0 {
		return h.fail(start+i+space+1, ErrRequestLine)
	}
	if version[5] != '1' || version[7] > '1' {
		return h.fail(start+i+space+1, ErrVersion)
	}
	h.Minor = version[7] - '0'
	h.next = cr + 2
	h.startLine = true
	return h.readTarget(buf)
}

// badTarget returns the index of the first byte that a target may not hold.
func badTarget(target []byte) int {
	at := firstBad(target, classTarget, '!')
	if hash := bytes.IndexByte(target[:at], '#'); hash >= 0 {
		return hash
	}
	return at
}

// readTarget finds the form of the target (RFC 9112 §3.2).
func (h *RequestHead) readTarget(buf []byte) *Error {
	target := h.Target.Of(buf)
	h.Path = h.Target
	method := h.Method.Of(buf)
	switch {
	case string(method) == "CONNECT":
		return h.fail(int(h.Method.Start), ErrConnect)
	case len(target) == 0:
	case target[0] == '/':
		h.Form = FormOrigin
		return nil
	case len(target) == 1 && target[0] == '*' && string(method) == "OPTIONS":
		h.Form = FormAsterisk
		return nil
	default:
		skip := 0
		if len(target) > 7 && EqualFold(target[:7], "http://") {
			skip = 7
		} else if len(target) > 8 && EqualFold(target[:8], "https://") {
			skip = 8
		}
		if skip > 0 {
			return h.readAbsolute(target, skip)
		}
	}
	return h.fail(int(h.Target.Start), ErrTarget)
}

// readAbsolute splits an absolute target behind its scheme into authority and
// the rest. Userinfo is refused with everything else that is no host and port
// (RFC 9110 §4.2.4).
func (h *RequestHead) readAbsolute(target []byte, skip int) *Error {
	end := skip
	for end < len(target) && target[end] != '/' && target[end] != '?' {
		end++
	}
	if !ValidHost(target[skip:end]) {
		return h.fail(int(h.Target.Start)+skip, ErrHost)
	}
	h.Form = FormAbsolute
	h.Host = Span{h.Target.Start + uint32(skip), h.Target.Start + uint32(end)}
	h.Path.Start = h.Host.End
	return nil
}

// requestMatters are the fields that decide about a request's framing, host and
// persistence; without one of them judge need not look at the fields.
const requestMatters uint64 = 1<<FieldHost | 1<<FieldContentLength | 1<<FieldTransferEncoding |
	1<<FieldConnection | 1<<FieldExpect | 1<<FieldTE

// judge reads the fields that decide about framing, host and persistence.
func (h *RequestHead) judge(buf []byte) *Error {
	var o options
	var seen uint64
	var expect bool
	if h.seen&requestMatters != 0 {
		for i := range h.Fields {
			f := &h.Fields[i]
			if requestMatters>>f.ID&1 == 0 {
				continue
			}
			value := f.Value.Of(buf)
			var e *Error
			switch f.ID {
			case FieldHost:
				e = h.host(f, value, seen)
			case FieldContentLength:
				e = h.length(value, seen)
			case FieldTransferEncoding:
				e = h.transfer(value, seen)
			case FieldConnection:
				if !o.connection(value) {
					e = ErrConnection
				}
			case FieldExpect:
				if expect = EqualFold(value, "100-continue"); !expect {
					e = ErrExpect
				}
			case FieldTE:
				h.TakesTrailers = h.TakesTrailers || listsTrailers(value)
			}
			if e != nil {
				return h.fail(int(f.Name.Start), e)
			}
			seen |= 1 << f.ID
		}
	}
	if h.Minor == 1 && !h.Has(FieldHost) {
		return h.fail(h.next, ErrNoHost)
	}
	h.settle(o)
	h.ExpectContinue = expect && h.Minor == 1 && h.Body != BodyNone
	return nil
}

// host: exactly one Host field, and a valid one, also where an absolute target
// makes it void (RFC 9112 §3.2).
func (h *RequestHead) host(f *Field, value []byte, seen uint64) *Error {
	if seen>>FieldHost&1 != 0 {
		return ErrHostRepeated
	}
	if !ValidHost(value) {
		return ErrHost
	}
	if h.Form != FormAbsolute {
		h.Host = f.Value
	}
	return nil
}

// length: one Content-Length, and not beside Transfer-Encoding (RFC 9112 §6.3
// rule 3 lets a server refuse; §6.3 rule 5 lets it take equal copies, which no
// honest client sends, so they are refused too).
func (h *RequestHead) length(value []byte, seen uint64) *Error {
	if seen>>FieldContentLength&1 != 0 {
		return ErrLengthRepeated
	}
	if h.Has(FieldTransferEncoding) {
		return ErrTransferLength
	}
	n, ok := number(value)
	if !ok {
		return ErrLength
	}
	h.ContentLength = n
	if n > 0 {
		h.Body = BodyLength
	}
	return nil
}

// transfer: Transfer-Encoding is chunked, once, in HTTP/1.1, without
// Content-Length (RFC 9112 §6.1, §6.3).
func (h *RequestHead) transfer(value []byte, seen uint64) *Error {
	switch {
	case seen>>FieldTransferEncoding&1 != 0:
		return ErrTransferTwice
	case h.Has(FieldContentLength):
		return ErrTransferLength
	case h.Minor == 0:
		return ErrTransferOld
	case EqualFold(value, "chunked"):
		h.Chunked = true
		h.Body = BodyChunked
		return nil
	}
	return badTransfer(value)
}

// badTransfer tells a coding we do not know (501) from a list that cannot be
// framed at all (400: nothing in it, or chunked anywhere but once at the end).
func badTransfer(list []byte) *Error {
	members, chunked := 0, 0
	last := false
	for len(list) > 0 {
		var member []byte
		if member, list = NextMember(list); len(member) == 0 {
			continue
		}
		members++
		if last = EqualFold(member, "chunked"); last {
			chunked++
		}
	}
	if members == 0 || chunked > 1 || chunked == 1 && !last || members == chunked {
		return ErrTransferList
	}
	return ErrTransferCoding
}

// listsTrailers reports whether a TE field lists trailers.
func listsTrailers(list []byte) bool {
	for len(list) > 0 {
		var member []byte
		if member, list = NextMember(list); EqualFold(member, "trailers") {
			return true
		}
	}
	return false
}
