package h2

import (
	"bytes"
	"errors"
	"slices"

	"perigee/proxy/wire"
)

var (
	errHead     = errors.New("request has no HTTP/1.1 head")
	errHeadLong = errors.New("request's head is longer than the HTTP/2 endpoint takes")
)

// sendHead begins the stream by the HTTP/1.1 head at the start of p.
func (s *Stream) sendHead(p []byte) (used int, err error) {
	c := s.conn
	if c.Leaving() {
		s.err = &Error{Unserved: true}
		return len(p), s.err
	}
	from := len(*c.out)
	b, used, size, err := s.appendHead(slices.Grow(*c.out, roomFor(len(p)))[:from+headLen], p)
	if err == nil && c.headerList > 0 && size > int(c.headerList) {
		err = errHeadLong
	}
	if err == nil && c.streams.n >= int(min(c.most, 1<<20)) {
		// The peer has said how many it takes since this one was opened. It
		// would refuse a stream, or take offence.
		err = errCrowded
	}
	if err != nil {
		if err != errHead {
			s.err = err
		}
		return len(p), err
	}
	s.begin()
	if s.chunked {
		if s.chunks == nil {
			s.chunks = new(wire.Chunks)
		}
		s.chunks.Reset()
	}
	s.sent = !s.chunked && s.left == 0
	if len(b)-from-headLen > c.frameSize {
		c.scratch = append(c.scratch[:0], b[from+headLen:]...)
		c.sendBlock(s.id, c.scratch, s.sent)
		return used, nil
	}
	flags := byte(flagEndHeaders)
	if s.sent {
		flags |= flagEnd
	}
	appendFrameHead(b[:from], len(b)-from-headLen, frameHeaders, flags, s.id)
	*c.out = b
	return used, nil
}

// roomFor is enough for the block of a head of n bytes: fields get longer by less
// than the lengths of their two strings.
func roomFor(n int) int { return headLen + n + n/16 + 64 }

// appendHead appends the header block of the head at the start of p. size is what
// the peer's limit counts.
func (s *Stream) appendHead(b, p []byte) (block []byte, used, size int, err error) {
	o, i := putStart(b[len(b):cap(b)], p)
	b = b[:len(b)+o]
	if i == 0 {
		var method []byte
		if b, method, i = appendStart(b, p); i == 0 {
			return b, 0, 0, errHead
		}
		s.forHead = string(method) == "HEAD"
	}
	size = i - len("  HTTP/1.1\r\n") + 4*42
	s.head, s.left = true, 0
	start, hosted := len(b), false // the first of them comes to :authority
	h := headCoder{d: b[:cap(b)], p: p, o: start, i: i, lines: &s.conn.lines}
	for {
		kind, known := h.recall()
		if !known {
			if kind = h.field(); kind != nameOdd {
				h.keep(kind)
			}
		}
		if kind == nameOdd {
			if bytes.HasPrefix(p[h.i:], lineEnd) {
				break
			}
			if kind = h.line(); h.at == h.i {
				return b, 0, 0, errHead
			}
		}
		if kind == namePlain || s.passes(kind, h.d[h.value:h.end]) {
			size += h.at - h.i + 30
			h.o = h.end
		} else if kind == nameHost && !hosted {
			s.conn.rotate(h.d[start:h.end], h.o-start)
			h.o, hosted = h.end, true
		}
		h.i = h.at
	}
	if b = h.d[:h.o]; !hosted {
		b = append(b, authority, 0)
		s.conn.rotate(b[start:], h.o-start)
	}
	return b, h.i + 2, size, nil
}

// line is field for lines that do not look as usual; it makes room. nameOdd: there is
// no field; at is i: there is no line's end.
func (c *headCoder) line() (kind nameKind) {
	line, rest, _ := cutLine(c.p[c.i:])
	name, value, found := cutField(line)
	b := c.d[:c.o]
	if kind = nameOdd; found {
		kind = kindOf(name)
	}
	switch kind {
	case nameOdd:
	case nameHost:
		b = appendLiteral(b, authority, value)
	default:
		b = appendField(b, name, value)
	}
	c.value, c.end, c.at = len(b)-len(value), len(b), len(c.p)-len(rest)
	c.d = b[:cap(b)]
	return kind
}

// rotate moves b[n:], which is one field, to the front.
func (c *Conn) rotate(b []byte, n int) {
	if n == 0 {
		return // as a rule
	}
	c.scratch = append(c.scratch[:0], b[n:]...)
	copy(b[len(b)-n:], b[:n])
	copy(b, c.scratch)
}

// cutLine takes a line off p; false: there is no whole one.
func cutLine(p []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(p, '\n')
	if i < 1 || p[i-1] != '\r' {
		return nil, p, false
	}
	return p[:i-1], p[i+1:], true
}

// cutField splits a line of a head.
func cutField(line []byte) (name, value []byte, ok bool) {
	i := bytes.IndexByte(line, ':')
	if i < 0 {
		return nil, nil, false
	}
	name, value = line[:i], line[i+1:]
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	for n := len(value); n > 0 && (value[n-1] == ' ' || value[n-1] == '\t'); n-- {
		value = value[:n-1]
	}
	return name, value, true
}

// passes takes note of the framing and tells whether a field means something to
// the endpoint: those of an HTTP/1.1 connection do not (RFC 9113 §8.2.2).
func (s *Stream) passes(kind nameKind, value []byte) bool {
	switch kind {
	case nameHost, nameOwn, nameOdd:
		return false
	case nameTE:
		return same(value, "trailers")
	case nameLength:
		for _, d := range value {
			s.left = s.left*10 + int64(d-'0')
		}
	case nameCoding:
		s.chunked = true
		return false
	}
	return true
}

