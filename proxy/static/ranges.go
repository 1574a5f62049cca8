package static

import (
	"math/rand/v2"
	"strconv"

	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// span is one asked range of a file: bytes from up to but not with to.
type span struct{ from, to int64 }

// rangeOutcome is what a Range field asks of a file.
type rangeOutcome uint8

const (
	whole         rangeOutcome = iota // the field is passed over
	partial                           // the spans
	unsatisfiable                     // 416
)

// parseRanges reads a Range field for a file of size bytes (RFC 9110 §14.2), as
// nginx does: other units are passed over, and so are ranges that are more than
// most, or together longer than the file; what breaks the syntax cannot be
// satisfied.
func parseRanges(field []byte, size int64, most int) ([]span, rangeOutcome) {
	const unit = "bytes="
	if len(field) < len(unit) || !exchange.SameName(field[:len(unit)], []byte(unit)) {
		return nil, whole
	}
	r := rangeReader{rest: field[len(unit):], size: size}
	var spans []span
	var total int64
	for {
		s, ok := r.next()
		switch {
		case !ok:
			return nil, unsatisfiable
		case s.from < s.to:
			if len(spans) == most {
				return nil, whole
			}
			spans = append(spans, s)
			total += s.to - s.from
			if total > size {
				return nil, whole // a client that asks twice for the same is not served twice
			}
		case s.from == 0:
			return nil, whole // an empty file, or none of its bytes from the end
		}
		if !r.comma() {
			break
		}
	}
	if len(r.rest) > 0 || len(spans) == 0 {
		return nil, unsatisfiable
	}
	return spans, partial
}

// rangeReader reads the ranges of a field one after another.
type rangeReader struct {
	rest []byte
	size int64
}

// next reads one range. Its end is cut to the file's; from >= to: no byte of
// the file is in it.
func (r *rangeReader) next() (s span, ok bool) {
	r.blanks()
	if r.take('-') {
		n, ok := r.number()
		r.blanks()
		return span{max(0, r.size-n), r.size}, ok && r.ended()
	}
	if s.from, ok = r.number(); !ok {
		return s, false
	}
	r.blanks()
	if !r.take('-') {
		return s, false
	}
	r.blanks()
	if r.ended() {
		return span{s.from, r.size}, true
	}
	last, ok := r.number()
	r.blanks()
	return span{s.from, min(last, r.size-1) + 1}, ok && r.ended()
}

func (r *rangeReader) blanks() {
	for len(r.rest) > 0 && r.rest[0] == ' ' {
		r.rest = r.rest[1:]
	}
}

func (r *rangeReader) take(c byte) bool {
	if len(r.rest) == 0 || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

func (r *rangeReader) comma() bool { return r.take(',') }

func (r *rangeReader) ended() bool { return len(r.rest) == 0 || r.rest[0] == ',' }

// number reads digits; one that no file reaches is as good as any other, but
// none that overflows is read.
func (r *rangeReader) number() (n int64, ok bool) {
	const most = 1<<63 - 1
	for len(r.rest) > 0 && r.rest[0] >= '0' && r.rest[0] <= '9' {
		d := int64(r.rest[0] - '0')
		if n > (most-1-d)/10 {
			return 0, false
		}
		n, ok, r.rest = n*10+d, true, r.rest[1:]
	}
	return n, ok
}

// ranges cuts the answer down to what the Range field asks for. It runs behind
// all other header filters: what a script has changed counts.
func (f *Filter) ranges(ex *exchange.Exchange) exchange.Verdict {
	h, size := &ex.Resp, ex.File.Size
	if ex.Place.Source != exchange.FromFile || h.StatusCode() != 200 || f.config.MaxRanges == 0 ||
		h.Length() != size {
		return exchange.Continue
	}
	outcome := whole
	var spans []span
	if ex.RequestHas(wire.FieldRange) && ex.InRange() {
		spans, outcome = parseRanges(ex.RequestHeader("range"), size, f.config.MaxRanges)
	}
	switch outcome {
	case whole:
		h.Set("Accept-Ranges", []byte("bytes"))
	case unsatisfiable:
		ex.Early().Set("Content-Range", []byte("bytes */"+strconv.FormatInt(size, 10)))
		return fail(ex, 416)
	default:
		h.SetStatusCode(206)
		h.Del("Accept-Ranges")
		if len(spans) == 1 {
			h.Set("Content-Range", spans[0].appendTo([]byte("bytes "), size))
			ex.File.SetParts(exchange.FilePart{From: spans[0].from, To: spans[0].to})
		} else {
			multipart(ex, spans)
		}
		ex.Resp.SetLength(ex.File.Length())
	}
	return exchange.Continue
}

// multipart makes the answer of several ranges (RFC 9110 §14.6).
func multipart(ex *exchange.Exchange, spans []span) {
	boundary := strconv.FormatUint(rand.Uint64(), 10)
	boundary = "00000000000000000000"[len(boundary):] + boundary
	kind := string(ex.Resp.ContentType())
	size := ex.File.Size
	ex.File.SetParts()
	for _, s := range spans {
		text := append([]byte("\r\n--"), boundary...)
		if kind != "" {
			text = append(append(text, "\r\nContent-Type: "...), kind...)
		}
		text = s.appendTo(append(text, "\r\nContent-Range: bytes "...), size)
		text = append(text, "\r\n\r\n"...)
		ex.File.AddPart(exchange.FilePart{Text: text, From: s.from, To: s.to})
	}
	ex.File.AddPart(exchange.FilePart{Text: []byte("\r\n--" + boundary + "--\r\n")})
	ex.Resp.SetType("multipart/byteranges; boundary=" + boundary)
}

// appendTo appends first-last/size.
func (s span) appendTo(dst []byte, size int64) []byte {
	dst = append(strconv.AppendInt(dst, s.from, 10), '-')
	dst = append(strconv.AppendInt(dst, s.to-1, 10), '/')
	return strconv.AppendInt(dst, size, 10)
}
