package proxy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// lines waits until a file has n lines.
func lines(t *testing.T, path string, n int) []string {
	t.Helper()
	var all []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if all = strings.SplitAfter(string(text), "\n"); len(all) > n && (n > 0 || err == nil) {
			return all[:len(all)-1]
		}
	}
	t.Fatalf("%s has %q, wanted %d lines", path, all, n)
	return nil
}

const logConfig = `
listeners: [{address: "127.0.0.1:0"}]
access_log: {file: DIR/main, template: '$remote_addr "$request" $status $body_bytes_sent "$http_referer" $http_x $arg_none|$route', if: "$logged"}
maps: {logged: {from: $status, exact: {204: "0"}, default: "1"}}
routes:
  - {name: plain, match: {paths: [/plain]}, respond: {body: hello}}
  - {name: quiet, match: {paths: [/quiet]}, respond: {status: 204}}
  - {name: none, match: {paths: [/none]}, access_log: {format: "off"}, respond: {}}
  - name: json
    match: {paths: [/json]}
    access_log: {file: DIR/own, escape: json, template: '{"x":"$http_x","none":"$arg_none","user":"$remote_user"}'}
    respond: {}
  - {name: raw, match: {paths: [/raw]}, access_log: {file: DIR/own, escape: none, template: "$http_x <$arg_none> $sent_http_x $request_completion"}, respond: {headers: {X: "y"}}}
  - name: times
    match: {paths: [/times]}
    access_log: {file: DIR/own, template: "$msec $request_time $time_iso8601 $time_local $bytes_sent $request_length $hostname $pid $pipe $https $content_length $content_type $request_filename $realip_remote_addr $proxy_add_x_forwarded_for $binary_remote_addr $upstream_http_x"}
    respond: {}
`

func TestAccessLogTemplates(t *testing.T) {
	dir := t.TempDir()
	g := proxytest.Start(t, strings.ReplaceAll(logConfig, "DIR", dir))
	for i, path := range []string{"/json", "/raw", "/none", "/quiet", "/plain?a=%22"} {
		lines(t, filepath.Join(dir, "own"), min(i, 2)) // in this order
		g.Get(path, "X", "a\"\\\tb\x80", "Referer", "r", "Authorization", "Basic bWU6cHc=")
	}
	lines(t, filepath.Join(dir, "main"), 1)
	g.Do("POST", "/times", "body", "Content-Type", "text/x", "X-Forwarded-For", "9.9.9.9")
	g.Talk("GET / HTTP/9.9\r\n\r\n", time.Second) // never an exchange
	main := strings.Join(lines(t, filepath.Join(dir, "main"), 2), "")
	want := "127.0.0.1 \"GET /plain?a=%22 HTTP/1.1\" 200 5 \"r\" a\\x22\\x5C\\x09b\\x80 -|plain\n127.0.0.1 \"-\" 505 0 \"-\" - -|-\n"
	if main != want {
		t.Errorf("lines are\n%swanted\n%s", main, want)
	}
	own := lines(t, filepath.Join(dir, "own"), 3)
	if want := "{\"x\":\"a\\\"\\\\\\tb\\ufffd\",\"none\":\"\",\"user\":\"me\"}\n"; own[0] != want {
		t.Errorf("line %q, wanted %q", own[0], want)
	}
	if want := "a\"\\\tb\x80 <> y OK\n"; own[1] != want {
		t.Errorf("line %q, wanted %q", own[1], want)
	}
	if f := strings.Fields(own[2]); len(f) != 19 || strings.Contains(strings.Join(f[:10], " "), "-") && f[7] == "-" ||
		!strings.HasPrefix(f[1], "0.0") && len(f[1]) != 5 || f[9] != "." || f[10] != "-" || f[11] != "4" || f[12] != "text/x" || !strings.HasSuffix(f[13], "/html/times") ||
		strings.Join(f[14:], " ") != "127.0.0.1 9.9.9.9, 127.0.0.1 \\x7F\\x00\\x00\\x01 -" {
		t.Errorf("line %q", own[2])
	}
}

// TestAccessLogFiles holds that a file stays open while a configuration writes to
// it, is opened anew on demand, and is not made by a configuration that fails.
func TestAccessLogFiles(t *testing.T) {
	dir := t.TempDir()
	text := strings.ReplaceAll(logConfig, "DIR", dir)
	g := proxytest.Start(t, text)
	g.Get("/plain")
	path := filepath.Join(dir, "main")
	lines(t, path, 1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(text + "  - {name: more, match: {paths: [/more]}, respond: {}}\n"); err != nil {
		t.Fatal(err)
	}
	g.Get("/more")
	lines(t, path+".1", 2)
	g.Reopen()
	g.Get("/plain")
	lines(t, path, 1)
	if err := g.Reload(strings.ReplaceAll(text, dir+"/own", filepath.Join(dir, "missing", "own"))); err == nil {
		t.Error("a log in a folder that is not there was taken")
	}
	g.Get("/plain")
	lines(t, path, 2)
}
