package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"perigee/proxy/proxytest"
	"perigee/proxy/wire/testdata"
)

// addedFields are what the gateway tells the origin of its own.
var addedFields = []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"}

// recorder keeps what the connections of an origin received, per connection.
type recorder struct {
	mu    sync.Mutex
	bytes map[net.Conn]*bytes.Buffer
}

// take returns what arrived since the last take.
func (r *recorder) take() (all [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.bytes {
		if b.Len() > 0 {
			all = append(all, bytes.Clone(b.Bytes()))
			b.Reset()
		}
	}
	return all
}

// settle waits for bytes that may be on their way: until nothing has come for a
// while, and nothing lies unread.
func (r *recorder) settle() {
	for end, last := time.Now().Add(2*time.Second), -1; time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		n, unread := r.state()
		if n == last && !unread {
			return
		}
		last = n
	}
}

// state is how many bytes have come since the last take, and whether some are unread.
func (r *recorder) state() (n int, unread bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c, b := range r.bytes {
		n += b.Len()
		if raw, err := c.(syscall.Conn).SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { // of a closed one nothing is unread
				waits, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
				unread = unread || err == nil && waits > 0
			})
		}
	}
	return n, unread
}

func (r *recorder) reader(c net.Conn) io.Reader {
	r.mu.Lock()
	r.bytes[c] = &bytes.Buffer{}
	r.mu.Unlock()
	return readerFunc(func(p []byte) (int, error) {
		n, err := c.Read(p)
		r.mu.Lock()
		r.bytes[c].Write(p[:n])
		r.mu.Unlock()
		return n, err
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// hostileGateway is a gateway with the limits that the cases are written for.
func hostileGateway(t *testing.T) (*proxytest.Gateway, *recorder) {
	rec := &recorder{bytes: map[net.Conn]*bytes.Buffer{}}
	origin := proxytest.NewOrigin(t, func(c net.Conn, _ *bufio.Reader) {
		proxytest.Answering(func(r *http.Request, _ []byte) string {
			if r.Method == "HEAD" {
				return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
			}
			return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
		})(c, bufio.NewReader(rec.reader(c)))
	})
	limits := fmt.Sprintf("limits: {body_bytes: %d, header_timeout: %v, body_timeout: %v, idle_timeout: %v}\nupstreams:",
		testdata.BodyBytes, testdata.HeaderTime, testdata.BodyTime, testdata.IdleTime)
	return proxytest.Start(t, strings.Replace(configText(origin.Addr, proxyAll), "upstreams:", limits, 1)), rec
}

// TestHostileRequests replays every hostile request, and passes one only if the
// client and the origin got exactly what the case states.
func TestHostileRequests(t *testing.T) {
	var cases []testdata.Case
	for _, file := range []string{"heads.txt", "bodies.txt", "endtoend.txt"} {
		more, err := testdata.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, more...)
	}
	if len(cases) < 60 {
		t.Fatalf("%d cases, want at least 60", len(cases))
	}
	const lanes = 12
	for lane := range lanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			g, rec := hostileGateway(t)
			for i := lane; i < len(cases); i += lanes {
				c := &cases[i]
				t.Run(c.Name, func(t *testing.T) { runHostile(t, g, rec, c) })
			}
		})
	}
}

func runHostile(t *testing.T, g *proxytest.Gateway, rec *recorder, c *testdata.Case) {
	before := refusals(t, g, c.Reason)
	talk := converse(t, g.Addr, c)
	got := talk.statuses()
	if fmt.Sprint(got) != fmt.Sprint(c.Answers) && len(got)+len(c.Answers) > 0 {
		t.Errorf("%s:%d: answers %v, want %v\nbytes: %.300q", c.File, c.Line, got, c.Answers, talk.bytes())
	}
	if !talk.hungUp && talk.endedThen != c.Closed {
		t.Errorf("%s:%d: connection ended: %v, want %v", c.File, c.Line, talk.endedThen, c.Closed)
	}
	rec.settle() // for bytes that must not be there
	if err := c.CheckOrigin(rec.take(), addedFields...); err != nil {
		t.Errorf("%s:%d: %v", c.File, c.Line, err)
	}
	if c.Reason != "" && refusals(t, g, c.Reason) != before+1 {
		t.Errorf("%s:%d: the refusal was not counted as %s", c.File, c.Line, c.Reason)
	}
}

