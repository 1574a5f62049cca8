package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"

	"perigee/proxy/wire/testdata"
)

// small limits let the fuzzer reach them.
var small = Limits{HeaderBytes: 300, LineBytes: 60, Fields: 8}

func FuzzScanRequest(f *testing.F) {
	for _, c := range hostileCases(f) {
		if sent := c.Sent(); len(sent) < 1000 {
			f.Add(sent, uint64(len(sent)))
		}
	}
	f.Add([]byte("OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), uint64(1))
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64) {
		var h RequestHead
		n, err := ScanRequest(&h, slices.Clip(raw), 0, small)
		want := modelScanRequest(string(raw), small)
		status := 0
		switch {
		case err != nil:
			status = err.(*Error).Status
		case n == 0:
			status = -1
		}
		if status != want.status {
			t.Fatalf("status %d (%v), the model says %d", status, err, want.status)
		}
		sameInPieces(t, raw, seed, outcome{n, err, h.Fields})
		if n > 0 {
			sameAsModel(t, raw[:n], &h, want)
			sameAsNetHTTP(t, raw[:n], &h)
		}
	})
}

// outcome is what a scan has found.
type outcome struct {
	n      int
	err    error
	fields []Field
}

// sameInPieces scans raw again, cut by chance; want is the outcome at once.
func sameInPieces(t *testing.T, raw []byte, seed uint64, want outcome) {
	h := RequestHead{Head: Head{Fields: make([]Field, 0, seed%8)}}
	n, err := inPieces(raw, seed, func(buf []byte, from int) (int, error) {
		return ScanRequest(&h, buf, from, small)
	})
	if n != want.n || err != want.err || n > 0 && !slices.Equal(h.Fields, want.fields) {
		t.Fatalf("in pieces: %d, %v, %v; at once: %+v", n, err, h.Fields, want)
	}
}

// inPieces gives scan more and more of raw until it has an outcome.
func inPieces(raw []byte, seed uint64, scan func(buf []byte, from int) (int, error)) (n int, err error) {
	r := rand.New(rand.NewPCG(seed, 1))
	for from, to := 0, 0; to < len(raw); from = to {
		to = min(len(raw), to+1+r.IntN(1+r.IntN(40)))
		// Another address each time: only offsets may be kept.
		if n, err = scan(before(r, raw[:to]), from); n > 0 || err != nil {
			break
		}
	}
	return n, err
}

// before copies raw to memory that goes on with what would complete a head, or a line
// or a field, if it had come: what lies behind a buffer's end has no say.
func before(r *rand.Rand, raw []byte) []byte {
	behind := []string{"", ":", "\r\n", "\r\n\r\n", "\nHost: a\r\n\r\n", "a: b\r\n\r\n", " / HTTP/1.1\r\n\r\n", "\xff~\x7f\t"}
	buf := append(bytes.Clone(raw), behind[r.IntN(len(behind))]...)
	buf = append(buf, bytes.Repeat([]byte{0, ':', 'a', '\n'}[r.IntN(4):][:1], r.IntN(20))...)
	return buf[:len(raw)]
}

func sameAsModel(t *testing.T, raw []byte, h *RequestHead, m modelHead) {
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"size", len(raw), m.size},
		{"method", string(h.Method.Of(raw)), m.method},
		{"target", string(h.Target.Of(raw)), m.target},
		{"path", string(h.Path.Of(raw)), m.path},
		{"host", string(h.Host.Of(raw)), m.host},
		{"length", h.ContentLength, m.length},
		{"chunked", h.Chunked, m.chunked},
		{"close", h.Close, m.close},
		{"fields", len(h.Fields), len(m.names)},
	} {
		if c.got != c.want {
			t.Fatalf("%s is %v, the model says %v", c.what, c.got, c.want)
		}
	}
	for i, field := range h.Fields {
		name, value := lower(string(field.Name.Of(raw))), string(field.Value.Of(raw))
		if name != m.names[i] || value != m.values[i] {
			t.Fatalf("field %d is %q: %q, the model says %q: %q", i, name, value, m.names[i], m.values[i])
		}
		if known := field.ID.String(); known != "" && known != name {
			t.Fatalf("field %q is taken for %q", name, known)
		}
	}
}

// sameAsNetHTTP: what is taken here, net/http takes too, with the same framing.
// It knows no empty lines before a request, and wants escapes and trailer
// announcements to be good, which is not a matter of framing.
func sameAsNetHTTP(t *testing.T, raw []byte, h *RequestHead) {
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw[h.Method.Start:])))
	if err != nil {
		if strings.HasPrefix(err.Error(), "parse ") || strings.Contains(err.Error(), "bad trailer key") {
			return
		}
		t.Fatalf("net/http refuses %q: %v", raw, err)
	}
	length := h.ContentLength
	if h.Chunked {
		length = -1
	} else if length < 0 {
		length = 0
	}
	host := string(h.Host.Of(raw))
	if request.ContentLength != length || request.Method != string(h.Method.Of(raw)) ||
		request.RequestURI != string(h.Target.Of(raw)) || request.Close != h.Close ||
		request.Host != host && !strings.Contains(host, "%") ||
		h.Chunked != (len(request.TransferEncoding) == 1) {
		t.Fatalf("net/http reads %q as %+v", raw, request)
	}
}

