package exchange

import "perigee/proxy/wire"

// smallPiece is the largest piece of body that is copied beside its head rather
// than gathered by writev: below it the copy is cheaper.
const smallPiece = 2 << 10

// AppendAnswer makes what s is on the wire, in the framing of Place.BodyFrame:
// all is out with the head and the framing appended; data and tail follow it,
// if they were not short enough to be appended, too. closes says that the
// connection ends behind the answer.
func (ex *Exchange) AppendAnswer(out []byte, s Send, closes bool) (all, data, tail []byte) {
	if s.Head {
		out = ex.appendHead(out, closes)
	}
	switch ex.Place.BodyFrame {
	case wire.BodyChunked:
		if len(s.Data) > 0 {
			out = wire.AppendChunkHeader(out, len(s.Data))
			data, tail = s.Data, chunkEnd
		}
		if s.Last {
			tail = finalChunk
			if len(s.Data) > 0 {
				tail = chunkEndFinal
			}
			if len(s.Trailers) > 0 {
				tail = appendTrailers(tail[:len(tail):len(tail)], s)
			}
		}
	case wire.BodyLength, wire.BodyUntilClose:
		data = s.Data
	}
	if len(data) <= smallPiece {
		return append(append(out, data...), tail...), nil, nil
	}
	return out, data, tail
}

var (
	chunkEnd      = []byte("\r\n")
	finalChunk    = []byte("0\r\n\r\n")
	chunkEndFinal = []byte("\r\n0\r\n\r\n")
)

// appendTrailers puts trailer fields where a final chunk has none.
func appendTrailers(final []byte, s Send) []byte {
	const empty = len("0\r\n\r\n")
	return wire.AppendFinalChunkTrailers(final[:len(final)-empty:len(final)-empty], s.TrailerText, s.Trailers)
}

// appendHead appends the response head. What speaks of this connection is
// written here and nowhere else, so a filter cannot break the framing.
func (ex *Exchange) appendHead(out []byte, closes bool) []byte {
	head := ex.Resp.Append(out, ex.Now())
	if ex.Place.BodyFrame == wire.BodyChunked {
		head = append(head, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case ex.Resp.StatusCode() == 101:
	case closes:
		head = append(head, "Connection: close\r\n"...)
	case ex.Head.Minor == 0:
		head = append(head, "Connection: keep-alive\r\n"...)
	}
	return append(head, '\r', '\n')
}
