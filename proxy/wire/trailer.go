package wire

import "bytes"

// Bounds of the trailer section of one body.
const (
	maxTrailerBytes  = 16 << 10
	maxTrailerFields = 100
)

// Trailers returns the trailer fields once the body is Done, and the bytes that
// their spans refer to. Both belong to c and are void after Reset. Fields that
// change how the message itself is read, or who may have it, are not among
// them: see TrailerAllowed.
func (c *Chunks) Trailers() (text []byte, fields []Field) {
	return c.trailers.text, c.trailers.head.Fields
}

// trailerSection collects the lines behind the last chunk. Trailers are rare
// and short, so they are copied: that spares the caller from keeping a line
// whose end has not come. The empty line is not copied, so that a body without
// trailers, which is nearly every one, needs no memory here.
type trailerSection struct {
	text     []byte
	head     Head // reads the lines of text
	lines    int  // read so far, those of dropped fields too
	endCR    bool // the CR of the empty line has come
	complete bool
}

// add takes the bytes of the section at the start of buf: at most up to the LF
// of the empty line.
func (t *trailerSection) add(buf []byte) (consumed int, err *Error) {
	for consumed < len(buf) && !t.complete {
		rest := buf[consumed:]
		if len(t.text) == t.head.next && (t.endCR || rest[0] == '\r') {
			if t.endCR && rest[0] != '\n' {
				return consumed, ErrBareCR
			}
			t.complete, t.endCR = t.endCR, true
			consumed++
			continue
		}
		piece := rest
		lf := bytes.IndexByte(rest, '\n')
		if lf >= 0 {
			piece = rest[:lf+1]
		}
		if len(t.text)+len(piece) > maxTrailerBytes {
			return consumed, ErrTrailerBytes
		}
		t.text = append(t.text, piece...)
		consumed += len(piece)
		if lf >= 0 {
			if err = t.line(); err != nil {
				return consumed, err
			}
		}
	}
	return consumed, nil
}

// line reads the line that text now ends with.
func (t *trailerSection) line() *Error {
	h := &t.head
	cr, err := h.line(t.text, len(t.text)-1, len(t.text))
	if err != nil {
		return err
	}
	if t.lines++; t.lines > maxTrailerFields {
		return ErrFieldCount
	}
	if err := h.addField(t.text, cr); err != nil {
		return err
	}
	h.next = cr + 2
	id := h.Fields[len(h.Fields)-1].ID
	if trailerRefused>>id&1 != 0 {
		return ErrTrailerField
	}
	if !id.TrailerAllowed() {
		h.Fields = h.Fields[:len(h.Fields)-1]
	}
	return nil
}

// trailerRefused are the fields that framed or routed the message when its head
// was read. A recipient that merges trailers into the head would take them for
// the head's, which makes their presence an attack, not a mistake.
const trailerRefused uint64 = 1<<FieldTransferEncoding | 1<<FieldContentLength |
	1<<FieldHost | 1<<FieldConnection | 1<<FieldTE | 1<<FieldTrailer | 1<<FieldUpgrade |
	1<<FieldKeepAlive | 1<<FieldProxyConnection | 1<<FieldHTTP2Settings | 1<<FieldExpect

// trailerDropped are further fields that RFC 9110 §6.5.1 keeps out of trailers:
// they route, authenticate, modify the request or describe the content. A
// recipient may drop them.
const trailerDropped = trailerRefused | endToEnd | HopByHopFields | 1<<FieldXRequestID |
	1<<FieldIfRange | 1<<FieldIfMatch | 1<<FieldIfNoneMatch | 1<<FieldIfModifiedSince |
	1<<FieldIfUnmodifiedSince | 1<<FieldPragma | 1<<FieldAge | 1<<FieldExpires |
	1<<FieldRetryAfter

// TrailerAllowed reports whether a field in a trailer section is handed on.
// ETag is: content coded on the fly is described behind itself.
func (id FieldID) TrailerAllowed() bool {
	return id == FieldETag || trailerDropped>>id&1 == 0
}
