package wire

import "bytes"

// Limits bound a head. A zero value means the default of that limit, so that a
// forgotten limit is never "no limit".
type Limits struct {
	HeaderBytes int // the whole head with its empty lines; default 16 KiB
	LineBytes   int // the request line without CRLF; default 8 KiB, as nginx's large_client_header_buffers
	Fields      int // number of field lines; default one per 16 bytes of HeaderBytes
}

func (l Limits) orDefault() Limits {
	if l.HeaderBytes <= 0 {
		l.HeaderBytes = 16 << 10
	}
	if l.LineBytes <= 0 {
		l.LineBytes = 8 << 10
	}
	if l.Fields <= 0 {
		// Memory for their places stays in proportion to the head's, and no
		// client that is in earnest meets a second limit.
		l.Fields = l.HeaderBytes / 16
	}
	return l
}

// BodyKind says how the body after a head ends (RFC 9112 §6.3).
type BodyKind uint8

const (
	BodyNone       BodyKind = iota // no body: the next head follows at once
	BodyLength                     // ContentLength bytes, at least 1
	BodyChunked                    // see Chunks
	BodyUntilClose                 // all until the connection ends; responses only
)

// Head is what request and response heads have in common. It keeps the
// scanner's place between two calls and is reused for one head after another;
// Fields keeps its memory.
type Head struct {
	// Fields are the field lines in their order.
	Fields []Field
	// ContentLength is the field's value, -1 without the field. It does not
	// say that a body follows: see Body (a response to HEAD has one and none).
	ContentLength int64
	// Body says how the body ends.
	Body BodyKind
	// Minor is the x of HTTP/1.x: 0 or 1.
	Minor uint8
	// Chunked: Transfer-Encoding is chunked.
	Chunked bool
	// Close: the connection does not outlive this message (RFC 9112 §9.3).
	Close bool
	// Upgrade: there is an Upgrade field, Connection lists it, and the message
	// is HTTP/1.1 (RFC 9110 §7.8).
	Upgrade bool
	// Offset is, after an error, where in the buffer the offence is: the byte
	// itself or the start of its line.
	Offset int

	seen      uint64 // bit per FieldID that occurred
	next      int    // start of the line that is read next
	empty     int    // empty lines before a request line
	startLine bool   // the first line has been read
}

// Has reports whether a known field occurs.
func (h *Head) Has(id FieldID) bool { return h.seen>>id&1 != 0 }

// Find returns the first field with a known name.
func (h *Head) Find(id FieldID) (f Field, ok bool) {
	if !h.Has(id) {
		return Field{}, false
	}
	for _, f = range h.Fields {
		if f.ID == id {
			return f, true
		}
	}
	return Field{}, false
}

func (h *Head) reset() {
	h.Fields, h.ContentLength, h.Body, h.Minor = h.Fields[:0], -1, BodyNone, 0
	h.Chunked, h.Close, h.Upgrade, h.startLine = false, false, false, false
	h.Offset, h.seen, h.next, h.empty = 0, 0, 0, 0
}

func (h *Head) fail(at int, e *Error) *Error {
	h.Offset = at
	return e
}

// line finds the line at h.next. It returns the index of its CR, or -1 when its
// end has not arrived. Bytes before from are known to hold no LF of this line.
// Errors depend on the bytes alone, never on how many have arrived: the limit is
// broken as soon as no line end can come before it.
func (h *Head) line(buf []byte, from, limit int) (cr int, err *Error) {
	from = max(from, h.next)
	if from < min(len(buf), limit) {
		if i := bytes.IndexByte(buf[from:min(len(buf), limit)], '\n'); i >= 0 {
			lf := from + i
			if lf == h.next || buf[lf-1] != '\r' {
				return -1, h.fail(lf, ErrBareLF)
			}
			return lf - 1, nil
		}
	}
	if len(buf) >= limit {
		return -1, h.fail(limit, ErrHeaderBytes)
	}
	return -1, nil
}

// scanFields reads field lines up to and with the empty line that ends the
// head. n > 0: the head is buf[:n]; n == 0: more bytes are needed.
//
// Lines go two ways. goodFields takes whole good lines in one pass; where it
// stops, the line is taken by line and addField, which know what to say about
// an incomplete or a bad one and go by what earlier calls have looked at.
func (h *Head) scanFields(buf []byte, from int, lim Limits) (n int, err *Error) {
	for {
		if from <= h.next {
			whole := buf[:min(len(buf), lim.HeaderBytes)]
			h.goodFields(whole, lim.Fields)
			if end := h.next + 2; end <= len(whole) && whole[end-2] == '\r' && whole[end-1] == '\n' {
				h.next = end
				return end, nil
			}
		}
		cr, err := h.line(buf, from, lim.HeaderBytes)
		if cr < 0 {
			return 0, err
		}
		if cr == h.next {
			h.next = cr + 2
			return h.next, nil
		}
		if len(h.Fields) >= lim.Fields {
			return 0, h.fail(h.next, ErrFieldCount)
		}
		if err := h.addField(buf, cr); err != nil {
			return 0, err
		}
		h.next = cr + 2
	}
}