func FuzzChunks(f *testing.F) {
	cases, err := testdata.Read("bodies.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		if _, body, ok := bytes.Cut(c.Sent(), []byte("\r\n\r\n")); ok && len(body) < 1000 {
			f.Add(body, uint64(len(body)))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64) {
		payload, used, done, err := decode(raw, func() int { return len(raw) })
		r := rand.New(rand.NewPCG(seed, 2))
		payload2, used2, done2, err2 := decode(raw, func() int { return 1 + r.IntN(1+r.IntN(30)) })
		if !bytes.Equal(payload, payload2) || used != used2 || done != done2 || err != err2 {
			t.Fatalf("at once %q %d %v %v, in pieces %q %d %v %v", payload, used, done, err, payload2, used2, done2, err2)
		}
		want, wantUsed, ok := modelChunks(string(raw))
		if ok != done || ok && (string(payload) != want || used != wantUsed) {
			t.Fatalf("%q: %q %d %v %v, the model says %q %d %v", raw, payload, used, done, err, want, wantUsed, ok)
		}
		if !done {
			return
		}
		theirs, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(raw)))
		if err != nil && strings.Contains(err.Error(), "too much") || err == bufio.ErrTooLong {
			return // net/http bounds framing more tightly
		}
		if err != nil && strings.Contains(err.Error(), "invalid byte in chunk length") {
			return // it knows no blanks before ';': a refusal, not another reading
		}
		if err != nil || !bytes.Equal(theirs, payload) {
			t.Fatalf("net/http decodes %q to %q, %v; here %q", raw, theirs, err, payload)
		}
	})
}

// decode reads a chunked body whose bytes come in pieces of the given sizes.
func decode(raw []byte, size func() int) (payload []byte, used int, done bool, err error) {
	var c Chunks
	for have := 0; have < len(raw) && !c.Done(); {
		have = min(len(raw), have+size())
		for used < have && !c.Done() {
			data, n, err := c.Next(bytes.Clone(raw[used:have]))
			payload, used = append(payload, data...), used+n
			if err != nil {
				return payload, used, false, err
			}
			if n == 0 {
				return nil, 0, false, fmt.Errorf("no progress at %d", used)
			}
		}
	}
	if c.Offset != int64(used) {
		return nil, 0, false, fmt.Errorf("offset %d after %d bytes", c.Offset, used)
	}
	return payload, used, c.Done(), nil
}

func FuzzScanResponse(f *testing.F) {
	cases, err := testdata.Read("responses.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		if sent := c.Sent(); len(sent) < 1000 {
			f.Add(sent, uint64(len(sent)), c.Asked == "HEAD")
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64, head bool) {
		asked, method := AskedOther, "GET"
		if head {
			asked, method = AskedHEAD, "HEAD"
		}
		var h ResponseHead
		n, err := ScanResponse(&h, slices.Clip(raw), 0, small, asked)
		if err != nil && err.(*Error).Status != 502 {
			t.Fatalf("refused as %v", err)
		}
		again := ResponseHead{Head: Head{Fields: make([]Field, 0, seed%8)}}
		n2, err2 := inPieces(raw, seed, func(buf []byte, from int) (int, error) {
			return ScanResponse(&again, buf, from, small, asked)
		})
		if n2 != n || err2 != err || n > 0 && !slices.Equal(again.Fields, h.Fields) {
			t.Fatalf("in pieces: %d, %v, %v; at once: %d, %v, %v", n2, err2, again.Fields, n, err, h.Fields)
		}
		if n == 0 {
			return
		}
		line, _, _ := strings.Cut(string(raw), "\r\n")
		if parts := modelStatusLine.FindStringSubmatch(line); parts == nil || parts[3] != fmt.Sprint(h.Status) {
			t.Fatalf("status line %q read as %d", line, h.Status)
		}
		if !strings.HasSuffix(string(raw[:n]), "\r\n\r\n") || strings.Count(string(raw[:n]), "\r\n\r\n") != 1 {
			t.Fatalf("head ends at %d in %q", n, raw)
		}
		for _, field := range strings.Split(strings.TrimSuffix(string(raw[len(line)+2:n]), "\r\n"), "\r\n") {
			if field != "" && !modelField.MatchString(field) {
				t.Fatalf("field line %q was taken", field)
			}
		}
		responseAsNetHTTP(t, raw[:n], &h, method)
	})
}

// responseAsNetHTTP compares the framing with net/http's. It repairs more, so
// only what is taken here is compared, and not where it follows no rule: a
// length on a status without a body.
func responseAsNetHTTP(t *testing.T, raw []byte, h *ResponseHead, method string) {
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), &http.Request{Method: method})
	if err != nil {
		if strings.Contains(err.Error(), "bad trailer key") || strings.Contains(err.Error(), "invalid Content-Length") ||
			strings.Contains(err.Error(), "bad Content-Length") {
			return // a list of equal lengths in one field
		}
		t.Fatalf("net/http refuses %q: %v", raw, err)
	}
	if response.StatusCode != h.Status {
		t.Fatalf("net/http reads status %d, here %d", response.StatusCode, h.Status)
	}
	switch h.Body {
	case BodyLength:
		if response.ContentLength != h.ContentLength {
			t.Fatalf("net/http reads %q with length %d", raw, response.ContentLength)
		}
	case BodyChunked:
		if len(response.TransferEncoding) != 1 {
			t.Fatalf("net/http reads %q without chunks", raw)
		}
	case BodyUntilClose:
		if response.ContentLength != -1 || !response.Close {
			t.Fatalf("net/http reads %q as %+v", raw, response)
		}
	case BodyNone:
		if body, _ := io.ReadAll(response.Body); len(body) > 0 {
			t.Fatalf("net/http reads a body of %q", raw)
		}
	}
}
