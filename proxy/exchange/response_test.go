package exchange

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"perigee/proxy/wire"
)

// headLines are the lines of a head as it leaves, without its date.
func headLines(h *ResponseHead) []string {
	lines := strings.Split(string(h.Append(nil, time.Time{})), "\r\n")
	lines = lines[:len(lines)-1]
	return slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "Date: ") })
}

// TestResponseEdits edits heads at random, those that were passed on and new ones,
// and holds every step against a list of lines.
func TestResponseEdits(t *testing.T) {
	names := []string{"set-cookie", "content-type", "content-encoding", "server", "x-a", "x-b", "location", "vary"}
	single := map[string]bool{"content-type": true, "content-encoding": true, "server": true}
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 2))
		var h ResponseHead
		model := modelFields{}
		add := func(name, value string) {
			if single[strings.ToLower(name)] {
				model.del(name)
			}
			model.add(name, value)
		}
		head := "HTTP/1.1 200 OK\r\n"
		var came modelFields
		for i := range r.IntN(6) {
			came.add(respell(r, names[r.IntN(len(names))]), strings.Repeat("v", i))
			head += strings.Join(came[i:].lines(), "") + "\r\n"
		}
		pass(t, &h, head+"\r\n")
		for _, f := range came {
			add(f.name, f.value)
		}
		steps := ""
		for i := range 16 {
			spelt := respell(r, names[r.IntN(len(names))])
			if r.IntN(2) == 0 {
				spelt = names[r.IntN(len(names))] // often the same spelling
			}
			value := strings.Repeat(strconv.Itoa(i%10), r.IntN(4))
			switch r.IntN(3) {
			case 0:
				h.Set(spelt, []byte(value))
				if at := slices.IndexFunc(model, func(f struct{ name, value string }) bool { return f.name == spelt }); at >= 0 && len(model.values(spelt)) == 1 && len(model[at].value) == len(value) {
					model[at].value = value // stays in its place
				} else {
					model.del(spelt)
					model.add(spelt, value)
				}
				steps += fmt.Sprintf("set %s=%q, ", spelt, value)
			case 1:
				h.Add(spelt, []byte(value))
				add(spelt, value)
				steps += fmt.Sprintf("add %s=%q, ", spelt, value)
			case 2:
				h.Del(spelt)
				model.del(spelt)
				steps += fmt.Sprintf("del %s, ", spelt)
			}
			if got, want := headLines(&h)[1:], typeFirst(model.lines()); !slices.Equal(got, want) {
				t.Fatalf("seed %d: %q then %s: %q, want %q", seed, head, steps, got, want)
			}
			var all []string
			for name, value := range h.All() {
				all = append(all, string(name)+": "+string(value))
			}
			if !slices.Equal(all, model.lines()) {
				t.Fatalf("seed %d: %q then %s: all %q, want %q", seed, head, steps, all, model.lines())
			}
			asked := respell(r, names[r.IntN(len(names))])
			got, want := h.Peek(asked), model.values(asked)
			if (got != nil) != (len(want) > 0) || got != nil && string(got) != want[0] {
				t.Fatalf("seed %d: %q then %s: peek %s: %q, want the first of %q", seed, head, steps, asked, got, want)
			}
			if media := model.values("content-type"); string(h.ContentType()) != strings.Join(media, "") {
				t.Fatalf("seed %d: type %q, want %q", seed, h.ContentType(), media)
			}
		}
	}
}

// typeFirst puts the type before the other lines.
func typeFirst(lines []string) []string {
	slices.SortStableFunc(lines, func(a, b string) int {
		isType := func(line string) int {
			if strings.HasPrefix(strings.ToLower(line), "content-type:") {
				return 0
			}
			return 1
		}
		return isType(a) - isType(b)
	})
	return lines
}

// pass makes h a head that arrived.
func pass(t *testing.T, h *ResponseHead, head string) {
	t.Helper()
	var res wire.ResponseHead
	if n, err := wire.ScanResponse(&res, []byte(head), 0, wire.Limits{}, wire.AskedOther); err != nil || n != len(head) {
		t.Fatalf("%q: %d, %v", head, n, err)
	}
	h.Reset()
	h.Begin([]byte(head), res.Status, res.Reason)
	for i := range res.Fields {
		h.Pass(&res.Fields[i])
	}
}