// goodFields takes field lines for as long as they are complete and good, and
// memory goes on behind them: it reads words up to buf's capacity, so that the
// end of what has come needs no loop of its own. What stands there is not the
// peer's (an older message, zeros): it can end no line, for a line's CR and LF
// must both lie in buf, and what lies before them does then.
//
// What it calls loops over words and is called, not inlined: with their loops in this
// one it ran out of registers and was slower. A field that needs room in Fields, or
// has a name of more than 24 bytes, is not taken here.
func (h *Head) goodFields(buf []byte, most int) {
	fields, seen, at := h.Fields, h.seen, h.next
	last := cap(buf) - 8 // where the last whole word begins
	for most = min(most, cap(fields)); len(fields) < most && at <= last; {
		first := word(buf, at)
		if byte(first) == '\r' {
			break
		}
		n := nameLen(buf, at, last, first)
		if n <= 0 {
			break
		}
		tail := word(buf, max(at, at+n-8))
		if n < 8 {
			first &= 1<<(n*8) - 1
			tail = first
		}
		id := fieldSlots[nameHash(first, tail)] & 63
		if k := &knownNames[id]; k.length != n || !foldWord(first, k.first) || !foldWord(tail, k.last) ||
			n > 16 && (n > 24 || !foldWord(word(buf, at+8), k.second)) {
			if id = FieldOther; !allOf(buf[at:at+n], classToken) || n > 24 {
				break
			}
		}
		value := at + n + 1
		for value < len(buf) && (buf[value] == ' ' || buf[value] == '\t') {
			value++
		}
		end := valueEnd(buf, value, last)
		next := end + 2
		if next > len(buf) || buf[end] != '\r' || buf[end+1] != '\n' {
			break
		}
		for end > value && (buf[end-1] == ' ' || buf[end-1] == '\t') {
			end--
		}
		seen |= 1 << (id & 63)
		fields = fields[:len(fields)+1]
		fields[len(fields)-1] = Field{
			Name: Span{uint32(at), uint32(at + n)}, Value: Span{uint32(value), uint32(end)}, ID: id,
		}
		at = next
	}
	h.Fields, h.seen, h.next = fields, seen, at
}

func (h *Head) appendField(buf []byte, name, value Span) {
	id := LookupField(name.Of(buf))
	h.seen |= 1 << id
	h.Fields = append(h.Fields, Field{Name: name, Value: value, ID: id})
}

// addField reads the field line from h.next to cr (RFC 9112 §5: field-name ":"
// OWS field-value OWS) and appends it.
func (h *Head) addField(buf []byte, cr int) *Error {
	start := h.next
	line := buf[start:cr]
	colon := leading(line, classToken)
	if colon == 0 || colon == len(line) || line[colon] != ':' {
		return h.fail(start+colon, badName(line, colon))
	}
	value := colon + 1
	for value < len(line) && (line[value] == ' ' || line[value] == '\t') {
		value++
	}
	end := len(line)
	for end > value && (line[end-1] == ' ' || line[end-1] == '\t') {
		end--
	}
	if at := firstBad(line[value:end], classValue, ' '); at < end-value {
		return h.fail(start+value+at, badByte(line[value+at]))
	}
	h.appendField(buf, Span{uint32(start), uint32(start + colon)}, Span{uint32(start + value), uint32(start + end)})
	return nil
}

// badName says what is wrong with a field line whose name stops at i. Whitespace
// before the colon gets its own name (RFC 9112 §5.1 demands 400 for it), as
// does a line that starts with whitespace (§5.2, and §2.2 for the first one).
func badName(line []byte, i int) *Error {
	if i == len(line) {
		return ErrNoColon
	}
	switch c := line[i]; {
	case c == ' ' || c == '\t':
		if i == 0 {
			return ErrFold
		}
		rest := TrimOWS(line[i:])
		if len(rest) > 0 && rest[0] == ':' {
			return ErrColonSpace
		}
		return ErrFieldName
	case class[c]&classValue == 0:
		return badByte(c)
	}
	return ErrFieldName
}

// number reads 1*DIGIT up to 2^63-1 (RFC 9110 §8.6).
func number(b []byte) (n int64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		d := int64(c - '0')
		if class[c]&classDigit == 0 || n > (1<<63-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// connection reads one Connection field into what is known so far. ok is false
// when a member is not a token.
func (o *options) connection(list []byte) (ok bool) {
	if LookupField(list) == FieldKeepAlive { // as most say
		o.keepAlive = true
		return true
	}
	ok = true
	for len(list) > 0 {
		var member []byte
		if member, list = NextMember(list); len(member) == 0 {
			continue
		}
		switch {
		case EqualFold(member, "close"):
			o.close = true
		case EqualFold(member, "keep-alive"):
			o.keepAlive = true
		case EqualFold(member, "upgrade"):
			o.upgrade = true
		case !IsToken(member):
			ok = false
		}
	}
	return ok
}

// options is what the Connection fields of a head ask for.
type options struct{ close, keepAlive, upgrade bool }

// settle applies RFC 9112 §9.3: close wins, then HTTP/1.1 persists, then an
// HTTP/1.0 peer that asked for it.
func (h *Head) settle(o options) {
	h.Close = o.close || h.Minor == 0 && !o.keepAlive
	h.Upgrade = o.upgrade && h.Minor == 1 && h.Has(FieldUpgrade)
}

// NextMember splits the first member off a comma-separated list (RFC 9110
// §5.6.1) that holds no quoted strings. member is trimmed and may be empty:
// empty members are to be ignored.
func NextMember(list []byte) (member, rest []byte) {
	if i := bytes.IndexByte(list, ','); i >= 0 {
		return TrimOWS(list[:i]), list[i+1:]
	}
	return TrimOWS(list), nil
}
