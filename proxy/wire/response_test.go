package wire

import (
	"math/rand/v2"
	"testing"

	"perigee/proxy/wire/testdata"
)

// reply is what a reader makes of an upstream's bytes.
type reply struct {
	status int
	reason string
	body   string
	close  bool
}

// hear reads one answer, interim answers before it included, from a connection
// that ends behind the last piece.
func hear(pieces [][]byte, asked Asked) (r reply) {
	var h ResponseHead
	var buf []byte
	var c Chunks
	from, inBody, left := 0, false, int64(0)
	lim := Limits{HeaderBytes: 64 << 10, Fields: 256}
	fail := func(err error) reply {
		e := err.(*Error)
		if r.reason = e.Reason; !inBody {
			r.status = e.Status
		}
		return r
	}
	for _, piece := range pieces {
		buf = append(buf, piece...)
		for !inBody {
			n, err := ScanResponse(&h, buf, from, lim, asked)
			if err != nil {
				return fail(err)
			}
			if from = len(buf); n == 0 {
				break
			}
			buf, from = buf[n:], 0
			if r.close = r.close || h.Close; h.Status >= 200 {
				r.status, left, inBody = h.Status, h.ContentLength, true
			}
		}
		for inBody {
			data, used, done, err := answerPayload(&h, &c, buf, &left)
			r.body, buf = r.body+string(data), buf[used:]
			if err != nil {
				return fail(err)
			}
			if done {
				return r
			}
			if used == 0 {
				break
			}
		}
	}
	switch {
	case !inBody:
		r.status, r.reason = 502, "truncated"
	case h.Body != BodyUntilClose:
		r.reason = "truncated"
	}
	return r
}

func answerPayload(h *ResponseHead, c *Chunks, buf []byte, left *int64) (data []byte, used int, done bool, err error) {
	switch h.Body {
	case BodyLength:
		n := min(*left, int64(len(buf)))
		*left -= n
		return buf[:n], int(n), *left == 0, nil
	case BodyChunked:
		data, used, err = c.Next(buf)
		return data, used, c.Done(), err
	case BodyUntilClose:
		return buf, len(buf), false, nil
	}
	return nil, 0, true, nil
}

func TestHostileResponses(t *testing.T) {
	cases, err := testdata.Read("responses.txt")
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 50 {
		t.Errorf("%d cases: some were lost", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			asked := AskedOther
			if c.Asked == "HEAD" {
				asked = AskedHEAD
			}
			sent := c.Sent()
			got := hear([][]byte{sent}, asked)
			if got.status != c.Answers[0] || got.reason != c.Reason || c.HasBody && got.body != c.Body {
				t.Errorf("%s:%d: heard %+v, want %v %s %q", c.File, c.Line, got, c.Answers, c.Reason, c.Body)
			}
			if again := hear(cut(sent, func() int { return 1 }), asked); again != got {
				t.Errorf("byte by byte: %+v, at once %+v", again, got)
			}
			for seed := range uint64(4) {
				r := rand.New(rand.NewPCG(seed, 7))
				again := hear(cut(sent, func() int { return 1 + r.IntN(40) }), asked)
				if again != got {
					t.Errorf("cut by seed %d: %+v, at once %+v", seed, again, got)
				}
			}
		})
	}
}

func TestResponseFraming(t *testing.T) {
	cases := []struct {
		name, head string
		asked      Asked
		body       BodyKind
		close      bool
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 3", AskedOther, BodyLength, false},
		{"length zero", "HTTP/1.1 200 OK\r\nContent-Length: 0", AskedOther, BodyNone, false},
		{"neither", "HTTP/1.1 200 OK\r\nX: y", AskedOther, BodyUntilClose, true},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", AskedOther, BodyChunked, false},
		{"1.0 closes", "HTTP/1.0 200 OK\r\nContent-Length: 3", AskedOther, BodyLength, true},
		{"1.0 asks to persist", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive", AskedOther, BodyLength, false},
		{"close", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close", AskedOther, BodyLength, true},
		{"unreadable Connection", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep alive", AskedOther, BodyLength, true},
		{"HEAD", "HTTP/1.1 200 OK\r\nX: y", AskedHEAD, BodyNone, false},
		{"HEAD with length", "HTTP/1.1 200 OK\r\nContent-Length: 3", AskedHEAD, BodyNone, false},
		{"304", "HTTP/1.1 304 X\r\nContent-Length: 3", AskedOther, BodyNone, false},
		{"204", "HTTP/1.1 204 X\r\nX: y", AskedOther, BodyNone, false},
		{"204 with length zero", "HTTP/1.1 204 X\r\nContent-Length: 0", AskedOther, BodyNone, false},
		{"204 with a body", "HTTP/1.1 204 X\r\nContent-Length: 1", AskedOther, BodyNone, true},
		{"204 in chunks", "HTTP/1.1 204 X\r\nTransfer-Encoding: chunked", AskedOther, BodyNone, true},
		{"100", "HTTP/1.1 100 X\r\nX: y", AskedOther, BodyNone, false},
		{"100 with a body", "HTTP/1.1 100 X\r\nContent-Length: 1", AskedOther, BodyNone, true},
		{"205", "HTTP/1.1 205 X\r\nX: y", AskedOther, BodyUntilClose, true},
		{"CONNECT", "HTTP/1.1 200 X\r\nContent-Length: 3", AskedCONNECT, BodyNone, false},
		{"CONNECT refused", "HTTP/1.1 403 X\r\nContent-Length: 3", AskedCONNECT, BodyLength, false},
		{"unknown status", "HTTP/1.1 999 X\r\nContent-Length: 3", AskedOther, BodyLength, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var h ResponseHead
			raw := c.head + "\r\n\r\n"
			n, err := ScanResponse(&h, []byte(raw+"behind"), 0, Limits{}, c.asked)
			if err != nil || n != len(raw) {
				t.Fatalf("%d bytes, %v", n, err)
			}
			if h.Body != c.body || h.Close != c.close {
				t.Errorf("body %v close %v, want %v %v", h.Body, h.Close, c.body, c.close)
			}
		})
	}
}

func TestSwitchingProtocols(t *testing.T) {
	raw := []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: x, Upgrade\r\nUpgrade: websocket\r\n\r\n")
	var h ResponseHead
	n, err := ScanResponse(&h, raw, 0, Limits{}, AskedOther)
	if err != nil || n != len(raw) || h.Status != 101 || !h.Upgrade || h.Body != BodyNone || h.Close {
		t.Errorf("%d bytes, %v, %+v", n, err, h)
	}
	if got := string(h.Reason.Of(raw)); got != "Switching Protocols" {
		t.Errorf("reason %q", got)
	}
}

// Every refusal of a response is an upstream's fault.
func TestResponseErrorsAre502(t *testing.T) {
	for _, e := range []*Error{
		ErrBareLF, ErrBareCR, ErrNUL, ErrControl, ErrFold, ErrColonSpace,
		ErrFieldName, ErrNoColon, ErrHeaderBytes, ErrFieldCount,
	} {
		twin := asResponse(e)
		if twin.Status != 502 || twin.Reason != e.Reason {
			t.Errorf("%v becomes %v", e, twin)
		}
	}
}
