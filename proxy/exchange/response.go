package exchange

import (
	"iter"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"perigee/proxy/wire"
)

// ResponseHead is the head of an answer: status, and fields in the order they came
// or were added in, with the spelling of their names. Names are compared without
// case (RFC 9110 §5.1). What speaks of a connection is not among them: who writes
// the head adds it. The zero value is an empty head of status 200.
//
//	text    "HTTP/1.1 200 OK\r\nServer: o\r\nX-A: 1\r\n\r\n" "X-B2"
//	fields              [Server: o] [X-A: 1]               [X-B: 2]
//
// An upstream's head is copied whole, and its fields are the scanner's, so that
// passing an answer on looks at no name. An edit appends to text, or writes over a
// value that was as long. Values that come out of a head are lent until its next
// edit.
type ResponseHead struct {
	status int // 0: 200
	reason []byte
	text   []byte
	fields []wire.Field
	known  uint64   // IDs among fields
	length int64    // Content-Length + 1; 0: none
	digits [20]byte // its text
}

// once are fields that an answer has once at most: another takes the first one's
// place.
const once = 1<<wire.FieldContentType | 1<<wire.FieldContentEncoding | 1<<wire.FieldServer | 1<<wire.FieldDate

// Reset empties the head; memory stays unless it is large.
func (h *ResponseHead) Reset() {
	if cap(h.fields) > keepAdded {
		h.fields = nil
	}
	trim(&h.reason)
	trim(&h.text)
	h.status, h.fields, h.known, h.length = 0, h.fields[:0], 0, 0
}

// StatusCode is the status, 200 if none was set.
func (h *ResponseHead) StatusCode() int {
	if h.status == 0 {
		return fasthttp.StatusOK
	}
	return h.status
}

// SetStatusCode sets the status. A reason phrase that was set stays.
func (h *ResponseHead) SetStatusCode(status int) { h.status = status }

// SetReason sets the reason phrase; empty: the one that the status has.
func (h *ResponseHead) SetReason(phrase []byte) {
	h.reason = append(h.reason[:0], phrase...)
	oneLine(h.reason)
}

// Begin takes over the text of a head that a scanner has been over, and its status
// and reason phrase. Its fields follow by Pass. The head is empty before.
func (h *ResponseHead) Begin(raw []byte, status int, reason wire.Span) {
	h.text = append(h.text[:0], raw...)
	h.status, h.reason = status, append(h.reason, reason.Of(raw)...)
}

// Pass adds a field of the head that Begin was given.
func (h *ResponseHead) Pass(f *wire.Field) {
	if once>>f.ID&1 != 0 {
		h.remove(f.ID, "")
	}
	h.known |= 1 << f.ID
	h.fields = append(h.fields, *f)
}

// Add adds a field. Of those that an answer has once it takes the first one's place;
// a Transfer-Encoding is not taken, nor is a Content-Length that is no number.
func (h *ResponseHead) Add(name string, value []byte) {
	id := wire.LookupField(BytesOf(name))
	switch {
	case id == wire.FieldTransferEncoding:
		return
	case id == wire.FieldContentLength:
		if n, ok := wire.Decimal(value); ok {
			h.SetLength(n)
		}
		return
	case once>>id&1 != 0:
		h.remove(id, "")
	}
	h.append(id, name, value)
}

// Set replaces all fields of that name by one.
func (h *ResponseHead) Set(name string, value []byte) {
	id := wire.LookupField(BytesOf(name))
	switch id {
	case wire.FieldTransferEncoding:
		return
	case wire.FieldContentLength:
		h.length = 0
		h.Add(name, value)
		return
	}
	if at := h.only(id, name); at >= 0 && h.fields[at].Value.Len() == len(value) {
		f := &h.fields[at]
		oneLine(append(h.text[f.Value.Start:f.Value.Start], value...))
		return
	}
	h.remove(id, name)
	h.append(id, name, value)
}

// SetType sets the Content-Type; empty: there is none.
func (h *ResponseHead) SetType(media string) { h.SetTypeBytes(BytesOf(media)) }

// SetTypeBytes is SetType.
func (h *ResponseHead) SetTypeBytes(media []byte) {
	h.remove(wire.FieldContentType, "")
	if len(media) > 0 {
		h.append(wire.FieldContentType, fasthttp.HeaderContentType, media)
	}
}

// Del removes all fields of that name.
func (h *ResponseHead) Del(name string) {
	id := wire.LookupField(BytesOf(name))
	if id == wire.FieldContentLength {
		h.length = 0
		return
	}
	h.remove(id, name)
}

// Peek returns the first value of a field; nil: there is none.
func (h *ResponseHead) Peek(name string) []byte {
	id := wire.LookupField(BytesOf(name))
	switch {
	case id == wire.FieldContentLength:
		return h.lengthText()
	case id != wire.FieldOther && h.known>>id&1 == 0:
		return nil
	}
	for i := range h.fields {
		if f := &h.fields[i]; f.ID == id && (id != wire.FieldOther || sameName(f.Name.Of(h.text), name)) {
			return f.Value.Of(h.text)
		}
	}
	return nil
}

