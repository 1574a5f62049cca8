package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
	"perigee/proxy/wire/testdata"
)

// bothDrivers are the addresses of one gateway's drivers.
type bothDrivers struct{ loop, goroutine string }

// driversGateway serves the same routes by both drivers; listener is what more
// their listeners have. Whatever a client does not finish ends soon.
func driversGateway(t testing.TB, listener string) bothDrivers {
	origin := proxytest.NewOrigin(t, proxytest.Answering(echo))
	text := fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", driver: loop%[2]s}, {address: "localhost:0", driver: goroutine%[2]s}]
admin: {address: "off"}
access_log: {format: "off"}
limits: {header_timeout: 2s, body_timeout: 2s, idle_timeout: 2s, body_bytes: 64KiB, body_buffer: 4KiB}
upstreams: {o: {endpoints: [%[1]q], timeouts: {response: 5s}}}
routes:
  - {name: all, match: {paths: ["/"]}, upstream: o}
  - {name: fixed, match: {paths: [/fixed]}, respond: {status: 203, body: "fixed\n"}}
  - name: read
    match: {paths: [/read]}
    lua:
      content: |
        ngx.req.read_body()
        local body = ngx.req.get_body_data()
        ngx.say(ngx.req.get_method(), " ", body and #body, " ", ngx.req.get_body_file() ~= nil)
  - name: pieces
    match: {paths: [/pieces]}
    lua:
      content: |
        for i = 1, 3 do
          ngx.say("piece ", i)
          ngx.flush(true)
          ngx.sleep(0.001)
        end
        local res = ngx.location.capture("/fixed")
        ngx.print(res.status, res.body)
  - name: socket
    match: {paths: [/socket]}
    lua:
      content: |
        local s = ngx.req.socket()
        local n = 0
        while s do
          local data, err, rest = s:receive(100)
          n = n + #(data or rest or "")
          if not data then break end
        end
        ngx.say("received ", n)
`, origin.Addr, listener)
	if listener != "" {
		text = strings.ReplaceAll(text, "_timeout: 2s", "_timeout: 5s") // handshakes take theirs
	}
	g := proxytest.Start(t, text)
	addresses := g.Addresses()
	return bothDrivers{addresses["127.0.0.1:0"].String(), addresses["localhost:0"].String()}
}

// said is what a server answered until it closed the connection, without what
// differs from one answer to the next.
func said(t testing.TB, addr string, stream, cuts []byte) string {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return saidTo(t, nc, stream, cuts)
}

// saidTo is said on a connection.
func saidTo(t testing.TB, nc net.Conn, stream, cuts []byte) string {
	addr := nc.RemoteAddr().String()
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(60 * time.Second))
	go func() {
		for i := 0; len(stream) > 0; i++ {
			n := len(stream)
			if i < len(cuts) {
				n = min(n, 1+int(cuts[i]))
			}
			if _, err := nc.Write(stream[:n]); err != nil {
				return
			}
			stream = stream[n:]
			if i%4 == 3 && i < len(cuts) {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	answer, err := io.ReadAll(nc)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("%v after %q", err, answer)
	}
	answer = bytes.ReplaceAll(answer, []byte(addr), []byte("HOST"))
	// Whether a body is asked for depends on whether it has come already.
	answer = bytes.ReplaceAll(answer, []byte("HTTP/1.1 100 Continue\r\n\r\n"), nil)
	return string(changing.ReplaceAll(answer, []byte("$1: -")))
}

var changing = regexp.MustCompile(`(?m)^(Date|X-Error-Id): [^\r\n]*`)

// requests are what streams are made of.
var requests = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n",
	"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /old HTTP/1.0\r\n\r\n",
	"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
	"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: v\r\n\r\n",
	"POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
	"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
	"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("x", 9000),
	"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n" + strings.Repeat("y", 40000),
	"POST /fixed HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n" + strings.Repeat("z", 300),
	"POST /socket HTTP/1.1\r\nHost: a\r\nContent-Length: 250\r\n\r\n" + strings.Repeat("s", 250),
	"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("q", 70000),
	"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\nHost: a\n\n",
	"\r\n\r\nGET /lines HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\ncut",
}

// randomStreams are each request alone, and some in a row.
func randomStreams(random *rand.Rand) (streams [][]byte) {
	for i := range requests {
		streams = append(streams, []byte(requests[i]+lastRequest))
	}
	for range 40 {
		var b strings.Builder
		for range 1 + random.Intn(6) {
			b.WriteString(requests[random.Intn(len(requests))])
		}
		streams = append(streams, []byte(b.String()+lastRequest))
	}
	return streams
}

const lastRequest = "GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

// TestDriversAgree sends both drivers the same streams in the same pieces: what
// clients see must not depend on who moves their requests.
func TestDriversAgree(t *testing.T) {
	at := driversGateway(t, "")
	random := rand.New(rand.NewSource(time.Now().UnixNano()))
	streams := randomStreams(random)
	lanes := make(chan struct{}, 8)
	for i, stream := range streams {
		cuts := make([]byte, random.Intn(40))
		_, _ = random.Read(cuts)
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			lanes <- struct{}{}
			defer func() { <-lanes }()
			agree(t, at, stream, cuts)
		})
	}
}

func agree(t testing.TB, at bothDrivers, stream, cuts []byte) {
	a, b := said(t, at.loop, stream, cuts), said(t, at.goroutine, stream, cuts)
	if a != b {
		t.Errorf("stream %.600q in pieces %v:\nloop      %.900q\ngoroutine %.900q", stream, cuts, a, b)
	}
}

func FuzzDriversAgree(f *testing.F) {
	at := driversGateway(f, "")
	for i, r := range requests {
		if len(r) < 1000 {
			f.Add([]byte(r+requests[(i+1)%8]), []byte{3, 200, 7, 1})
		}
	}
	for _, file := range []string{"heads.txt", "bodies.txt", "endtoend.txt"} {
		cases, err := testdata.Read(file)
		if err != nil {
			f.Fatal(err)
		}
		for i := range cases {
			f.Add(cases[i].Sent(), []byte{9})
		}
	}
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		if len(stream) > 20000 || len(cuts) > 200 {
			t.Skip()
		}
		agree(t, at, append(bytes.Clone(stream), lastRequest...), cuts)
	})
}
