package upstream

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"perigee/proxy/wire"
)

// TestMain fails when a goroutine is left behind by the tests.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for _, name := range []string{"test.fuzz", "test.bench"} {
		if flag.Lookup(name).Value.String() != "" {
			os.Exit(code) // fuzzing and fasthttp's dialer leave goroutines
		}
	}
	for end := time.Now().Add(5 * time.Second); code == 0 && runtime.NumGoroutine() > before; {
		if time.Now().After(end) {
			all := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", all[:runtime.Stack(all, true)])
			code = 1
		}
		time.Sleep(10 * time.Millisecond)
	}
	os.Exit(code)
}

// origin serves each accepted connection with serve, which reads and writes the
// bytes itself, and closes it afterwards.
func origin(t testing.TB, serve func(c *net.TCPConn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// answering serves every request head with the same bytes.
func answering(response string) func(c *net.TCPConn) {
	return func(c *net.TCPConn) {
		for readRequest(c) {
			if _, err := io.WriteString(c, response); err != nil {
				return
			}
		}
	}
}

// answeringOnce is answering with an end of the connection after one response.
func answeringOnce(response string) func(c *net.TCPConn) {
	return func(c *net.TCPConn) {
		if readRequest(c) {
			_, _ = io.WriteString(c, response)
		}
	}
}

// readRequest reads until an empty line; requests come one at a time.
func readRequest(c io.Reader) bool {
	buf, n := make([]byte, 16<<10), 0
	for {
		m, err := c.Read(buf[n:])
		if err != nil {
			return false
		}
		n += m
		if strings.HasSuffix(string(buf[:n]), "\r\n\r\n") {
			return true
		}
	}
}

func testConfig(addresses ...string) *Config {
	c := &Config{}
	c.SetDefaults()
	for _, a := range addresses {
		c.Endpoints = append(c.Endpoints, EndpointConfig{Address: a, Weight: 1})
	}
	return c
}

func registry(t testing.TB) *Registry {
	r := NewRegistry()
	t.Cleanup(r.Close)
	return r
}

func group(t testing.TB, c *Config) *Group {
	t.Helper()
	g, err := NewGroup(registry(t), "test", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func endpoint(t testing.TB, serve func(c *net.TCPConn)) *Endpoint {
	t.Helper()
	return group(t, testConfig(origin(t, serve))).members[0].endpoint
}

var testTimeouts = Timeouts{
	Connect: 5 * time.Second, Send: 5 * time.Second, Response: 5 * time.Second, Read: 5 * time.Second,
}

const request = "GET / HTTP/1.1\r\nHost: origin\r\n\r\n"

// answer is what an exchange got.
type answer struct {
	heads    []string
	body     string
	trailers string
	kept     bool
	reused   bool
}

// exchange sends a request and reads the whole answer.
func exchange(e *Endpoint, t Timeouts, asked wire.Asked) (a answer, err error) {
	c, reused, err := e.Acquire(t)
	if err != nil {
		return answer{}, err
	}
	c.WriteLast([]byte(request), nil, nil)
	a, err = receive(c, asked)
	a.reused = reused
	if err != nil {
		c.Release(Abandoned)
		return a, err
	}
	a.kept = c.Release(Finished)
	return a, nil
}

// receive reads all of an answer.
func receive(c *Conn, asked wire.Asked) (a answer, err error) {
	var res wire.ResponseHead
	for res.Status < 200 && res.Status != 101 {
		raw, err := c.ReadHead(&res, asked)
		if err != nil {
			return a, err
		}
		a.heads = append(a.heads, string(raw))
	}
	var all strings.Builder
	for err == nil {
		var piece []byte
		piece, err = c.NextBody()
		all.Write(piece)
	}
	a.body = all.String()
	if !errors.Is(err, io.EOF) {
		return a, err
	}
	text, fields := c.Trailers()
	for _, f := range fields {
		a.trailers += fmt.Sprintf("%s=%s;", f.Name.Of(text), f.Value.Of(text))
	}
	return a, nil
}

// streaming answers with size bytes.
func streaming(size int, chunked bool) func(c *net.TCPConn) {
	return func(c *net.TCPConn) {
		if !readRequest(c) {
			return
		}
		const unit = 1 << 20
		piece := make([]byte, unit)
		head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		if chunked {
			head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			piece = fmt.Appendf(nil, "%x\r\n%s\r\n", unit, piece)
		}
		_, err := io.WriteString(c, head)
		for sent := 0; sent < size && err == nil; sent += unit {
			_, err = c.Write(piece)
		}
		if chunked {
			_, _ = io.WriteString(c, "0\r\n\r\n")
		}
		_, _ = c.Read(piece) // until the client closes
	}
}

func totalAlloc() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.TotalAlloc)
}

// flood is more than the sockets of a connection hold.
var flood = make([]byte, 64<<20)
