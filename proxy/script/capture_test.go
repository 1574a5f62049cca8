package script

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// listed writes strings as capture.lua does.
func listed(list ...string) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(strconv.Itoa(len(s)) + ":" + s)
	}
	return b.String()
}

func TestParseCapture(t *testing.T) {
	plain := listed("GET", "/a", "", "0", "0", "", listed("0", "0"))
	full := listed("POST", "/b c", "x=1", "5", "7", "=bo:dy", listed("1", "v", "1:2", "2", "A", "a", "B", ""))
	for _, c := range []struct {
		name, text, fields string
		want               Capture
		bad                bool
	}{
		{name: "plain", text: plain, want: Capture{Subrequests: []Subrequest{{Method: "GET", Path: []byte("/a"), Query: []byte{}, Body: []byte{}}}}},
		{name: "full", text: full, want: Capture{Subrequests: []Subrequest{{
			Method: "POST", Path: []byte("/b c"), Query: []byte("x=1"), Share: true, Forward: true, Context: 7,
			Body: []byte("bo:dy"), HasBody: true,
			Vars:    []Pair{{[]byte("v"), []byte("1:2")}},
			Headers: []Pair{{[]byte("A"), []byte("a")}, {[]byte("B"), []byte{}}},
		}}}},
		{name: "fields", text: plain, fields: listed("Host", "h"), want: Capture{
			Fields:      []Pair{{[]byte("Host"), []byte("h")}},
			Subrequests: []Subrequest{{Method: "GET", Path: []byte("/a"), Query: []byte{}, Body: []byte{}}},
		}},
		{name: "cut", text: plain[:len(plain)-1], bad: true},
		{name: "no length", text: "x", bad: true},
		{name: "length too large", text: "99999999999:x", bad: true},
		{name: "number that is none", text: listed("GET", "/a", "", "x", "0", "", "1:01:0"), bad: true},
		{name: "more than was counted", text: listed("GET", "/a", "", "0", "0", "", listed("0", "0", "x")), bad: true},
		{name: "half a field", text: plain, fields: listed("Host"), bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseCapture([]byte(c.text), []byte(c.fields))
			if (err != nil) != c.bad {
				t.Fatalf("error %v", err)
			}
			if !c.bad && !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v\nwant %+v", got, c.want)
			}
		})
	}
}

func FuzzParseCapture(f *testing.F) {
	f.Add(listed("GET", "/a", "", "0", "0", "", listed("0", "0")), listed("Host", "h"))
	f.Add(listed("POST", "/b c", "x=1", "5", "7", "=bo:dy", listed("1", "v", "1:2", "1", "A", "a")), "")
	f.Fuzz(func(t *testing.T, text, fields string) {
		c, err := ParseCapture([]byte(text), []byte(fields))
		if err != nil {
			return
		}
		var n int
		for _, s := range c.Subrequests {
			n += len(s.Method) + len(s.Path) + len(s.Query) + len(s.Body)
			for _, p := range append(s.Vars, s.Headers...) {
				n += len(p.Name) + len(p.Value)
			}
		}
		if n > len(text) {
			t.Fatalf("%d bytes out of %d", n, len(text))
		}
	})
}
