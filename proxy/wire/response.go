package wire

// Asked is what a response answers, as far as its framing depends on it.
type Asked uint8

const (
	AskedOther   Asked = iota // any method whose answers have bodies
	AskedHEAD                 // HEAD: a head as for GET, and never a body
	AskedCONNECT              // CONNECT: after a 2xx the connection is a tunnel
)

// ResponseHead is one scanned response head; all spans are of the scanned
// buffer.
type ResponseHead struct {
	Head
	// Status is 100 to 999. One below 200 is an interim answer: it has no body
	// and the head of the answer proper follows, except after 101, which hands
	// the connection over.
	Status int
	// Reason is the reason phrase, often empty; it means nothing.
	Reason Span
}

// ScanResponse looks for one complete response head at the start of buf, like
// ScanRequest. asked must be the same in all calls for one head. Errors have
// status 502. Lines before the status line are never skipped: after a response
// whose end is known, nothing can be in between.
func ScanResponse(h *ResponseHead, buf []byte, from int, lim Limits, asked Asked) (n int, err error) {
	lim = lim.orDefault()
	if from <= 0 {
		h.reset()
		from = 0
	}
	return h.scan(buf, from, lim, asked)
}

// scan is ScanResponse from where h stands.
func (h *ResponseHead) scan(buf []byte, from int, lim Limits, asked Asked) (n int, err error) {
	if !h.startLine && (from > 0 || !h.goodStatusLine(buf[:min(len(buf), lim.HeaderBytes)])) {
		cr, e := h.line(buf, from, lim.HeaderBytes)
		if e == nil && cr >= 0 {
			e = h.readStatusLine(buf, cr)
		}
		if e != nil {
			return 0, asResponse(e)
		}
		if cr < 0 {
			return 0, nil
		}
	}
	n, e := h.scanFields(buf, from, lim)
	if e == nil && n > 0 {
		e = h.judge(buf, asked)
	}
	if e != nil {
		return 0, asResponse(e)
	}
	return n, nil
}

func (h *ResponseHead) reset() {
	h.Head.reset()
	h.Status, h.Reason = 0, Span{}
}

const versionOne = '1'<<56 | '.'<<48 | '1'<<40 | '/'<<32 | 'P'<<24 | 'T'<<16 | 'T'<<8 | 'H'

// goodStatusLine reads a status line of HTTP/1.1 that is complete and good, and has
// a reason. It is to readStatusLine what goodFields is to addField.
func (h *ResponseHead) goodStatusLine(buf []byte) bool {
	if len(buf) < len("HTTP/1.1 200 \r\n") || word(buf, 0) != versionOne || buf[8] != ' ' || buf[12] != ' ' {
		return false
	}
	status, ok := Decimal(buf[9:12])
	end := valueEnd(buf, 13, cap(buf)-8)
	if !ok || status < 100 || end+2 > len(buf) || buf[end] != '\r' || buf[end+1] != '\n' {
		return false
	}
	h.Status, h.Minor, h.Reason = int(status), 1, Span{13, uint32(end)}
	h.next, h.startLine = end+2, true
	return true
}

// readStatusLine reads buf[:cr]: HTTP-version SP status-code SP [reason-phrase]
// (RFC 9112 §4). The second space may be missing with the reason, as many
// servers send it and no other reading of the line exists.
func (h *ResponseHead) readStatusLine(buf []byte, cr int) *Error {
	line := buf[:cr]
	if len(line) < 12 || string(line[:5]) != "HTTP/" || line[6] != '.' || line[8] != ' ' ||
		class[line[5]]&class[line[7]]&classDigit == 0 {
		return h.fail(0, ErrStatusLine)
	}
	if line[5] != '1' || line[7] > '1' {
		return h.fail(5, ErrResponseVersion)
	}
	if class[line[9]]&class[line[10]]&class[line[11]]&classDigit == 0 || line[9] == '0' {
		return h.fail(9, ErrStatusLine)
	}
	if len(line) > 12 {
		if line[12] != ' ' {
			return h.fail(12, ErrStatusLine)
		}
		reason := line[13:]
		if at := firstBad(reason, classValue, ' '); at < len(reason) {
			return h.fail(13+at, badByte(reason[at]))
		}
		h.Reason = Span{13, uint32(cr)}
	}
	h.Minor = line[7] - '0'
	h.Status = int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	h.next = cr + 2
	h.startLine = true
	return nil
}

const responseMatters uint64 = 1<<FieldContentLength | 1<<FieldTransferEncoding | 1<<FieldConnection

// judge reads the fields that decide about framing and persistence.
func (h *ResponseHead) judge(buf []byte, asked Asked) *Error {
	var o options
	if h.seen&responseMatters != 0 {
		for i := range h.Fields {
			f := &h.Fields[i]
			if responseMatters>>f.ID&1 == 0 {
				continue
			}
			var e *Error
			switch f.ID {
			case FieldContentLength:
				e = h.length(f.Value.Of(buf))
			case FieldTransferEncoding:
				e = h.transfer(f.Value.Of(buf))
			case FieldConnection:
				if !o.connection(f.Value.Of(buf)) {
					o.close = true // a list we cannot read may well have said close
				}
			}
			if e != nil {
				return h.fail(int(f.Name.Start), e)
			}
		}
	}
	h.settle(o)
	h.frame(asked)
	return nil
}

// length takes copies of one Content-Length, in a list or in several fields, as
// long as they are equal (RFC 9112 §6.3 rule 5). They count as one; whoever
// sends the head on must write it once.
func (h *ResponseHead) length(list []byte) *Error {
	if h.Has(FieldTransferEncoding) {
		return ErrResponseBoth
	}
	if n, ok := Decimal(list); ok && h.ContentLength < 0 {
		h.ContentLength = n
		return nil
	}
	for {
		var member []byte
		member, list = NextMember(list)
		n, ok := number(member)
		if !ok || h.ContentLength >= 0 && h.ContentLength != n {
			return ErrResponseLength
		}
		h.ContentLength = n
		if list == nil {
			return nil
		}
	}
}

// transfer: we never send TE with a coding, so chunked is all that may come.
func (h *ResponseHead) transfer(value []byte) *Error {
	switch {
	case h.Has(FieldContentLength):
		return ErrResponseBoth
	case h.Minor == 0:
		return ErrResponseOld
	case h.Chunked || !EqualFold(value, "chunked"):
		return ErrResponseTransfer
	}
	h.Chunked = true
	return nil
}

// frame says how the body ends, in the order of RFC 9112 §6.3. Answers that
// cannot have a body end with their head whatever their fields claim; when a
// 1xx or a 204 claims one (RFC 9110 §8.6 and RFC 9112 §6.1 forbid that), the
// sender may believe otherwise, so its connection is not used again.
func (h *ResponseHead) frame(asked Asked) {
	interim := h.Status < 200 || h.Status == 204
	switch {
	case interim || h.Status == 304 || asked == AskedHEAD:
		if interim && (h.Chunked || h.ContentLength > 0) {
			h.Close = true
		}
	case asked == AskedCONNECT && h.Status < 300:
	case h.Chunked:
		h.Body = BodyChunked
	case h.ContentLength > 0:
		h.Body = BodyLength
	case h.ContentLength < 0:
		h.Body = BodyUntilClose
		h.Close = true
	}
}
