package wire

import "math/bits"

// An Opening is the last response head of an endpoint, for the next one's sake: what
// an endpoint says of itself, the type, the date of this second stand in front of
// most of its heads, byte for byte. Lines that are alike come to the same, so they
// are compared by words and their fields are taken over; scanning begins at the line
// that differs, and what the fields mean together is judged as always.
//
//	last  HTTP/1.1 200 OK | Server: o | Date: ..:07 GMT | Content-Length: 12 |
//	this  HTTP/1.1 200 OK | Server: o | Date: ..:07 GMT | Content-Length: 345 | ETag: ..
//	      '------- taken over ------------------------' '-- scanned
//
// The zero value is ready; one thread at a time may use it.
type Opening struct {
	text   []byte // the head, with its empty line
	fields []Field
	seen   uint64
	status int
	reason Span
	minor  uint8
}

// mostOpening is the longest head that is remembered.
const mostOpening = 1 << 10

// ScanResponse is ScanResponse; o may be nil.
func (o *Opening) ScanResponse(h *ResponseHead, buf []byte, from int, lim Limits, asked Asked) (n int, err error) {
	if o == nil || from > 0 {
		return ScanResponse(h, buf, from, lim, asked)
	}
	lim = lim.orDefault()
	h.reset()
	alike := o.takeOver(h, buf, lim)
	n, err = h.scan(buf, 0, lim, asked)
	if n > alike && n <= mostOpening {
		o.text = append(o.text[:0], buf[:n]...)
		o.fields = append(o.fields[:0], h.Fields...)
		o.seen, o.status, o.reason, o.minor = h.seen, h.Status, h.Reason, h.Minor
	}
	return n, err
}

// takeOver gives h, which is empty, the lines that buf begins with as o does. alike
// is how many bytes it has compared: no less than the head if that is the same.
func (o *Opening) takeOver(h *ResponseHead, buf []byte, lim Limits) (alike int) {
	if len(o.fields) == 0 || len(o.fields) > lim.Fields || len(o.text) > lim.HeaderBytes {
		return 0
	}
	alike = commonPrefix(o.text, buf)
	if alike < int(o.fields[0].Name.Start) {
		return alike
	}
	if alike == len(o.text) {
		h.Fields, h.seen = append(h.Fields, o.fields...), o.seen
		h.next = alike - len("\r\n")
	} else {
		// The last field that begins within what is alike may differ.
		k := len(o.fields) - 1
		for int(o.fields[k].Name.Start) > alike {
			k--
		}
		h.next = int(o.fields[k].Name.Start)
		h.Fields = append(h.Fields, o.fields[:k]...)
		for i := range h.Fields {
			h.seen |= 1 << (h.Fields[i].ID & 63)
		}
	}
	h.Status, h.Reason, h.Minor, h.startLine = o.status, o.reason, o.minor, true
	return alike
}

// commonPrefix is how many bytes a and b begin with alike.
func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := word(a, i) ^ word(b, i); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
