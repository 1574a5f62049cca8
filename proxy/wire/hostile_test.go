package wire

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"perigee/proxy/wire/testdata"
)

// A talk is what a reader that knows nothing but this package makes of a
// client's bytes: what it answers and what it sends on.
type talk struct {
	answers []int
	reason  string
	sent    []byte
	begun   bool // a request was begun and neither ended nor refused
}

// listen reads a whole connection whose bytes come in the given pieces.
func listen(pieces [][]byte) talk {
	var t talk
	var buf []byte
	var h RequestHead
	var c Chunks
	var body []byte
	inBody, from, left := false, 0, int64(0)
	refuse := func(err error) talk {
		e := err.(*Error)
		t.answers, t.reason, t.begun = append(t.answers, e.Status), e.Reason, false
		return t
	}
	var head []byte
	for _, piece := range pieces {
		buf = append(buf, piece...)
		for progress := true; progress; {
			progress = false
			if !inBody {
				n, err := ScanRequest(&h, buf, from, Limits{})
				if err != nil {
					return refuse(err)
				}
				if from = len(buf); n == 0 {
					break
				}
				head, body = forward(&h, buf), nil
				buf, from, inBody, left = buf[n:], 0, true, h.ContentLength
				c.Reset()
			}
			data, used, done, err := payload(&h, &c, buf, &left)
			body, buf = append(body, data...), buf[used:]
			if err != nil {
				return refuse(err)
			}
			progress = used > 0
			if done {
				t.answers = append(t.answers, 200)
				t.sent = fmt.Appendf(append(t.sent, head...), "Content-Length: %d\r\n\r\n%s", len(body), body)
				inBody, progress = false, len(buf) > 0
				if h.Close {
					return t
				}
			}
		}
	}
	t.begun = inBody || len(buf) > 0
	return t
}

// payload reads what it can of the body behind h.
func payload(h *RequestHead, c *Chunks, buf []byte, left *int64) (data []byte, used int, done bool, err error) {
	switch h.Body {
	case BodyLength:
		n := min(*left, int64(len(buf)))
		*left -= n
		return buf[:n], int(n), *left == 0, nil
	case BodyChunked:
		data, used, err = c.Next(buf)
		return data, used, c.Done(), err
	}
	return nil, 0, true, nil
}

// forward writes the head that a gateway sends on, but for framing.
func forward(h *RequestHead, buf []byte) []byte {
	path := string(h.Path.Of(buf))
	if path == "" || path[0] == '?' {
		path = "/" + path
	}
	out := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n", h.Method.Of(buf), path, h.Host.Of(buf))
	for _, f := range h.Fields {
		name := string(f.Name.Of(buf))
		if f.ID == FieldHost || f.ID == FieldContentLength || f.ID.HopByHop() ||
			h.Lists(buf, lower(name)) {
			continue
		}
		out = fmt.Appendf(out, "%s: %s\r\n", name, f.Value.Of(buf))
	}
	return out
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

func hostileCases(t testing.TB) (cases []testdata.Case) {
	t.Helper()
	for _, name := range []string{"heads.txt", "bodies.txt"} {
		some, err := testdata.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, some...)
	}
	return cases
}

func TestHostileRequests(t *testing.T) {
	cases := hostileCases(t)
	if len(cases) < 200 {
		t.Errorf("%d cases: some were lost", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			got := listen([][]byte{c.Sent()})
			if !slices.Equal(got.answers, c.Answers) || got.reason != c.Reason {
				t.Errorf("%s:%d: answered %v %s, want %v %s", c.File, c.Line, got.answers, got.reason, c.Answers, c.Reason)
			}
			if err := c.CheckOrigin([][]byte{got.sent}); err != nil {
				t.Errorf("%s:%d: %v", c.File, c.Line, err)
			}
		})
	}
}

// However the bytes of a connection are cut, the outcome is the same.
func TestHostileRequestsInPieces(t *testing.T) {
	for _, c := range hostileCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			sent := c.Sent()
			want := fmt.Sprintf("%+v", listen([][]byte{sent}))
			if got := fmt.Sprintf("%+v", listen(cut(sent, func() int { return 1 }))); got != want {
				t.Errorf("byte by byte: %s, want %s", got, want)
			}
			for seed := range uint64(8) {
				r := rand.New(rand.NewPCG(seed, 7))
				pieces := cut(sent, func() int { return 1 + r.IntN(1+r.IntN(200)) })
				if got := fmt.Sprintf("%+v", listen(pieces)); got != want {
					t.Errorf("cut by seed %d: %s, want %s", seed, got, want)
				}
			}
		})
	}
}

// The end-to-end cases are about time and sizes too, which this package leaves to
// its callers. All that it does decide must be as they state.
func TestHostileConversations(t *testing.T) {
	cases, err := testdata.Read("endtoend.txt")
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 60 {
		t.Errorf("%d cases: some were lost", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			var pieces [][]byte
			left := false
			for _, s := range c.Steps {
				pieces = append(pieces, s.Send)
				left = left || s.End == testdata.EndAll
			}
			got := listen(pieces)
			answers, reason, begun := c.Answers, c.Reason, left
			switch reason {
			case "body_bytes":
				return
			case "slow_head", "slow_body":
				answers, reason, begun = answers[:len(answers)-1], "", true
			}
			if !slices.Equal(got.answers, answers) || got.reason != reason || got.begun != begun {
				t.Errorf("%s:%d: got %v %s begun %v, want %v %s begun %v",
					c.File, c.Line, got.answers, got.reason, got.begun, answers, reason, begun)
			}
			if err := c.CheckOrigin([][]byte{got.sent}); err != nil {
				t.Errorf("%s:%d: %v", c.File, c.Line, err)
			}
		})
	}
}

// cut cuts b into pieces of the sizes that size gives.
func cut(b []byte, size func() int) (pieces [][]byte) {
	for len(b) > 0 {
		n := min(size(), len(b))
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return pieces
}
