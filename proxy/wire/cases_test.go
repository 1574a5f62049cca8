package wire

import (
	"strings"
	"testing"
	"time"

	"perigee/proxy/wire/testdata"
)

func TestCasesAreParsed(t *testing.T) {
	cases, err := testdata.Parse("x", "# c\ncase: one\nwhy: w\nsend: \"a\\r\\n\" \"b\" * 3\n  \"c\"\nwait: 20ms\nend: write\n"+
		"answers: 200 400 bad\norigin: \"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\"\n\ncase: two\nsend: \"\"\nanswers: nothing\nclosed: yes\n")
	if err != nil || len(cases) != 2 {
		t.Fatal(cases, err)
	}
	c := cases[0]
	if string(c.Sent()) != "a\r\nbbbc" || c.Steps[1].Wait != 20*time.Millisecond || c.Steps[2].End != testdata.EndWrite {
		t.Errorf("steps %+v", c.Steps)
	}
	if len(c.Answers) != 2 || c.Reason != "bad" || !c.Closed || c.Line != 2 || len(c.Origin) != 1 {
		t.Errorf("case %+v", c)
	}
	if two := cases[1]; !two.Closed || len(two.Answers) != 0 || two.Reason != "" {
		t.Errorf("case %+v", two)
	}
}

func TestBrokenCasesAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no key":            "case: a\nhello\n",
		"unknown key":       "case: a\nsent: \"\"\n",
		"before a case":     "send: \"\"\n",
		"no literal":        "case: a\nsend: abc\n",
		"no count":          "case: a\nsend: \"a\" * b\n",
		"continued nothing": "case: a\nwhy: b\n \"c\"\n",
		"no answers":        "case: a\nsend: \"\"\n",
		"name twice":        "case: a\nsend: \"\"\nanswers: 200\ncase: a\n",
		"no status":         "case: a\nanswers: x\n",
		"two reasons":       "case: a\nanswers: 400 x y\n",
		"no end":            "case: a\nend: soon\n",
		"no duration":       "case: a\nwait: soon\n",
	} {
		if _, err := testdata.Parse("x", text); err == nil || !strings.HasPrefix(err.Error(), "x:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckOrigin(t *testing.T) {
	const get = "GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
	cases := []struct {
		name string
		c    testdata.Case
		got  []string
		ok   bool
	}{
		{"nothing wanted, nothing came", testdata.Case{}, nil, true},
		{"nothing wanted", testdata.Case{}, []string{get}, false},
		{"as wanted", testdata.Case{Origin: []string{get}}, []string{get}, true},
		{"own fields do not count", testdata.Case{Origin: []string{get}},
			[]string{"GET /a HTTP/1.1\r\nx: y\r\nHOST: a\r\nVia: 1.1 me\r\nConnection: close\r\n\r\n"}, true},
		{"other field", testdata.Case{Origin: []string{get}}, []string{"GET /a HTTP/1.1\r\nHost: a\r\nX: z\r\n\r\n"}, false},
		{"other payload", testdata.Case{Origin: []string{get + "abc"}},
			[]string{"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\nContent-Length: 2\r\n\r\nab"}, false},
		{"chunks are payload", testdata.Case{Origin: []string{get + "abc"}},
			[]string{"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"}, true},
		{"twice", testdata.Case{Origin: []string{get}}, []string{get + get}, false},
		{"over two connections", testdata.Case{Origin: []string{get, get}}, []string{get, get}, true},
		{"begun and allowed", testdata.Case{Cut: get}, []string{"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na"}, true},
		{"begun with half a line", testdata.Case{Cut: get}, []string{"GET /a HT"}, true},
		{"begun but another", testdata.Case{Cut: get}, []string{"GET /b HTTP/1.1\r\nHo"}, false},
		{"begun and not allowed", testdata.Case{}, []string{"GET /a HT"}, false},
		{"completed what may only begin", testdata.Case{Cut: get}, []string{get}, false},
		{"garbage", testdata.Case{}, []string{"\x00\r\n\r\n"}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got [][]byte
			for _, raw := range c.got {
				got = append(got, []byte(raw))
			}
			if err := c.c.CheckOrigin(got, "Via"); (err == nil) != c.ok {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestEveryCaseGivesAReason(t *testing.T) {
	for _, name := range []string{"heads.txt", "bodies.txt", "endtoend.txt", "responses.txt"} {
		cases, err := testdata.Read(name)
		if err != nil {
			t.Error(err)
		}
		for _, c := range cases {
			if c.Why == "" {
				t.Errorf("%s:%d: case %q gives no reason", c.File, c.Line, c.Name)
			}
		}
	}
}