// refusals reads perigee_http_refused_total{reason}.
func refusals(t *testing.T, g *proxytest.Gateway, reason string) (n int) {
	var b bytes.Buffer
	if err := g.WriteMetrics(&b); err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^perigee_http_refused_total\{reason="` + regexp.QuoteMeta(reason) + `"\} (\d+)$`)
	if m := line.FindStringSubmatch(b.String()); m != nil {
		_, _ = fmt.Sscan(m[1], &n)
	}
	return n
}

// conversation is a client's connection as it went.
type conversation struct {
	hungUp    bool
	endedThen bool // the gateway had ended it when the client was done
	methods   []string

	mu  sync.Mutex
	b   []byte
	eof bool
}

// converse does what a case's client does and waits for its end.
func converse(t *testing.T, addr string, c *testdata.Case) *conversation {
	talk := &conversation{}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z]+) \S+ HTTP/1\.[01]\r?$`).FindAllSubmatch(c.Sent(), -1) {
		talk.methods = append(talk.methods, string(m[1]))
	}
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	defer func() { talk.endedThen = talk.ended() }() // before the Close above
	go talk.listen(nc)
	for _, s := range c.Steps {
		if len(s.Send) > 0 {
			if _, err := nc.Write(s.Send); err != nil {
				break // the gateway has refused it already
			}
		}
		time.Sleep(s.Wait)
		switch s.End {
		case testdata.EndWrite:
			_ = nc.(*net.TCPConn).CloseWrite()
		case testdata.EndAll:
			talk.hungUp = true
			_ = nc.Close()
			time.Sleep(50 * time.Millisecond)
			return talk
		}
	}
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline) && !talk.ended(); time.Sleep(2 * time.Millisecond) {
		if !c.Closed && len(talk.statuses()) >= len(c.Answers) {
			time.Sleep(60 * time.Millisecond) // a close would come with the answer
			return talk
		}
	}
	return talk
}

func (c *conversation) listen(nc net.Conn) {
	p := make([]byte, 4096)
	for {
		n, err := nc.Read(p)
		c.mu.Lock()
		c.b = append(c.b, p[:n]...)
		c.eof = c.eof || err != nil
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (c *conversation) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.eof
}

func (c *conversation) bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.b)
}

// statuses are the final status codes of the complete answers so far.
func (c *conversation) statuses() []int {
	r := bufio.NewReader(bytes.NewReader(c.bytes()))
	statuses := []int{}
	for {
		method := "GET"
		if len(statuses) < len(c.methods) {
			method = c.methods[len(statuses)]
		}
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return statuses
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return statuses
		}
		if res.StatusCode >= 200 {
			statuses = append(statuses, res.StatusCode)
		}
	}
}

// TestHostileResponses lets an origin answer with every hostile response.
func TestHostileResponses(t *testing.T) {
	cases, err := testdata.Read("responses.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i := range cases {
		c := &cases[i]
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			runResponse(t, c)
		})
	}
}

func runResponse(t *testing.T, c *testdata.Case) {
	origin := proxytest.NewOrigin(t, func(nc net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		for _, s := range c.Steps {
			_, _ = nc.Write(s.Send)
			time.Sleep(s.Wait)
			if s.End != testdata.EndNot {
				return
			}
		}
		// A second request on this connection would be answered by nothing.
		_, _ = io.Copy(io.Discard, r)
	})
	g := proxytest.Start(t, configText(origin.Addr, proxyAll))
	method := c.Asked
	if method == "" {
		method = "GET"
	}
	got := g.Talk(method+" / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", 3*time.Second)
	res, err := finalResponse(bufio.NewReader(strings.NewReader(got)), method)
	if err != nil {
		if len(c.Answers) > 0 {
			t.Fatalf("%s:%d: no answer (%v), want %v: %.300q", c.File, c.Line, err, c.Answers, got)
		}
		return
	}
	if len(c.Answers) == 0 || res.StatusCode != c.Answers[0] {
		t.Fatalf("%s:%d: status %d, want %v: %.300q", c.File, c.Line, res.StatusCode, c.Answers, got)
	}
	// A body that the origin broke off ends with an error, behind what came.
	body, err := io.ReadAll(res.Body)
	if c.HasBody && c.Reason != "" && res.StatusCode < 300 && err == nil {
		t.Errorf("%s:%d: the client takes a broken body for whole: %.200q", c.File, c.Line, got)
	}
	if c.HasBody && string(body) != c.Body {
		t.Errorf("%s:%d: body %.200q (%v), want %.200q", c.File, c.Line, body, err, c.Body)
	}
}

// finalResponse passes over interim responses.
func finalResponse(r *bufio.Reader, method string) (*http.Response, error) {
	for {
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil || res.StatusCode >= 200 || res.StatusCode == 101 {
			return res, err
		}
	}
}
