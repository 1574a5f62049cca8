package transform

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
	texts := func(s string) map[string]unit.Texts {
		name, values, _ := strings.Cut(s, ": ")
		var list []unit.Template
		for _, value := range strings.Split(values, "; ") {
			list = append(list, unit.MustTemplate(value))
		}
		return map[string]unit.Texts{name: unit.MakeTexts(list...)}
	}
	for _, c := range []struct {
		name, head string
		edits      Headers
		want       string
	}{
		{"remove in any case", "x-A: 1\r\nX-B: 2\r\nX-a: 3\r\n", Headers{Remove: []string{"X-A"}}, "X-B: 2"},
		{"set replaces all", "x-A: 1\r\nX-a: 3\r\n", Headers{Set: text("X-A: n")}, "X-A: n"},
		{"set to nothing removes", "X-A: 1\r\n", Headers{Set: text("x-a: $arg_none")}, ""},
		{"add leaves the others", "X-A: 1\r\n", Headers{Add: texts("X-A: 2")}, "X-A: 1|X-A: 2"},
		{"add of nothing", "X-A: 1\r\n", Headers{Add: texts("X-A: $arg_none")}, "X-A: 1"},
		{"add several", "X-A: 1\r\n", Headers{Add: texts("X-A: 2; $arg_none; 3")}, "X-A: 1|X-A: 2|X-A: 3"},
		{"remove, then set, then add", "X-A: 1\r\n", Headers{Remove: []string{"X-A"}, Set: text("X-A: 2"), Add: texts("X-A: 3")}, "X-A: 2|X-A: 3"},
		{"a decoded line end stays in its line", "", Headers{Set: text("X-A: $uri")}, "X-A: /a  Evil: 1"},
		{"what another edit made is seen", "X-A: 1\r\n", Headers{Set: text("X-B: $http_x_a")}, "X-A: 1|X-B: 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ex := edited(t, Config{}, c.head)
			if v := New(Config{Request: c.edits}).Step(ex, exchange.Rewrite); v != exchange.Continue {
				t.Errorf("verdict %v", v)
			}
			want := strings.TrimSuffix("Host: a.test|"+c.want, "|")
			if got := strings.Join(fields(string(ex.AppendHead(nil))), "|"); got != want {
				t.Errorf("request %q, want %q", got, want)
			}
			for _, line := range strings.Split(c.head, "\r\n") {
				if name, value, ok := strings.Cut(line, ": "); ok {
					ex.Resp.Add(name, []byte(value))
				}
			}
			if New(Config{Response: ResponseHeaders{Remove: c.edits.Remove, Set: c.edits.Set, Add: c.edits.Add}}).Step(ex, exchange.Header); ex.Resp.StatusCode() != 200 {
				t.Error("the status changed")
			}
			if got := strings.Join(fields(string(ex.Resp.Append(nil, time.Time{}))), "|"); got != c.want {
				t.Errorf("response %q, want %q", got, c.want)
			}
		})
	}
}

func TestEdits(t *testing.T) {
	f := New(Config{Response: ResponseHeaders{Remove: []string{"X"}}})
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
		ex.Resp.SetType(c.media)
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

func TestAddOnSuccess(t *testing.T) {
	f := New(Config{Response: ResponseHeaders{
		Add:          map[string]unit.Texts{"X-All": unit.MakeTexts(unit.MustTemplate("$status"))},
		AddOnSuccess: map[string]unit.Texts{"X-Good": unit.MakeTexts(unit.MustTemplate("a"), unit.MustTemplate("b"))},
	}})
	for status, good := range map[int]bool{
		200: true, 201: true, 202: false, 204: true, 206: true, 301: true, 302: true, 303: true, 304: true, 305: false,
		307: true, 308: true, 400: false, 404: false, 500: false,
	} {
		ex := edited(t, Config{}, "")
		ex.Resp.SetStatusCode(status)
		f.Step(ex, exchange.Header)
		want := []string{"X-All: " + strconv.Itoa(status)}
		if good {
			want = append(want, "X-Good: a", "X-Good: b")
		}
		got := slices.DeleteFunc(fields(string(ex.Resp.Append(nil, time.Time{}))), func(l string) bool { return !strings.HasPrefix(l, "X-") })
		if !slices.Equal(got, want) {
			t.Errorf("%d: %q, wanted %q", status, got, want)
		}
	}
	if f := New(Config{Response: ResponseHeaders{AddOnSuccess: map[string]unit.Texts{"X": unit.MakeTexts(unit.MustTemplate("a"))}}}); !f.Edits(exchange.Header) {
		t.Error("what is added to successes alone is no edit")
	}
}

func TestSubrequestsAreNotEdited(t *testing.T) {
	ex := edited(t, Config{}, "")
	ex.Parent = exchange.Acquire(nil, &exchange.Conn{})
	New(Config{Response: ResponseHeaders{Set: map[string]unit.Template{"X-A": unit.MustTemplate("a")}}}).Step(ex, exchange.Header)
	exchange.Release(ex.Parent)
	if v := ex.Resp.Peek("X-A"); v != nil {
		t.Errorf("X-A is %q", v)
	}
}
