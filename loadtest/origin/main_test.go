package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp/fasthttputil"
)

// client starts an origin in memory and answers a client that talks to it.
func client(t *testing.T) *http.Client {
	t.Helper()
	listener := fasthttputil.NewInmemoryListener()
	server := newServer()
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		listener.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return listener.Dial() },
		},
	}
}

func get(t *testing.T, c *http.Client, path string) (int, string) {
	t.Helper()
	response, err := c.Get("http://origin" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestAnswers(t *testing.T) {
	c := client(t)
	for _, test := range []struct {
		path   string
		status int
		body   string
	}{
		{"/", 200, "hello from the origin\n"},
		{"/bytes/0", 200, ""},
		{"/bytes/28", 200, "abcdefghijklmnopqrstuvwxyzab"},
		{"/bytes/-1", 400, "/bytes/-1: -1 is not within 0 and 1073741824\n"},
		{"/bytes/x", 400, "/bytes/x: \"x\" is no number\n"},
		{"/delay/1", 200, "after 1 ms\n"},
		{"/status/503", 503, "503\n"},
		{"/status/99", 400, "/status/99: 99 is not within 200 and 599\n"},
		{"/stream?chunks=2&every=0", 200, "chunk 1 of 2\nchunk 2 of 2\n"},
		{"/stream?chunks=-2", 400, "/stream: chunks: -2 is not within 0 and 10000\n"},
		{"/nothing", 404, "the origin knows /, /bytes/N, /delay/MS, /echo, /status/N and /stream\n"},
	} {
		status, body := get(t, c, test.path)
		if status != test.status || body != test.body {
			t.Errorf("%s: %d %q, want %d %q", test.path, status, body, test.status, test.body)
		}
	}
}

func TestBytesAreThePatternOverBuffers(t *testing.T) {
	_, body := get(t, client(t), "/bytes/100000")
	want := strings.Repeat("abcdefghijklmnopqrstuvwxyz", 4000)[:100000]
	if body != want {
		t.Errorf("%d bytes that are not the pattern", len(body))
	}
}

func TestEchoShowsHeadAndBody(t *testing.T) {
	request, err := http.NewRequest(http.MethodPost, "http://origin/echo?a=1", strings.NewReader("the body"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-One", "1")
	response, err := client(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"POST /echo?a=1\n", "X-One: 1\n", "\n\nthe body"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %q in %q", want, body)
		}
	}
	if date := response.Header.Get("Date"); date != "" {
		t.Errorf("Date %q makes answers differ between runs", date)
	}
}

func TestStreamLeavesChunkByChunk(t *testing.T) {
	start := time.Now()
	response, err := client(t).Get("http://origin/stream?chunks=2&every=1000")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	first := time.Since(start)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if second := time.Since(start); first >= time.Second || second < time.Second {
		t.Errorf("lines after %v and %v, want them a second apart", first, second)
	}
}