// ContentType is the Content-Type, nil if there is none.
func (h *ResponseHead) ContentType() []byte {
	if h.known>>wire.FieldContentType&1 == 0 {
		return nil
	}
	for i := range h.fields {
		if f := &h.fields[i]; f.ID == wire.FieldContentType {
			return f.Value.Of(h.text)
		}
	}
	return nil
}

// Length is the Content-Length, -1 if there is none.
func (h *ResponseHead) Length() int64 { return h.length - 1 }

// SetLength sets the Content-Length; negative: there is none.
func (h *ResponseHead) SetLength(n int64) { h.length = max(n, -1) + 1 }

// lengthText is the Content-Length as text, nil if there is none.
func (h *ResponseHead) lengthText() []byte {
	if h.length == 0 {
		return nil
	}
	return strconv.AppendInt(h.digits[:0], h.length-1, 10)
}

// All are the fields, names as they are spelt.
func (h *ResponseHead) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for i := range h.fields {
			f := &h.fields[i]
			if !yield(f.Name.Of(h.text), f.Value.Of(h.text)) {
				return
			}
		}
		if h.length > 0 {
			yield([]byte(fasthttp.HeaderContentLength), h.lengthText())
		}
	}
}

// Append appends the head without the empty line: type and length before the others,
// as nginx does. Its date is that of now unless it has one. A status without a body
// has no Content-Length on the wire (RFC 9110 §8.6).
func (h *ResponseHead) Append(dst []byte, now time.Time) []byte {
	status := h.StatusCode()
	dst = appendStatusLine(dst, status, h.reason)
	if h.known>>wire.FieldDate&1 == 0 {
		dst = appendDate(dst, now)
	}
	if h.known>>wire.FieldContentType&1 != 0 {
		dst = h.appendType(dst)
	}
	if h.length > 0 && status >= 200 && status != fasthttp.StatusNoContent {
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, h.length-1, 10)
		dst = append(dst, "\r\n"...)
	}
	c := wire.Copy{Head: h.text}
	for i := range h.fields {
		if f := &h.fields[i]; f.ID != wire.FieldContentType {
			dst = c.Append(dst, f)
		}
	}
	return c.Flush(dst)
}

// appendType appends the Content-Type, of which there is one.
func (h *ResponseHead) appendType(dst []byte) []byte {
	for i := range h.fields {
		if f := &h.fields[i]; f.ID == wire.FieldContentType {
			c := wire.Copy{Head: h.text}
			return c.Flush(c.Append(dst, f))
		}
	}
	return dst
}

// append adds a field; text that would end it does not.
func (h *ResponseHead) append(id wire.FieldID, name string, value []byte) {
	f := wire.Field{ID: id}
	f.Name.Start = uint32(len(h.text))
	h.text = append(h.text, name...)
	f.Name.End = uint32(len(h.text))
	h.text = append(h.text, value...)
	f.Value = wire.Span{Start: f.Name.End, End: uint32(len(h.text))}
	oneLine(h.text[f.Name.Start:])
	h.known |= 1 << id
	h.fields = append(h.fields, f)
}

// remove takes fields out: all of an ID, or of FieldOther those of that name.
func (h *ResponseHead) remove(id wire.FieldID, name string) {
	if h.known>>id&1 == 0 {
		return
	}
	kept := h.fields[:0]
	for _, f := range h.fields {
		if f.ID != id || id == wire.FieldOther && !sameName(f.Name.Of(h.text), name) {
			kept = append(kept, f)
		}
	}
	h.fields = kept
	if id != wire.FieldOther {
		h.known &^= 1 << id
	}
}

// only is the index of the field of that name, spelt the same, if there is one
// alone; else -1.
func (h *ResponseHead) only(id wire.FieldID, name string) int {
	at := -1
	if h.known>>id&1 == 0 {
		return at
	}
	for i := range h.fields {
		f := &h.fields[i]
		if f.ID != id || !sameName(f.Name.Of(h.text), name) {
			continue
		}
		if at >= 0 || text(f.Name.Of(h.text)) != name {
			return -1
		}
		at = i
	}
	return at
}

// statusLines are the first lines of answers whose reason is the usual one.
var statusLines = makeStatusLines()

func makeStatusLines() (lines [600]string) {
	for status := range lines {
		lines[status] = "HTTP/1.1 " + strconv.Itoa(status) + " " + fasthttp.StatusMessage(status) + "\r\n"
	}
	return lines
}

func appendStatusLine(dst []byte, status int, reason []byte) []byte {
	switch {
	case len(reason) == 0 && status >= 100 && status < len(statusLines):
		return append(dst, statusLines[status]...)
	case len(reason) == 0:
		reason = BytesOf(fasthttp.StatusMessage(status))
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(append(dst, ' '), reason...)
	return append(dst, '\r', '\n')
}

// dateLine is the Date field of one second, for all answers of the process.
type dateLine struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[dateLine]

// appendDate appends the Date field (RFC 9110 §6.6.1).
func appendDate(dst []byte, now time.Time) []byte {
	second := now.Unix()
	d := lastDate.Load()
	if d == nil || d.second != second {
		d = &dateLine{second, "Date: " + string(fasthttp.AppendHTTPDate(nil, now)) + "\r\n"}
		lastDate.Store(d)
	}
	return append(dst, d.text...)
}
