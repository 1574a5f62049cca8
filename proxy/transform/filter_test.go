package transform

import (
	"slices"
	"strings"
	"testing"

	"perigee/proxy/exchange"
	"perigee/proxy/unit"
	"perigee/proxy/wire"
)

func edited(t *testing.T, c Config, head string) *exchange.Exchange {
	t.Helper()
	ex := exchange.Acquire(nil, &exchange.Conn{})
	t.Cleanup(func() { exchange.Release(ex) })
	ex.Raw = []byte("GET /a HTTP/1.1\r\nHost: a.test\r\n" + head + "\r\n")
	if _, err := wire.ScanRequest(&ex.Head, ex.Raw, 0, wire.Limits{}); err != nil {
		t.Fatal(err)
	}
	ex.BeginRequest()
	ex.Path = append(ex.Path[:0], "/a\r\nEvil: 1"...)
	return ex
}

func fields(head string) []string {
	lines := strings.Split(head, "\r\n")[1:]
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" || strings.HasPrefix(l, "Date: ") })
	slices.Sort(lines)
	return lines
}

func TestStep(t *testing.T) {
	text := func(s string) map[string]unit.Template {
		name, value, _ := strings.Cut(s, ": ")
		return map[string]unit.Template{name: unit.MustTemplate(value)}
	}
	for _, c := range []struct {
		name, head string
		edits      Headers
		want       string
	}{
		{"remove in any case", "x-A: 1\r\nX-B: 2\r\nX-a: 3\r\n", Headers{Remove: []string{"X-A"}}, "X-B: 2"},
		{"set replaces all", "x-A: 1\r\nX-a: 3\r\n", Headers{Set: text("X-A: n")}, "X-A: n"},
		{"set to nothing removes", "X-A: 1\r\n", Headers{Set: text("x-a: $arg_none")}, ""},
		{"add leaves the others", "X-A: 1\r\n", Headers{Add: text("X-A: 2")}, "X-A: 1|X-A: 2"},
		{"add of nothing", "X-A: 1\r\n", Headers{Add: text("X-A: $arg_none")}, "X-A: 1"},
		{"remove, then set, then add", "X-A: 1\r\n", Headers{Remove: []string{"X-A"}, Set: text("X-A: 2"), Add: text("X-A: 3")}, "X-A: 2|X-A: 3"},
		{"a decoded line end stays in its line", "", Headers{Set: text("X-A: $uri")}, "X-A: /a  Evil: 1"},
		{"what another edit made is seen", "X-A: 1\r\n", Headers{Set: text("X-B: $http_x_a")}, "X-A: 1|X-B: 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ex := edited(t, Config{}, c.head)
			if v := New(Config{Request: c.edits}).Step(ex, exchange.Rewrite); v != exchange.Continue {
				t.Errorf("verdict %v", v)
			}
			want := strings.TrimSuffix("Host: a.test|"+c.want, "|")
			if got := strings.Join(fields(string(ex.Req.AppendBytes(nil))), "|"); got != want {
				t.Errorf("request %q, want %q", got, want)
			}
			for _, line := range strings.Split(c.head, "\r\n") {
				if name, value, ok := strings.Cut(line, ": "); ok {
					ex.Resp.Add(name, value)
				}
			}
			if New(Config{Response: c.edits}).Step(ex, exchange.Header); ex.Resp.StatusCode() != 200 {
				t.Error("the status changed")
			}
			if got := strings.Join(fields(string(ex.Resp.AppendBytes(nil))), "|"); got != c.want {
				t.Errorf("response %q, want %q", got, c.want)
			}
		})
	}
}

func TestEdits(t *testing.T) {
	f := New(Config{Response: Headers{Remove: []string{"X"}}})
	if f.Edits(exchange.Rewrite) || !f.Edits(exchange.Header) || f.Edits(exchange.Body) {
		t.Error("the filter takes part in the wrong stages")
	}
}

func TestCharset(t *testing.T) {
	for _, c := range []struct{ name, media, want string }{
		{"text", "text/html", "text/html; charset=utf-8"},
		{"in any case", "Text/HTML", "Text/HTML; charset=utf-8"},
		{"named already", "text/html; charset=GBK", "text/html; charset=GBK"},
		{"other parameter", "text/plain; format=flowed", "text/plain; format=flowed; charset=utf-8"},
		{"no text", "image/png", "image/png"},
		{"nothing", "", ""},
	} {
		ex := edited(t, Config{}, "")
		ex.Resp.SetContentType(c.media)
		f := New(Config{Charset: "utf-8"})
		if !f.Edits(exchange.Header) || f.Edits(exchange.Rewrite) {
			t.Error("a charset is no edit of the response head alone")
		}
		f.Step(ex, exchange.Header)
		if got := string(ex.Resp.ContentType()); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
