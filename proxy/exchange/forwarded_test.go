package exchange

import (
	"slices"
	"strings"
	"testing"

	"perigee/proxy/wire"
)

func TestForwardedFieldsToSend(t *testing.T) {
	const head = "X-Forwarded-For: 1\r\nx-forwarded-for: 2\r\nX-Real-IP: 3\r\nX-Forwarded-Port: 4\r\nX-A: a\r\n"
	edits := map[string]func(*Exchange){
		"none": func(*Exchange) {},
		"added": func(ex *Exchange) {
			ex.AddRequestHeader("X-Forwarded-For", []byte("own"))
			ex.AddRequestHeader("X-REAL-IP", []byte("own"))
		},
		"set":     func(ex *Exchange) { ex.SetRequestHeader("x-forwarded-for", []byte("own")) },
		"deleted": func(ex *Exchange) { ex.DelRequestHeader("x-forwarded-for") },
	}
	for _, c := range []struct {
		name, edit   string
		own, trusted bool
		want         string
	}{
		{"passed", "none", false, false, "X-Forwarded-For: 1|x-forwarded-for: 2|X-Real-IP: 3|X-Forwarded-Port: 4|X-A: a"},
		{"own", "none", true, false, "X-A: a"},
		{"own behind a trusted proxy", "none", true, true, "X-Real-IP: 3|X-Forwarded-Port: 4|X-A: a"},
		{"a filter's stay beside the client's", "added", false, false,
			"X-Forwarded-For: 1|x-forwarded-for: 2|X-Real-IP: 3|X-Forwarded-Port: 4|X-A: a|X-Forwarded-For: own|X-REAL-IP: own"},
		{"a filter's stay alone", "added", true, false, "X-A: a|X-Forwarded-For: own|X-REAL-IP: own"},
		{"set by a filter", "set", true, false, "X-A: a|x-forwarded-for: own"},
		{"deleted by a filter", "deleted", false, false, "X-Real-IP: 3|X-Forwarded-Port: 4|X-A: a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ex := Acquire(nil, &Conn{Trusted: c.trusted})
			defer Release(ex)
			ex.Raw = []byte("GET / HTTP/1.1\r\n" + head + "Host: a\r\n\r\n")
			if _, err := wire.ScanRequest(&ex.Head, ex.Raw, 0, wire.Limits{}); err != nil {
				t.Fatal(err)
			}
			ex.BeginRequest()
			edits[c.edit](ex)
			lines := strings.Split(string(ex.AppendToSend(nil, c.own)), "\r\n")
			lines = slices.DeleteFunc(lines[1:], func(l string) bool { return l == "" || l == "Host: a" })
			want := strings.Split(c.want, "|")
			if !slices.Equal(lines, want) {
				t.Errorf("sent %q, wanted %q", lines, want)
			}
		})
	}
}
