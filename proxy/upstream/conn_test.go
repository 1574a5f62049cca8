package upstream

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"perigee/proxy/wire"
)

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
		buf := make([]byte, 16<<10)
		for readRequest(c, buf) {
			if _, err := c.Write([]byte(response)); err != nil {
				return
			}
		}
	}
}

// readRequest reads until an empty line; requests come one at a time.
func readRequest(c io.Reader, buf []byte) bool {
	n := 0
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

func group(t testing.TB, change func(*Config), addresses ...string) *Group {
	t.Helper()
	var c Config
	c.SetDefaults()
	for _, a := range addresses {
		c.Endpoints = append(c.Endpoints, EndpointConfig{Address: a, Weight: 1})
	}
	if change != nil {
		change(&c)
	}
	r := NewRegistry()
	g, err := NewGroup(r, "test", &c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Close()
		r.Close()
	})
	return g
}

func endpoint(t testing.TB, serve func(c *net.TCPConn)) *Endpoint {
	t.Helper()
	return group(t, nil, origin(t, serve)).members[0].endpoint
}

var testTimeouts = Timeouts{Connect: time.Second, Send: time.Second, Response: time.Second, Read: time.Second}

const request = "GET / HTTP/1.1\r\nHost: origin\r\n\r\n"

// exchange sends a request and reads the whole answer.
func exchange(t testing.TB, e *Endpoint, asked wire.Asked) (heads []string, body string, err error) {
	t.Helper()
	c, _, err := e.Acquire(testTimeouts)
	if err != nil {
		return nil, "", err
	}
	heads, body, err = converse(c, asked)
	if err != nil {
		c.Release(Abandoned)
	} else {
		c.Release(Finished)
	}
	return heads, body, err
}

func converse(c *Conn, asked wire.Asked) (heads []string, body string, err error) {
	if err := c.Write([]byte(request), nil, nil); err != nil {
		return nil, "", err
	}
	c.SentAll()
	var res wire.ResponseHead
	for {
		raw, err := c.ReadHead(&res, asked)
		if err != nil {
			return heads, "", err
		}
		heads = append(heads, string(raw))
		if res.Status >= 200 || res.Status == 101 {
			break
		}
	}
	var all strings.Builder
	for {
		piece, err := c.NextBody()
		if errors.Is(err, io.EOF) {
			return heads, all.String(), nil
		}
		if err != nil {
			return heads, all.String(), err
		}
		all.Write(piece)
	}
}

func TestExchangeKeepsConnection(t *testing.T) {
	e := endpoint(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	for range 3 {
		_, body, err := exchange(t, e, wire.AskedOther)
		if err != nil || body != "hello" {
			t.Fatalf("body %q, error %v", body, err)
		}
	}
	if i := e.Info(); i.Dialed != 1 || i.Reused != 2 || i.Idle != 1 || i.InFlight != 0 {
		t.Errorf("after 3 exchanges: %+v", i)
	}
}
