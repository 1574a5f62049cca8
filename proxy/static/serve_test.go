package static_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"perigee/proxy/proxytest"
)

// modified is the time of every file in the site.
var modified = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

const (
	dated = "Wed, 04 Mar 2026 05:06:07 GMT"
	later = "Wed, 04 Mar 2026 05:06:08 GMT"
	older = "Wed, 04 Mar 2026 05:06:06 GMT"
)

// site writes files and links below a fresh folder.
func site(t testing.TB) string {
	t.Helper()
	top := t.TempDir()
	for name, text := range map[string]string{
		"www/index.html": "<p>home", "www/a.txt": "0123456789", "www/sub/index.htm": "<p>sub", "www/bare/x.css": "p{}",
		"www/empty": "", "www/.env": "secret", "www/.well-known/x": "known", "www/a b.txt": "blank",
		"other/secret": "secret", "www/dir.html/x": "x", "www/closed": "closed",
	} {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"www/in": "a.txt", "www/out": "../other/secret", "www/away": "../other"} {
		if err := os.Symlink(to, filepath.Join(top, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(top, "www/fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	return top
}

const routes = `
listeners: [{address: "127.0.0.1:0"}]
workers: 1
access_log: {format: off}
prefix: %s
routes:
  - {name: all, match: {paths: [/]}, static: {root: www, index: [index.html, index.htm]}}
  - {name: alias, match: {paths: [/alias/]}, static: {alias: www/sub}}
  - {name: one, match: {paths: ["= /one"]}, static: {alias: www/a.txt}}
  - {name: any, match: {paths: [/any/]}, static: {alias: www, symlinks: follow, hidden: true, etag: false}}
  - {name: none, match: {paths: [/none/]}, static: {alias: www, symlinks: refuse}}
  - {name: expression, match: {paths: ['~ ^/x/(.*)\.y$']}, static: {alias: www/$1, default_type: text/plain}, transform: {charset: utf-8}}
  - {name: try, match: {paths: [/try/]}, static: {alias: www, try_files: [$uri, $uri/, "@fallback"], index: [index.html, index.htm]}}
  - {name: code, match: {paths: [/code/]}, static: {alias: www, try_files: [$uri, "=410"]}}
  - {name: spa, match: {paths: [/spa/]}, static: {alias: www, try_files: [$uri, "/spa/index.html?from=$uri"]}}
  - {name: last, match: {paths: [/last/]}, static: {alias: www, index: [none.html, /alias/index.htm]}}
  - {name: round, match: {paths: [/round/]}, static: {alias: www, try_files: [$uri, /round/none]}}
  - {name: before, match: {paths: [/before/]}, if_modified_since: before, static: {alias: www}}
  - {name: off, match: {paths: [/off/]}, if_modified_since: off, static: {alias: www, max_ranges: 0}}
  - name: fallback
    internal: true
    lua: {content: 'ngx.print("fallback ", ngx.var.uri, " ", ngx.var.args)'}
  - name: filtered
    match: {paths: [/filtered/]}
    static: {alias: www}
    lua:
      access: 'ngx.header.x_access = "yes"'
      header_filter: 'ngx.header.content_length = nil ngx.header.x_status = ngx.status ngx.header.x_type = ngx.header.content_type'
      body_filter: 'ngx.arg[1] = ngx.arg[1]:upper()'
`

func start(t *testing.T) (*proxytest.Gateway, string) {
	top := site(t)
	return proxytest.Start(t, fmt.Sprintf(routes, top)), top
}

func TestFiles(t *testing.T) {
	g, _ := start(t)
	const etag = `"69a7bdbf-a"`
	for _, c := range []struct {
		name, request, headers string
		status                 int
		want                   string // "Name: value" lines that must be there, "!Name" ones that must not, then the body behind a "|"
	}{
		{"file", "GET /a.txt", "", 200, "Content-Type: text/plain\nContent-Length: 10\nLast-Modified: " + dated + "\nETag: " + etag + "\nAccept-Ranges: bytes|0123456789"},
		{"head", "HEAD /a.txt", "", 200, "Content-Type: text/plain\nContent-Length: 10\nETag: " + etag + "|"},
		{"empty file", "GET /empty", "", 200, "Content-Length: 0\nContent-Type: application/octet-stream|"},
		{"escaped name", "GET /a%20b.txt", "", 200, "|blank"},
		{"index", "GET /", "", 200, "Content-Type: text/html\nContent-Length: 7|<p>home"},
		{"second index", "GET /sub/", "", 200, "|<p>sub"},
		{"directory without slash", "GET /sub?x=1", "", 301, "Location: /sub/?x=1|301 Moved Permanently\n"},
		{"directory whose name is odd", "GET /dir.html", "", 301, "Location: /dir.html/|301 Moved Permanently\n"},
		{"directory without index", "GET /bare/", "", 403, "|403 Forbidden\n"},
		{"nothing there", "GET /nothing", "", 404, "|404 Not Found\n"},
		{"no directory there", "GET /nothing/", "", 404, "|404 Not Found\n"},
		{"file as a directory", "GET /a.txt/", "", 404, "|404 Not Found\n"},
		{"post", "POST /a.txt", "", 405, "Allow: GET, HEAD|405 Method Not Allowed\n"},
		{"post to nothing", "POST /nothing", "", 404, "|404 Not Found\n"},
		{"put", "PUT /nothing", "", 405, "Allow: GET, HEAD|405 Method Not Allowed\n"},
		{"delete a directory", "DELETE /sub/", "", 405, "|405 Method Not Allowed\n"},
		{"hidden", "GET /.env", "", 404, "|404 Not Found\n"},
		{"hidden but allowed", "GET /any/.env", "", 200, "!ETag|secret"},
		{"well known", "GET /.well-known/x", "", 200, "|known"},
		{"fifo", "GET /fifo", "", 404, "|404 Not Found\n"},
		{"link inside", "GET /in", "", 200, "|0123456789"},
		{"link out", "GET /out", "", 403, "|403 Forbidden\n"},
		{"through a link out", "GET /away/secret", "", 403, "|403 Forbidden\n"},
		{"link out that is followed", "GET /any/out", "", 200, "|secret"},
		{"link that is refused", "GET /none/in", "", 403, "|403 Forbidden\n"},
		{"dots that stay inside", "GET /sub/../a.txt", "", 200, "|0123456789"},
		{"alias", "GET /alias/index.htm", "", 200, "|<p>sub"},
		{"alias climbs nowhere", "GET /alias%2e%2e/a.txt", "", 404, "|404 Not Found\n"},
		{"alias of a file", "GET /one", "", 200, "Content-Type: application/octet-stream|0123456789"},
		{"expression", "GET /x/a.txt.y", "", 200, "Content-Type: text/plain; charset=utf-8|0123456789"},
		{"expression climbs nowhere", "GET /x/..%5c..%2f.y", "", 404, "|404 Not Found\n"},
		{"try finds a file", "GET /try/a.txt", "", 200, "|0123456789"},
		{"try finds a directory", "GET /try/sub", "", 200, "|<p>sub"},
		{"try goes on with a route", "GET /try/nothing?x=1", "", 200, "|fallback /try/nothing x=1"},
		{"try is not for special files", "GET /try/fifo", "", 404, "|404 Not Found\n"},
		{"try answers a code", "GET /code/nothing", "", 410, "|410 Gone\n"},
		{"try answers a file", "GET /code/a.txt", "", 200, "|0123456789"},
		{"try goes on with a path", "GET /spa/deep/link?q", "", 200, "Content-Type: text/html|<p>home"},
		{"try never ends", "GET /round/x", "", 500, "|500 Internal Server Error\n"},
		{"last index is a path", "GET /last/", "", 200, "|<p>sub"},

		{"same date", "GET /a.txt", "If-Modified-Since: " + dated, 304, "ETag: " + etag + "\nLast-Modified: " + dated + "\n!Content-Type\n!Content-Length\n!Accept-Ranges|"},
		{"later date", "GET /a.txt", "If-Modified-Since: " + later, 200, "|0123456789"},
		{"later date is enough", "GET /before/a.txt", "If-Modified-Since: " + later, 304, "|"},
		{"older date", "GET /before/a.txt", "If-Modified-Since: " + older, 200, "|0123456789"},
		{"date does not count", "GET /off/a.txt", "If-Modified-Since: " + dated, 200, "!Accept-Ranges|0123456789"},
		{"date in another form", "GET /a.txt", "If-Modified-Since: Wednesday, 04-Mar-26 05:06:07 GMT", 304, "|"},
		{"no date", "GET /a.txt", "If-Modified-Since: yesterday", 200, "|0123456789"},
		{"tag", "GET /a.txt", "If-None-Match: " + etag, 304, "ETag: " + etag + "|"},
		{"weak tag", "GET /a.txt", "If-None-Match: W/" + etag, 304, "|"},
		{"one of the tags", "HEAD /a.txt", `If-None-Match: "x,y", ` + etag, 304, "|"},
		{"any tag", "GET /a.txt", "If-None-Match: *", 304, "|"},
		{"other tag", "GET /a.txt", `If-None-Match: "69a7bdbf-b"`, 200, "|0123456789"},
		{"other tag, same date", "GET /a.txt", `If-None-Match: "x"` + "\nIf-Modified-Since: " + dated, 200, "|0123456789"},
		{"must match", "GET /a.txt", "If-Match: " + etag, 200, "|0123456789"},
		{"must match strongly", "GET /a.txt", "If-Match: W/" + etag, 412, "|412 Precondition Failed\n"},
		{"must match and does not", "GET /a.txt", `If-Match: "x"`, 412, "|412 Precondition Failed\n"},
		{"unmodified", "GET /a.txt", "If-Unmodified-Since: " + dated, 200, "|0123456789"},
		{"modified", "GET /a.txt", "If-Unmodified-Since: " + older, 412, "|412 Precondition Failed\n"},

		{"range", "GET /a.txt", "Range: bytes=2-4", 206, "Content-Range: bytes 2-4/10\nContent-Length: 3\n!Accept-Ranges|234"},
		{"range of head", "HEAD /a.txt", "Range: bytes=2-4", 206, "Content-Range: bytes 2-4/10\nContent-Length: 3|"},
		{"last bytes", "GET /a.txt", "Range: bytes=-2", 206, "Content-Range: bytes 8-9/10|89"},
		{"beyond", "GET /a.txt", "Range: bytes=10-", 416, "Content-Range: bytes */10\n!ETag|416 Requested Range Not Satisfiable\n"},
		{"other unit", "GET /a.txt", "Range: lines=1-2", 200, "Accept-Ranges: bytes|0123456789"},
		{"no ranges", "GET /off/a.txt", "Range: bytes=2-4", 200, "!Content-Range|0123456789"},
		{"range if the tag is the same", "GET /a.txt", "Range: bytes=2-4\nIf-Range: " + etag, 206, "|234"},
		{"range if the tag is weak", "GET /a.txt", "Range: bytes=2-4\nIf-Range: W/" + etag, 200, "|0123456789"},
		{"range if the date is the same", "GET /a.txt", "Range: bytes=2-4\nIf-Range: " + dated, 206, "|234"},
		{"range if the date is later", "GET /a.txt", "Range: bytes=2-4\nIf-Range: " + later, 200, "|0123456789"},
		{"range of nothing new", "GET /a.txt", "Range: bytes=2-4\nIf-None-Match: " + etag, 304, "!Content-Range|"},

		{"filters", "GET /filtered/a.txt", "", 200, "X-Access: yes\nX-Status: 200\nX-Type: text/plain\n!Content-Length|0123456789"},
		{"filters over a body", "GET /filtered/index.html", "", 200, "|<P>HOME"},
		{"filters over nothing new", "GET /filtered/a.txt", "If-None-Match: *", 304, "X-Status: 304|"},
	} {
		t.Run(c.name, func(t *testing.T) {
			method, path, _ := strings.Cut(c.request, " ")
			var headers []string
			for line := range strings.Lines(c.headers) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				headers = append(headers, name, value)
			}
			a := g.Do(method, path, "", headers...)
			if a.Err != nil || a.StatusCode != c.status {
				t.Fatalf("%d (%v), want %d", a.StatusCode, a.Err, c.status)
			}
			fields, body, _ := strings.Cut(c.want, "|")
			if a.Body != body {
				t.Errorf("body %q, want %q", a.Body, body)
			}
			for line := range strings.Lines(fields) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				if absent, not := strings.CutPrefix(name, "!"); not {
					if a.Header.Get(absent) != "" {
						t.Errorf("%s: %q, want none", absent, a.Header.Get(absent))
					}
				} else if got := a.Header.Get(name); got != value {
					t.Errorf("%s: %q, want %q", name, got, value)
				}
			}
		})
	}
}

func TestSeveralRanges(t *testing.T) {
	g, _ := start(t)
	a := g.Get("/a.txt", "Range", "bytes=0-1,-2")
	media, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if a.StatusCode != 206 || err != nil || media != "multipart/byteranges" || a.ContentLength != int64(len(a.Body)) {
		t.Fatalf("%d, %q, length %d of %d", a.StatusCode, a.Header.Get("Content-Type"), a.ContentLength, len(a.Body))
	}
	r := multipart.NewReader(strings.NewReader(a.Body), params["boundary"])
	for _, want := range []string{"text/plain bytes 0-1/10 01", "text/plain bytes 8-9/10 89"} {
		part, err := r.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(part)
		if got := part.Header.Get("Content-Type") + " " + part.Header.Get("Content-Range") + " " + string(body); got != want {
			t.Errorf("part %q, want %q", got, want)
		}
	}
	if _, err := r.NextPart(); err != io.EOF {
		t.Errorf("behind the last part: %v", err)
	}
}

// Bytes that no client sends by accident.
func TestHostileTargets(t *testing.T) {
	g, _ := start(t)
	for _, c := range []struct{ target, status string }{
		{"/%00", "400"}, {"/a.txt%00.png", "400"}, {"/../other/secret", "400"}, {"/%2e%2e/other/secret", "400"},
		{"/..%2f..%2f..%2fetc/passwd", "400"}, {"/sub/..%2f..%2fother/secret", "400"}, {`/..\other\secret`, "404"},
		{"/.%2e/other/secret", "400"}, {"/%2fetc/passwd", "404"}, {"//etc/passwd", "404"}, {"/./a.txt", "200"},
		{"/away/../../other/secret", "400"}, {"/%c0%ae%c0%ae/other/secret", "404"}, {"/a.txt%20", "404"},
		{"/" + strings.Repeat("a/", 2000), "404"}, {"/" + strings.Repeat("a", 4000), "404"}, {"/.git/../.env", "404"}, {"/%2eenv", "404"},
		{"/fifo/x", "404"}, {"/any/away/../.env", "200"}, {"/spa/%3f", "200"},
	} {
		answer := g.Talk("GET "+c.target+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 5*time.Second)
		if len(answer) < 12 || answer[9:12] != c.status {
			t.Errorf("%.60s: %.60q, want %s", c.target, answer, c.status)
		}
		if strings.Contains(answer, "secret") && c.status != "200" {
			t.Errorf("%s: %q", c.target, answer)
		}
	}
}

// A file larger than all memory on the way comes whole, and to a client that
// stops reading it waits.
func TestLargeFileStreams(t *testing.T) {
	g, top := start(t)
	const size = 64 << 20
	block := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	f, err := os.Create(filepath.Join(top, "www/large"))
	if err != nil {
		t.Fatal(err)
	}
	for range size / len(block) {
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/large", "/filtered/large"} {
		c, err := net.Dial("tcp", g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
		time.Sleep(50 * time.Millisecond) // the client is slow to begin
		res, err := http.ReadResponse(bufio.NewReaderSize(c, 64<<10), nil)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		if err != nil || n != size {
			t.Errorf("%s: %d bytes, %v", path, n, err)
		}
		_ = c.Close()
	}
	a := g.Get("/large", "Range", fmt.Sprintf("bytes=%d-", size-3))
	if a.StatusCode != 206 || a.Body != "def" {
		t.Errorf("its end: %d %q", a.StatusCode, a.Body)
	}
}

// A file that becomes shorter while it is sent cuts the answer: the client must
// not take what came for the whole.
func TestFileShrinksWhileItIsSent(t *testing.T) {
	g, top := start(t)
	path := filepath.Join(top, "www/large")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 256<<20); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1000); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, res.Body); err != io.ErrUnexpectedEOF || n >= 256<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if !g.WaitLog("could not be read to its end") {
		t.Error(g.Log.String())
	}
}

// Descriptors are closed however an answer ends.
func TestNoDescriptorIsLeftOpen(t *testing.T) {
	g, top := start(t)
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		n := 0
		for _, e := range entries {
			to, err := os.Readlink("/proc/self/fd/" + e.Name())
			if err == nil && strings.HasPrefix(to, top) {
				n++
			}
		}
		return n
	}
	ask := func() {
		for _, path := range []string{"/a.txt", "/", "/sub", "/fifo", "/bare/", "/try/sub", "/try/nothing", "/round/x", "/nothing"} {
			g.Get(path)
			g.Get(path, "If-None-Match", "*")
			g.Get(path, "Range", "bytes=100-")
			g.Do("HEAD", path, "")
		}
	}
	ask()
	// An exchange may still be ending when its client has all of the answer.
	for range 100 {
		if open() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d descriptors are still open", open())
}
