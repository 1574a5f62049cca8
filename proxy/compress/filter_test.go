package compress_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// text is worth compressing.
var text = strings.Repeat("all work and no play makes jack a dull boy\n", 100)

// plain decodes an answer; the encoding must be what is named.
func plain(t *testing.T, a proxytest.Answer) string {
	t.Helper()
	if a.Header.Get("Content-Encoding") == "" {
		return a.Body
	}
	r, err := gzip.NewReader(strings.NewReader(a.Body))
	if err != nil {
		t.Fatalf("%v in %q", err, a.Body)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// answers serves what each test's path stands for; %s is an origin's address.
const answers = `
access_log: {format: off}
listeners: [{address: "127.0.0.1:0"}]
upstreams: {o: {endpoints: ["%s"]}}
routes:
  - {name: long, match: {paths: ["= /long"]}, compress: {}, respond: {content_type: "text/plain; charset=utf-8", body: "%s"}}
  - {name: short, match: {paths: ["= /short"]}, compress: {}, respond: {content_type: text/plain, body: few}}
  - {name: least, match: {paths: ["= /least"]}, compress: {min_length: 3, level: 9, vary: false}, respond: {content_type: text/plain, body: few}}
  - {name: type, match: {paths: ["= /type"]}, compress: {}, respond: {content_type: image/png, body: "%[2]s"}}
  - {name: all, match: {paths: ["= /all"]}, compress: {types: ["*"]}, respond: {content_type: image/png, body: "%[2]s"}}
  - {name: gone, match: {paths: ["= /gone"]}, compress: {}, respond: {status: 410, content_type: text/plain, body: "%[2]s"}}
  - {name: none, match: {paths: ["= /404"]}, compress: {}, respond: {status: 404, content_type: text/plain, body: "%[2]s"}}
  - {name: fixed, match: {paths: ["= /fixed"]}, compress: {}, respond: {content_type: text/plain, headers: {Cache-Control: "public, no-transform"}, body: "%[2]s"}}
  - {name: tagged, match: {paths: ["= /tagged"]}, compress: {}, respond: {content_type: text/plain, headers: {ETag: '"x"', Vary: Origin, Accept-Ranges: bytes}, body: "%[2]s"}}
  - {name: vary, match: {paths: ["= /vary"]}, compress: {}, respond: {content_type: text/plain, headers: {Vary: "origin, accept-encoding"}, body: "%[2]s"}}
  - {name: up, match: {paths: ["/up/"]}, compress: {}, upstream: o}
  - {name: quiet, match: {paths: ["= /quiet"]}, compress: {proxied: [off]}, respond: {content_type: text/plain, body: "%[2]s"}}
  - name: dated
    match: {paths: ["= /dated"]}
    compress: {proxied: [expired, no-cache, no_etag, auth]}
    respond: {content_type: text/plain, headers: {Expires: "$arg_expires", Cache-Control: "$arg_control", ETag: "$arg_tag"}, body: "%[2]s"}
  - name: fresh
    match: {paths: ["= /fresh"]}
    compress: {proxied: [expired]}
    respond: {content_type: text/plain, headers: {Expires: "Fri, 01 Jan 2100 00:00:00 GMT"}, body: "%[2]s"}
  - name: lua
    match: {paths: ["= /lua"]}
    compress: {}
    lua: {content: 'ngx.header.content_type = "text/plain" for i = 1, 1000 do ngx.say(i) end', body_filter: 'ngx.arg[1] = ngx.arg[1]:gsub("7", "seven")'}
  - name: break
    match: {paths: ["= /break"]}
    compress: {}
    lua: {header_filter: 'error("x")'}
    respond: {content_type: text/plain, body: "%[2]s"}
  - name: sub
    match: {paths: ["= /sub"]}
    lua: {content: 'local r = ngx.location.capture("/long") ngx.print(tostring(r.header.content_encoding), " ", #r.body)'}
  - {name: files, match: {paths: ["/files/"]}, compress: {types: [text/css]}, static: {alias: %[3]s}}
`

func start(t *testing.T) *proxytest.Gateway {
	t.Helper()
	origin := proxytest.NewOrigin(t, proxytest.Answering(func(r *http.Request, _ []byte) string {
		head := "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
		switch r.URL.Path {
		case "/up/encoded":
			head += "Content-Encoding: br\r\n"
		case "/up/chunked":
			return fmt.Sprintf("%[1]sTransfer-Encoding: chunked\r\n\r\n%[2]x\r\n%[3]s\r\n%[2]x\r\n%[3]s\r\n0\r\n\r\n", head, len(text), text)
		case "/up/head":
			return fmt.Sprintf("%sContent-Length: %d\r\n\r\n", head, len(text))
		case "/up/empty":
			return head + "Content-Length: 0\r\n\r\n"
		}
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(text), text)
	}))
	dir := t.TempDir()
	for name, content := range map[string]string{"a.css": strings.Repeat("p{}", 5000), "b.txt": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return proxytest.Start(t, fmt.Sprintf(answers, origin.Addr, strings.ReplaceAll(text, "\n", `\n`), dir+"/"))
}

func TestCompress(t *testing.T) {
	g := start(t)
	const accept = "Accept-Encoding"
	for _, c := range []struct {
		name, path string
		headers    []string
		coded      bool
		vary       string
		status     int
		body       string
	}{
		{"a text", "/long", []string{accept, "gzip"}, true, "Accept-Encoding", 200, text},
		{"for who does not ask", "/long", nil, false, "Accept-Encoding", 200, text},
		{"for who refuses", "/long", []string{accept, "gzip;q=0, br"}, false, "Accept-Encoding", 200, text},
		{"short", "/short", []string{accept, "gzip"}, false, "", 200, "few"},
		{"as short as may be", "/least", []string{accept, "gzip"}, true, "", 200, "few"},
		{"a picture", "/type", []string{accept, "gzip"}, false, "", 200, text},
		{"all types", "/all", []string{accept, "gzip"}, true, "Accept-Encoding", 200, text},
		{"another status", "/gone", []string{accept, "gzip"}, false, "", 410, text},
		{"not found", "/404", []string{accept, "gzip"}, true, "Accept-Encoding", 404, text},
		{"not to be transformed", "/fixed", []string{accept, "gzip"}, false, "", 200, text},
		{"one Vary is enough", "/vary", []string{accept, "gzip"}, true, "origin, accept-encoding", 200, text},
		{"an endpoint's", "/up/x", []string{accept, "gzip"}, true, "Accept-Encoding", 200, text},
		{"an endpoint's in chunks", "/up/chunked", []string{accept, "gzip"}, true, "Accept-Encoding", 200, text + text},
		{"an endpoint's empty one", "/up/empty", []string{accept, "gzip"}, false, "", 200, ""},
		{"behind another proxy", "/long", []string{accept, "gzip", "Via", "1.1 x"}, true, "Accept-Encoding", 200, text},
		{"behind another proxy, where it is off", "/quiet", []string{accept, "gzip", "Via", "1.1 x"}, false, "Accept-Encoding", 200, text},
		{"expired", "/dated?expires=0&control=max-age=1", []string{accept, "gzip", "Via", "1.1 x"}, true, "Accept-Encoding", 200, text},
		{"not expired", "/fresh", []string{accept, "gzip", "Via", "1.1 x"}, false, "Accept-Encoding", 200, text},
		{"not cached", "/dated?control=no-cache", []string{accept, "gzip", "Via", "1.1 x"}, true, "Accept-Encoding", 200, text},
		{"cached", "/dated?control=public", []string{accept, "gzip", "Via", "1.1 x"}, false, "Accept-Encoding", 200, text},
		{"tagged", "/dated?tag=%22x%22", []string{accept, "gzip", "Via", "1.1 x"}, false, "Accept-Encoding", 200, text},
		{"for one user", "/dated?control=public", []string{accept, "gzip", "Via", "1.1 x", "Authorization", "x"}, true, "Accept-Encoding", 200, text},
		{"a script's, behind its body filter", "/lua", []string{accept, "gzip"}, true, "Accept-Encoding", 200, ""},
		{"an error instead", "/break", []string{accept, "gzip"}, false, "", 500, ""},
		{"a subrequest's", "/sub", []string{accept, "gzip"}, false, "", 200, fmt.Sprintf("nil %d", len(text))},
		{"a file", "/files/a.css", []string{accept, "gzip"}, true, "Accept-Encoding", 200, strings.Repeat("p{}", 5000)},
		{"a file, of which a part is wanted", "/files/a.css", []string{accept, "gzip", "Range", "bytes=1-2"}, true, "Accept-Encoding", 200, strings.Repeat("p{}", 5000)},
		{"a part", "/files/a.css", []string{"Range", "bytes=1-2"}, false, "Accept-Encoding", 206, "{}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.Get(c.path, c.headers...)
			if a.Err != nil || a.StatusCode != c.status {
				t.Fatalf("%d %v", a.StatusCode, a.Err)
			}
			if coded := a.Header.Get("Content-Encoding") == "gzip"; coded != c.coded {
				t.Errorf("encoded: %v", a.Header)
			}
			if got := strings.Join(a.Header.Values("Vary"), "; "); got != c.vary {
				t.Errorf("Vary %q, want %q", got, c.vary)
			}
			body := plain(t, a)
			if c.path == "/lua" {
				if !strings.Contains(body, "99seven\n") || strings.Contains(body, "7") || !strings.HasSuffix(body, "\n1000\n") {
					t.Errorf("body %.200q", body)
				}
			} else if c.body != "" && body != c.body {
				t.Errorf("body %.200q", body)
			}
			if c.coded && (a.ContentLength >= 0 || a.Header.Get("Accept-Ranges") != "" || len(a.Body) > len(body)+30) {
				t.Errorf("length %d of %d, %v", len(a.Body), len(body), a.Header)
			}
		})
	}
	t.Run("tag and ranges", func(t *testing.T) {
		a := g.Get("/tagged", accept, "gzip")
		if a.Header.Get("ETag") != `W/"x"` || a.Header.Get("Accept-Ranges") != "" || len(a.Header.Values("Vary")) != 2 {
			t.Errorf("%v", a.Header)
		}
		if a = g.Get("/tagged"); a.Header.Get("ETag") != `"x"` || a.Header.Get("Accept-Ranges") != "bytes" {
			t.Errorf("%v", a.Header)
		}
	})
	t.Run("already encoded", func(t *testing.T) {
		if a := g.Get("/up/encoded", accept, "gzip"); a.Header.Get("Content-Encoding") != "br" || a.Body != text {
			t.Errorf("%v", a.Header)
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		if a := g.Do("HEAD", "/up/head", "", accept, "gzip"); a.Header.Get("Content-Encoding") != "" || a.ContentLength != int64(len(text)) || a.Header.Get("Vary") == "" {
			t.Errorf("%v", a.Header)
		}
	})
	t.Run("HTTP/1.0", func(t *testing.T) {
		if a := g.Talk("GET /long HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n", 5*time.Second); strings.Contains(a, "gzip") || !strings.HasSuffix(a, text) {
			t.Errorf("%.300q", a)
		}
	})
}

// decoded reads an answer while it comes.
func decoded(t *testing.T, g *proxytest.Gateway, path string) io.Reader {
	t.Helper()
	req, err := http.NewRequest("GET", g.URL(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	res, err := g.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	r, err := gzip.NewReader(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What pauses is not held back: each part is read before the next is sent.
func TestStreams(t *testing.T) {
	parts := []string{"one ", "two ", "three"}
	next := make(chan struct{})
	origin := proxytest.NewOrigin(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
		for _, p := range parts {
			fmt.Fprintf(c, "%x\r\n%s\r\n", len(p), p)
			<-next
		}
		fmt.Fprint(c, "0\r\n\r\n")
	})
	g := proxytest.Start(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
lua: {shared_dicts: {d: 64KiB}}
upstreams: {o: {endpoints: ["%s"]}}
routes:
  - {name: up, match: {paths: ["= /up"]}, compress: {}, upstream: o}
  - name: lua
    match: {paths: ["= /lua"]}
    compress: {}
    lua:
      content: |
        ngx.header.content_type = "text/plain"
        for i, p in ipairs{"one ", "two ", "three"} do
          ngx.print(p) ngx.flush(true)
          while (ngx.shared.d:get("n") or 0) < i do ngx.sleep(0.001) end
        end
  - {name: go, match: {paths: ["= /go"]}, lua: {content: 'ngx.shared.d:incr("n", 1, 0)'}}
`, origin.Addr))
	for _, c := range []struct {
		path string
		next func()
	}{{"/up", func() { next <- struct{}{} }}, {"/lua", func() { g.Get("/go") }}} {
		t.Run(c.path, func(t *testing.T) {
			r := decoded(t, g, c.path)
			for _, want := range parts {
				got := make([]byte, len(want))
				if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
					t.Fatalf("%q %v, want %q", got, err, want)
				}
				c.next()
			}
			if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
				t.Errorf("%q %v", rest, err)
			}
		})
	}
}
