package h2

import (
	"bytes"
	"errors"

	"perigee/proxy/wire"
)

var (
	errHead     = errors.New("request has no HTTP/1.1 head")
	errHeadLong = errors.New("request's head is longer than the HTTP/2 endpoint takes")
	headEnd     = []byte("\r\n\r\n")
	lineEnd     = []byte("\r\n")
)

// sendHead begins the stream by the HTTP/1.1 head at the start of p.
func (s *Stream) sendHead(p []byte) (used int, err error) {
	c := s.conn
	n := bytes.Index(p, headEnd)
	if n < 0 {
		return len(p), errHead
	}
	if c.Leaving() {
		s.err = &Error{Unserved: true}
		return len(p), s.err
	}
	line, fields, _ := bytes.Cut(p[:n+2], lineEnd)
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
	b = appendLiteral(b, 1, hostOf(fields))
	size := len(method) + len(target) + 4*42
	s.head, s.left = true, 0
	s.forHead = string(method) == "HEAD"
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, lineEnd)
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		value = bytes.Trim(value, " \t")
		if s.passes(name, value) {
			b = appendField(b, name, value)
			size += len(line) + 32
		}
	}
	c.scratch = b
	if c.headerList > 0 && size > int(c.headerList) {
		s.err = errHeadLong
		return len(p), errHeadLong
	}
	if len(c.streams) >= int(min(c.most, 1<<20)) {
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
	return n + len(headEnd), nil
}

func hostOf(fields []byte) []byte {
	for len(fields) > 0 {
		var line []byte
		line, fields, _ = bytes.Cut(fields, lineEnd)
		if name, value, _ := bytes.Cut(line, []byte(":")); same(name, "host") {
			return bytes.Trim(value, " \t")
		}
	}
	return nil
}

// passes takes note of the framing and tells whether a field means something to
// the endpoint: those of an HTTP/1.1 connection do not (RFC 9113 §8.2.2).
func (s *Stream) passes(name, value []byte) bool {
	switch len(name) {
	case 2:
		return !same(name, "te") || same(value, "trailers")
	case 4:
		return !same(name, "host")
	case 7:
		return !same(name, "upgrade")
	case 10:
		return !same(name, "connection") && !same(name, "keep-alive")
	case 14:
		if same(name, "content-length") {
			for _, d := range value {
				s.left = s.left*10 + int64(d-'0')
			}
		}
		return !same(name, "http2-settings")
	case 16:
		return !same(name, "proxy-connection")
	case 17:
		if same(name, "transfer-encoding") {
			s.chunked = true
			return false
		}
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
	statusLine   = []byte("HTTP/1.1 ")
	noLength     = []byte("content-length: 0\r\n\r\n")
	inChunks     = []byte("transfer-encoding: chunked\r\n\r\n")
	lastChunk    = []byte("0\r\n")
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
	status := 0
	err := s.conn.dec.decode(block, s.conn.limits.HeaderBytes, func(name, value []byte) error {
		if len(s.in)-start > s.conn.limits.HeaderBytes {
			return errLong
		}
		if len(name) > 0 && name[0] == ':' {
			if trailers || status != 0 || string(name) != ":status" || len(value) != 3 {
				return errMalformed
			}
			for _, d := range value {
				if d < '0' || d > '9' {
					return errMalformed
				}
				status = status*10 + int(d-'0')
			}
			s.in = append(append(append(s.in, statusLine...), value...), " \r\n"...)
			return nil
		}
		if status == 0 && !trailers || !s.plain(name, value) {
			return errMalformed
		}
		if trailers && !s.framed {
			return nil
		}
		s.in = append(append(append(s.in, name...), ": "...), value...)
		s.in = append(s.in, lineEnd...)
		return nil
	})
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

// plain tells whether a field can stand in an HTTP/1.1 head, and takes note of
// the length of the body.
func (s *Stream) plain(name, value []byte) bool {
	if len(name) == 0 {
		return false
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f || c == ':' || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	for _, c := range value {
		if c == '\r' || c == '\n' || c == 0 {
			return false
		}
	}
	switch string(name) {
	case "connection", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade":
		return false
	case "content-length":
		if len(value) == 0 || len(value) > 18 || s.length >= 0 {
			return false
		}
		s.length = 0
		for _, d := range value {
			if d < '0' || d > '9' {
				return false
			}
			s.length = s.length*10 + int64(d-'0')
		}
	}
	return true
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
	s.conn.touched(s)
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
		s.conn.touched(s)
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
	s.conn.touched(s)
}

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
		s.conn.touched(s)
	}
}