func TestResponseHeads(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(h *ResponseHead)
		want string
	}{
		{"empty", func(*ResponseHead) {}, "HTTP/1.1 200 OK"},
		{"a status", func(h *ResponseHead) { h.SetStatusCode(404) }, "HTTP/1.1 404 Not Found"},
		{"one that nobody knows", func(h *ResponseHead) { h.SetStatusCode(799) }, "HTTP/1.1 799 Unknown Status Code"},
		{"a reason of its own", func(h *ResponseHead) {
			h.SetStatusCode(404)
			h.SetReason([]byte("Gone\r\nfishing"))
		}, "HTTP/1.1 404 Gone  fishing"},
		{"a length", func(h *ResponseHead) { h.SetLength(0) }, "HTTP/1.1 200 OK|Content-Length: 0"},
		{"a length as a field", func(h *ResponseHead) { h.Set("content-LENGTH", []byte("12")) }, "HTTP/1.1 200 OK|Content-Length: 12"},
		{"a length that is none", func(h *ResponseHead) {
			h.SetLength(5)
			h.Set("Content-Length", []byte("-1"))
		}, "HTTP/1.1 200 OK"},
		{"a length that is too long", func(h *ResponseHead) { h.Add("Content-Length", []byte("1234567890123456789")) }, "HTTP/1.1 200 OK"},
		{"a second length that is none", func(h *ResponseHead) {
			h.SetLength(5)
			h.Add("Content-Length", []byte("x"))
		}, "HTTP/1.1 200 OK|Content-Length: 5"},
		{"a length taken away", func(h *ResponseHead) {
			h.SetLength(5)
			h.Del("content-length")
		}, "HTTP/1.1 200 OK"},
		{"204 has none", func(h *ResponseHead) {
			h.SetStatusCode(204)
			h.SetLength(5)
		}, "HTTP/1.1 204 No Content"},
		{"101 has none", func(h *ResponseHead) {
			h.SetStatusCode(101)
			h.SetLength(5)
			h.Add("Connection", []byte("Upgrade"))
		}, "HTTP/1.1 101 Switching Protocols|Connection: Upgrade"},
		{"no transfer codings", func(h *ResponseHead) {
			h.Add("transfer-encoding", []byte("chunked"))
			h.Set("Transfer-Encoding", []byte("chunked"))
		}, "HTTP/1.1 200 OK"},
		{"a field stays on its line", func(h *ResponseHead) { h.Add("X-A\nB", []byte("1\r\nX-Evil: 2")) }, "HTTP/1.1 200 OK|X-A B: 1  X-Evil: 2"},
		{"one that is written over, too", func(h *ResponseHead) {
			h.Add("X-A", []byte("12345"))
			h.Set("X-A", []byte("a\r\nb\n"))
		}, "HTTP/1.1 200 OK|X-A: a  b "},
		{"types", func(h *ResponseHead) {
			h.SetType("text/html")
			h.SetTypeBytes([]byte("text/plain"))
		}, "HTTP/1.1 200 OK|Content-Type: text/plain"},
		{"no type", func(h *ResponseHead) {
			h.Add("content-type", []byte("text/html"))
			h.SetType("")
		}, "HTTP/1.1 200 OK"},
		{"another spelling is another field's end", func(h *ResponseHead) {
			h.Add("X-A", []byte("1"))
			h.Add("x-a", []byte("2"))
			h.Set("X-a", []byte("3"))
		}, "HTTP/1.1 200 OK|X-a: 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h ResponseHead
			c.make(&h)
			if got := strings.Join(headLines(&h), "|"); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			h.Reset()
			if got := strings.Join(headLines(&h), "|"); got != "HTTP/1.1 200 OK" {
				t.Errorf("after a reset: %q", got)
			}
		})
	}
}

// An answer has one date: that of now, or the one that somebody has set.
func TestDate(t *testing.T) {
	for _, c := range []struct {
		name, set string
		now       time.Time
		want      string
	}{
		{"now", "", time.Unix(784111777, 999), "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"},
		{"a second later", "", time.Unix(784111778, 0), "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n"},
		{"in another zone", "", time.Unix(784111778, 0).In(time.FixedZone("", 3600)), "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n"},
		{"set", "then", time.Unix(784111778, 0), "HTTP/1.1 200 OK\r\nDate: then\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h ResponseHead
			if c.set != "" {
				h.Set("Date", []byte(c.set))
			}
			if got := string(h.Append(nil, c.now)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// Deleting must end, whatever the name.
func TestDeleteEveryResponseField(t *testing.T) {
	for _, name := range []string{"Connection", "connection", "TRAILER", "Date", "date", "Transfer-Encoding", "content-LENGTH",
		"Set-Cookie", "x y", strings.Repeat("n", 200)} {
		var h ResponseHead
		h.Add(name, []byte("close"))
		h.Add(name, []byte("5"))
		h.Del(strings.ToUpper(name))
		if v := h.Peek(name); v != nil {
			t.Errorf("%q is still there: %q", name, v)
		}
	}
}
