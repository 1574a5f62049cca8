package wire

import (
	"errors"
	"testing"
)

func scanOne(t *testing.T, raw string) (*RequestHead, int) {
	t.Helper()
	h := new(RequestHead)
	n, err := ScanRequest(h, []byte(raw), 0, Limits{})
	if err != nil {
		t.Fatalf("%q: %v at %d", raw, err, h.Offset)
	}
	return h, n
}

func TestRequestHead(t *testing.T) {
	raw := "\r\nPOST /a?b=c HTTP/1.1\r\nHost: example.com:80\r\nCoNtEnT-lEnGtH: \t7 \r\n" +
		"connection: close, X-Foo\r\nExpect: 100-Continue\r\nTE: gzip, Trailers\r\nX-Empty:\r\n\r\nbody..."
	h, n := scanOne(t, raw)
	buf := []byte(raw)
	if n != len(raw)-7 {
		t.Errorf("head ends at %d, want %d", n, len(raw)-7)
	}
	for _, c := range []struct{ what, got, want string }{
		{"method", string(h.Method.Of(buf)), "POST"},
		{"target", string(h.Target.Of(buf)), "/a?b=c"},
		{"path", string(h.Path.Of(buf)), "/a?b=c"},
		{"host", string(h.Host.Of(buf)), "example.com:80"},
		{"field 1", string(h.Fields[1].Value.Of(buf)), "7"},
		{"field 5", string(h.Fields[5].Value.Of(buf)), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s is %q, want %q", c.what, c.got, c.want)
		}
	}
	if h.ContentLength != 7 || h.Body != BodyLength || !h.Close || !h.ExpectContinue ||
		!h.TakesTrailers || h.Upgrade || h.Minor != 1 || h.Form != FormOrigin {
		t.Errorf("head read as %+v", h)
	}
	if !h.Lists(buf, "x-foo") || h.Lists(buf, "x-bar") {
		t.Error("Lists does not follow the Connection field")
	}
}

func TestRequestMeaning(t *testing.T) {
	cases := []struct {
		name, raw string
		check     func(h *RequestHead, buf []byte) bool
	}{
		{"1.1 persists", "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
			func(h *RequestHead, _ []byte) bool { return !h.Close && h.Body == BodyNone && h.ContentLength == -1 }},
		{"1.0 closes", "GET / HTTP/1.0\r\n\r\n",
			func(h *RequestHead, _ []byte) bool { return h.Close && h.Host.Len() == 0 }},
		{"1.0 may ask to persist", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
			func(h *RequestHead, _ []byte) bool { return !h.Close }},
		{"close wins over keep-alive", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: ,close,\r\n\r\n",
			func(h *RequestHead, _ []byte) bool { return h.Close }},
		{"absolute target replaces Host", "GET http://b:81?q HTTP/1.1\r\nHost: a\r\n\r\n",
			func(h *RequestHead, buf []byte) bool {
				return h.Form == FormAbsolute && string(h.Host.Of(buf)) == "b:81" && string(h.Path.Of(buf)) == "?q"
			}},
		{"absolute target without path", "GET HTTPS://[::1] HTTP/1.1\r\nHost: a\r\n\r\n",
			func(h *RequestHead, buf []byte) bool {
				return string(h.Host.Of(buf)) == "[::1]" && h.Path.Len() == 0
			}},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
			func(h *RequestHead, _ []byte) bool { return h.Form == FormAsterisk }},
		{"upgrade", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			func(h *RequestHead, _ []byte) bool { return h.Upgrade }},
		{"upgrade not listed", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
			func(h *RequestHead, _ []byte) bool { return !h.Upgrade }},
		{"upgrade in 1.0", "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
			func(h *RequestHead, _ []byte) bool { return !h.Upgrade }},
		{"chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n",
			func(h *RequestHead, _ []byte) bool { return h.Chunked && h.Body == BodyChunked }},
		{"empty body needs no 100", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
			func(h *RequestHead, _ []byte) bool { return !h.ExpectContinue && h.Body == BodyNone }},
		{"largest length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 009223372036854775807\r\n\r\n",
			func(h *RequestHead, _ []byte) bool { return h.ContentLength == 1<<63-1 }},
		{"UTF-8 in target and value", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\tb\r\n\r\n",
			func(h *RequestHead, buf []byte) bool { return string(h.Fields[1].Value.Of(buf)) == "\xc3\xa9\tb" }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h, n := scanOne(t, c.raw)
			if n != len(c.raw) || !c.check(h, []byte(c.raw)) {
				t.Errorf("read as %d bytes, %+v", n, h)
			}
		})
	}
}

// A head that was used before must not remember anything.
func TestRequestHeadIsReusable(t *testing.T) {
	h := new(RequestHead)
	first := "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
	if _, err := ScanRequest(h, []byte(first), 0, Limits{}); err != nil {
		t.Fatal(err)
	}
	second := "GET / HTTP/1.1\r\nHost: b\r\n\r\n"
	if _, err := ScanRequest(h, []byte(second), 0, Limits{}); err != nil {
		t.Fatal(err)
	}
	if len(h.Fields) != 1 || h.ContentLength != -1 || h.Close || h.Body != BodyNone || h.Has(FieldConnection) {
		t.Errorf("the second head is %+v", h)
	}
}

func TestLimitsAreExact(t *testing.T) {
	head := "GET /aa HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
	cases := []struct {
		name string
		lim  Limits
		want error
	}{
		{"fits", Limits{HeaderBytes: len(head), LineBytes: 16, Fields: 2}, nil},
		{"one byte over", Limits{HeaderBytes: len(head) - 1, LineBytes: 16, Fields: 2}, ErrHeaderBytes},
		{"line one byte over", Limits{HeaderBytes: len(head), LineBytes: 15, Fields: 2}, ErrLineBytes},
		{"one field over", Limits{HeaderBytes: len(head), LineBytes: 16, Fields: 1}, ErrFieldCount},
		{"line over the whole", Limits{HeaderBytes: 10, LineBytes: 15, Fields: 1}, ErrLineBytes},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var h RequestHead
			if _, err := ScanRequest(&h, []byte(head), 0, c.lim); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestScanningAllocatesNothing(t *testing.T) {
	good := []byte("GET /a HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nCookie: a=b\r\n\r\n")
	evil := []byte("GET /a HTTP/1.1\r\nHost: a\r\nAccept : */*\r\n\r\n")
	h := new(RequestHead)
	if got := testing.AllocsPerRun(100, func() {
		_, _ = ScanRequest(h, good, 0, Limits{})
		_, _ = ScanRequest(h, evil, 0, Limits{})
	}); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}