// same compares without regard to case; lower is in lower case.
func same(text []byte, lower string) bool {
	if len(text) != len(lower) {
		return false
	}
	for i, c := range text {
		if toLower(c) != lower[i] {
			return false
		}
	}
	return true
}

// What follows makes HTTP/1.1 of what comes.

var (
	errMalformed = errors.New("malformed")
	noLength     = []byte("content-length: 0\r\n\r\n")
	inChunks     = []byte("transfer-encoding: chunked\r\n\r\n")
	lastChunk    = []byte("0\r\n")
	lineEnd      = []byte("\r\n")
)

// makeRoom forgets what was read of in.
func (s *Stream) makeRoom() {
	if s.r > 0 && (s.r == len(s.in) || s.r > Window/2) {
		s.in = s.in[:copy(s.in, s.in[s.r:])]
		s.r = 0
	}
}

// takeHeaders takes a header block. An error is the connection's end.
func (s *Stream) takeHeaders(block []byte, end bool) error {
	if s.err != nil || s.closed || s.ended {
		return nil
	}
	s.makeRoom()
	start := len(s.in)
	trailers := s.answered
	if trailers && s.framed {
		s.in = append(s.in, lastChunk...)
	}
	status, err := s.takeFields(block, start)
	switch {
	case err == errHpack:
		return broken(Compression, err.Error())
	case err == errLong:
		s.in = s.in[:start]
		s.abort(EnhanceYourCalm, err.Error())
	case err != nil || trailers && !end || !trailers && status < 100:
		s.in = s.in[:start]
		s.abort(ProtocolError, "malformed header fields")
	case trailers:
		s.endTrailers()
	default:
		s.endHead(start, status, end)
	}
	return nil
}

// takeFields appends the fields of a block to in as lines, which begin at start.
// status is 0 with trailers.
func (s *Stream) takeFields(block []byte, start int) (status int, err error) {
	d, most, trailers := &s.conn.dec, s.conn.limits.HeaderBytes, s.answered
	d.begin(most)
	n, open := 0, !trailers // the fields so far are the opening's first n
	if open {
		if n = d.opening.match(block); n > 0 {
			e := &d.opening.ends[n-1]
			s.in = append(s.in, d.opening.lines[:e.lines]...)
			block, status, s.length, d.seen = block[e.coded:], e.status, e.length, true
		}
	}
	for len(block) > 0 {
		f, rest, err := d.next(block)
		if err != nil {
			return status, err
		}
		coded := block[:len(block)-len(rest)]
		if block = rest; f == nil {
			continue
		}
		switch {
		case f.kind == fieldBad, (f.kind == fieldStatus) != (status == 0 && !trailers):
			return status, errMalformed
		case f.kind == fieldStatus:
			status = int(f.number)
		case f.kind == fieldLength:
			if s.length >= 0 {
				return status, errMalformed
			}
			s.length = f.number
		}
		if trailers && !s.framed {
			continue
		}
		if s.in = append(s.in, f.line...); len(s.in)-start > most {
			return status, errLong
		}
		if open = open && f != &d.last && d.opening.extend(n, coded, f); open {
			n++
		}
	}
	return status, nil
}

func (s *Stream) endTrailers() {
	if s.length > s.got {
		s.abort(ProtocolError, "body is shorter than promised")
		return
	}
	if s.framed {
		s.in = append(s.in, lineEnd...)
	}
	s.ended = true
	s.conn.touch(s)
}

// endHead completes the head that begins at start.
func (s *Stream) endHead(start, status int, end bool) {
	if status < 200 {
		if status == 101 || end {
			s.in = s.in[:start]
			s.abort(ProtocolError, "an interim answer that is the last")
			return
		}
		s.length = -1
		s.in = append(s.in, lineEnd...)
		s.conn.touch(s)
		return
	}
	s.answered = true
	s.bare = s.forHead || status == 204 || status == 304
	switch {
	case s.bare || s.length >= 0:
		s.in = append(s.in, lineEnd...)
	case end:
		s.in = append(s.in, noLength...)
	default:
		s.framed = true
		s.in = append(s.in, inChunks...)
	}
	if end && !s.bare && s.length > 0 {
		s.in = s.in[:start]
		s.abort(ProtocolError, "body is shorter than promised")
		return
	}
	s.ended = end
	if s.conn.holds && !end {
		s.conn.hold(s)
		return
	}
	s.conn.touch(s)
}

// chunkFrame is more than a chunk's framing, and the last one's, add to a piece.
const chunkFrame = 32

// takeData takes a piece of the body.
func (s *Stream) takeData(p []byte, end bool) {
	if s.err != nil || s.closed || s.ended {
		return
	}
	s.got += int64(len(p))
	switch {
	case !s.answered:
		s.abort(ProtocolError, "DATA before HEADERS")
		return
	case s.bare && len(p) > 0, s.length >= 0 && s.got > s.length:
		s.abort(ProtocolError, "body is longer than promised")
		return
	case end && !s.bare && s.length > s.got:
		s.abort(ProtocolError, "body is shorter than promised")
		return
	}
	s.makeRoom()
	if len(p) > 0 {
		s.enlarge(len(p) + chunkFrame)
		if s.framed {
			s.in = wire.AppendChunkHeader(s.in, len(p))
		}
		s.in = append(s.in, p...)
		if s.framed {
			s.in = append(s.in, lineEnd...)
		}
	}
	if end && s.framed {
		s.in = append(append(s.in, lastChunk...), lineEnd...)
	}
	s.ended = end
	if end || len(p) > 0 {
		s.conn.touch(s)
	}
}
