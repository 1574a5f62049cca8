package h2

import (
	"bytes"
	"errors"

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
	line, rest, ok := cutLine(p)
	method, target := headOf(line)
	b := c.scratch[:0]
	switch string(method) {
	case "GET":
		b = append(b, 0x80|2)
	case "POST":
		b = append(b, 0x80|3)
	default:
		b = appendLiteral(b, 2, method)
	}
	b = append(b, 0x80|6) // :scheme http
	b = appendLiteral(b, 4, target)
	b = appendLiteral(b, 1, hostOf(rest))
	size := len(method) + len(target) + 4*42
	s.head, s.left = true, 0
	s.forHead = string(method) == "HEAD"
	for ok {
		if line, rest, ok = cutLine(rest); len(line) == 0 {
			break
		}
		name, value, found := cutField(line)
		if !found {
			continue
		}
		if id := wire.LookupField(name); s.passes(id, value) {
			b = appendField(b, id, name, value)
			size += len(line) + 32
		}
	}
	c.scratch = b
	if !ok {
		return len(p), errHead
	}
	if c.headerList > 0 && size > int(c.headerList) {
		s.err = errHeadLong
		return len(p), errHeadLong
	}
	if c.streams.n >= int(min(c.most, 1<<20)) {
		// The peer has said how many it takes since this one was opened. It
		// would refuse a stream, or take offence.
		s.err = errCrowded
		return len(p), errCrowded
	}
	s.begin()
	if s.chunked {
		s.chunks.Reset()
	}
	s.sent = !s.chunked && s.left == 0
	c.sendBlock(s.id, b, s.sent)
	return len(p) - len(rest), nil
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

func hostOf(fields []byte) []byte {
	for {
		line, rest, _ := cutLine(fields)
		if len(line) == 0 {
			return nil
		}
		if name, value, _ := cutField(line); wire.LookupField(name) == wire.FieldHost {
			return value
		}
		fields = rest
	}
}

// passes takes note of the framing and tells whether a field means something to
// the endpoint: those of an HTTP/1.1 connection do not (RFC 9113 §8.2.2).
func (s *Stream) passes(id wire.FieldID, value []byte) bool {
	switch id {
	case wire.FieldHost, wire.FieldConnection, wire.FieldKeepAlive, wire.FieldProxyConnection,
		wire.FieldUpgrade, wire.FieldHTTP2Settings:
		return false
	case wire.FieldTE:
		return same(value, "trailers")
	case wire.FieldContentLength:
		for _, d := range value {
			s.left = s.left*10 + int64(d-'0')
		}
	case wire.FieldTransferEncoding:
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
	for len(block) > 0 {
		var f *field
		if f, block, err = d.next(block); err != nil {
			return status, err
		}
		if f == nil {
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
