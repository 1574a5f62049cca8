package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// through is a configuration that sends everything to one upstream.
func through(listen, origin string) string {
	return fmt.Sprintf(`
listeners: [{address: %q}]
admin: {address: "off"}
access_log: {format: "off"}
upstreams: {o: {endpoints: [%q]}}
routes: [{name: all, match: {paths: ["/"]}, upstream: o}]
`, listen, origin)
}

// Several requests of every shape on one connection, which stays.
func TestKeepAlive(t *testing.T) {
	addr := freeAddr(t)
	runGateway(t, through(addr, nginxOrigin(t)), addr)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	for _, tt := range []struct {
		method, path, rest string
		status             int
		body               string
	}{
		{"GET", "/", "\r\n", 200, "from nginx\n"},
		{"HEAD", "/", "\r\n", 200, ""},
		{"POST", "/seen", "Content-Length: 4\r\n\r\nbody", 200, "|127.0.0.1|POST\n"},
		{"POST", "/seen", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 200, "|127.0.0.1|POST\n"},
		{"GET", "/empty", "\r\n", 204, ""},
		{"GET", "/", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n\r\n", 200, "from nginx\n"},
		{"GET", "/teapot", "\r\n", 418, "short and stout\n"},
	} {
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: h\r\n%s", tt.method, tt.path, tt.rest)
		res, err := http.ReadResponse(r, &http.Request{Method: tt.method})
		if err != nil {
			t.Fatalf("%s %s: %v", tt.method, tt.path, err)
		}
		body, err := io.ReadAll(res.Body)
		if res.StatusCode != tt.status || string(body) != tt.body || err != nil {
			t.Errorf("%s %s: %d %q %v", tt.method, tt.path, res.StatusCode, body, err)
		}
	}
}

// A 304 of nginx passes with its validators and without a body.
func TestNotModified(t *testing.T) {
	addr := freeAddr(t)
	runGateway(t, through(addr, nginxOrigin(t)), addr)
	first, err := http.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	first.Body.Close()
	tag := first.Header.Get("ETag")
	req, _ := http.NewRequest("GET", "http://"+addr+"/", nil)
	req.Header.Set("If-None-Match", tag)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 304 || res.Header.Get("ETag") != tag || tag == "" {
		t.Errorf("%d with ETag %q, want 304 with %q", res.StatusCode, res.Header.Get("ETag"), tag)
	}
}

// An origin that dies under load and comes back: 502 in between, no hang, and
// answers afterwards.
func TestOriginDies(t *testing.T) {
	addr, originAddr := freeAddr(t), freeAddr(t)
	serve := func() *httptest.Server {
		ln, err := net.Listen("tcp", originAddr)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "alive")
		}))
		s.Listener.Close()
		s.Listener = ln
		s.Start()
		return s
	}
	origin := serve()
	runGateway(t, through(addr, originAddr), addr)
	stop, counted := make(chan struct{}), make(chan map[int]int)
	client := &http.Client{Timeout: 5 * time.Second}
	for range 4 {
		go func() {
			counts := map[int]int{}
			for {
				select {
				case <-stop:
					counted <- counts
					return
				default:
				}
				res, err := client.Get("http://" + addr)
				if err != nil {
					counts[0]++
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				counts[res.StatusCode]++
			}
		}()
	}
	sees := func(want int) bool {
		for range 500 {
			if status, _ := get(t, "http://"+addr); status == want {
				return true
			}
			time.Sleep(10 * time.Millisecond)
		}
		return false
	}
	up := sees(200)
	origin.CloseClientConnections()
	origin.Close()
	down := sees(502)
	origin = serve()
	defer origin.Close()
	if again := sees(200); !up || !down || !again {
		t.Errorf("200 before: %v, 502 while it is away: %v, 200 again: %v", up, down, again)
	}
	close(stop)
	for range 4 {
		for status, n := range <-counted {
			if status != 200 && status != 502 {
				t.Errorf("status %d %d times", status, n)
			}
		}
	}
}

// A tunnel and a stream of events that began before a reload go on after it.
func TestStreamsSurviveReload(t *testing.T) {
	next := make(chan string)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ping" {
			return
		}
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Content-Type", "text/event-stream")
			for event := range next {
				fmt.Fprintf(w, "data: %s\n\n", event)
				w.(http.Flusher).Flush()
			}
			return
		}
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(c, rw)
	}))
	defer origin.Close()
	addr := freeAddr(t)
	config := through(addr, origin.Listener.Addr().String())
	r := runGateway(t, config, addr)

	events, err := (&http.Client{Timeout: 20 * time.Second}).Get(sendFirst(next, "http://"+addr))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	tunnel, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.Close()
	_ = tunnel.SetDeadline(time.Now().Add(15 * time.Second))
	fmt.Fprint(tunnel, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	echo, stream := bufio.NewReader(tunnel), bufio.NewReader(events.Body)
	if res, err := http.ReadResponse(echo, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("upgrade: %v %v", res, err)
	}
	pass := func(word string) {
		fmt.Fprintln(tunnel, word)
		if line, err := echo.ReadString('\n'); line != word+"\n" {
			t.Errorf("tunnel, %s: %q %v", word, line, err)
		}
		line, err := stream.ReadString('\n')
		if _, e := stream.ReadString('\n'); e != nil || line != "data: "+word+"\n" {
			t.Errorf("events, %s: %q %v", word, line, err)
		}
	}
	pass("before")
	write(t, r.config, strings.Replace(config, "upstream: o}]", `respond: {body: new}}]`, 1))
	_ = r.cmd.Process.Signal(syscall.SIGHUP)
	for range 200 {
		if _, body := get(t, "http://"+addr+"/ping"); body == "new" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	go func() { next <- "after"; close(next) }()
	pass("after")
}

// sendFirst gives the first event once somebody asks for url.
func sendFirst(next chan<- string, url string) string {
	go func() { next <- "before" }()
	return url
}

// Time from starting the program to the first answer of a script; the bound is
// for machines under load, the log has the time.
func TestColdStart(t *testing.T) {
	addr, path := freeAddr(t), filepath.Join(t.TempDir(), "perigee.yaml")
	write(t, path, fmt.Sprintf(`
listeners: [{address: %q}]
admin: {address: "off"}
routes: [{name: r, match: {paths: ["/"]}, lua: {content: 'ngx.say("up")'}}]
`, addr))
	begin := time.Now()
	launch(t, addr, "run", "-c", path)
	_, body := get(t, "http://"+addr)
	took := time.Since(begin)
	t.Logf("%v from start to answer", took)
	if body != "up\n" || took > 2*time.Second {
		t.Errorf("%q after %v", body, took)
	}
}

// TestExplainGolden: the whole text of an explanation.
func TestExplainGolden(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "perigee.yaml"), `
listeners: [{address: ":18"}]
upstreams: {o: {endpoints: ["127.0.0.1:9001", {address: "127.0.0.1:9002", weight: 2}]}}
routes:
  - {name: exact, match: {paths: ["= /a"]}, respond: {status: 204}}
  - {name: post, match: {paths: [/], methods: [POST]}, upstream: o}
  - name: all
    match: {paths: [/]}
    lua: {access: 'ngx.exit(403)'}
    upstream: o
`)
	_, out, errs := execute(t, "explain", "-c", filepath.Join(dir, "perigee.yaml"), "GET", "/b")
	want, err := os.ReadFile("testdata/explain.txt")
	if err != nil || out != string(want) {
		t.Errorf("%v %s\ngot:\n%s\nwant:\n%s", err, errs, out, want)
	}
}
