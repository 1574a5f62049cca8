package proxy_test

import (
	"crypto/md5"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

const bodyFileText = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
workers: 1
limits: {body_temp: "DIR", body_bytes: 1MiB}
lua: {path: "DIR/?.lua"}
upstreams: {o: {endpoints: ["ORIGIN"]}}
routes:
  - name: where
    match: {paths: ["= /where"]}
    lua:
      content: |
        ngx.req.read_body()
        local file = ngx.req.get_body_file()
        ngx.print(ngx.req.get_body_data() and "memory" or "none", " ", file and "file" or "none", " ",
          ngx.var.request_body and "variable" or "none", " ", ngx.var.request_body_file == file, " ")
        local n = 0
        for piece in ngx.req.get_body_reader(1000) do
          if #piece > 1000 then ngx.print("long ") end
          n = n + #piece
        end
        ngx.print(n, " ")
        if file then
          local f = io.open(file)
          ngx.print(ngx.md5(f:read("*a")))
          f:close()
        else
          ngx.print(ngx.md5(ngx.req.get_body_data() or ""))
        end
  - name: all
    match: {paths: ["= /all"]}
    body_buffer: 0
    lua:
      content: |
        ngx.req.read_body()
        ngx.print(ngx.req.get_body_data(), " ", ngx.req.get_body_file() and "file", " ", select(2, ngx.req.get_post_args()))
  - name: on
    match: {paths: ["= /on"]}
    lua: {access: "ngx.req.read_body()"}
    upstream: o
  - name: replaced
    match: {paths: ["= /replaced"]}
    lua:
      access: |
        ngx.req.read_body()
        local before = ngx.req.get_body_file()
        ngx.req.set_body_data("short")
        ngx.req.set_header("X-Gone", io.open(before) and "no" or "yes")
        ngx.req.set_header("X-File", tostring(ngx.req.get_body_file()))
    upstream: o
  - name: own
    match: {paths: ["= /own"]}
    lua:
      access: |
        local path = "DIR/own.txt"
        ngx.req.read_body()
        ngx.req.set_body_file(path, ngx.var.arg_clean == "1")
        ngx.req.set_header("X-File", ngx.req.get_body_file() == path and "own" or "other")
        ngx.req.set_header("X-Data", tostring(ngx.req.get_body_data()))
    upstream: o
  - name: missing
    match: {paths: ["= /missing"]}
    lua: {content: "ngx.req.read_body() ngx.print(select(2, pcall(ngx.req.set_body_file, 'DIR/none')))"}
  - name: made
    match: {paths: ["= /made"]}
    lua:
      access: |
        ngx.req.read_body()
        if ngx.var.arg_size then ngx.req.init_body(tonumber(ngx.var.arg_size)) else ngx.req.init_body() end
        for i = 1, 300 do ngx.req.append_body(("0123456789"):rep(100)) end
        ngx.req.finish_body()
        ngx.req.set_header("X-File", ngx.req.get_body_file() and "file" or "none")
    upstream: o
  - name: unfinished
    match: {paths: ["= /unfinished"]}
    lua:
      content: |
        ngx.req.read_body()
        ngx.req.init_body(0)
        ngx.req.append_body(("x"):rep(100000))
        if ngx.var.arg_fail then error("fails") end
        ngx.print("left")
  - name: discarded
    match: {paths: ["= /discarded"]}
    lua: {content: "ngx.req.discard_body() ngx.print(ngx.req.get_body_data(), ' ', ngx.req.get_body_file())"}
  - name: read
    match: {paths: ["= /unread"]}
    lua: {content: "ngx.print(select(2, pcall(ngx.req.get_body_reader)))"}
`

func TestBodiesInFiles(t *testing.T) {
	dir := t.TempDir()
	origin := proxytest.NewOrigin(t, proxytest.Answering(func(r *http.Request, body []byte) string {
		text := fmt.Sprintf("%d %x %s %s %s", len(body), md5.Sum(body), r.Header.Get("X-Gone"), r.Header.Get("X-File"), r.Header.Get("X-Data"))
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}))
	g := proxytest.Start(t, strings.NewReplacer("DIR", dir, "ORIGIN", origin.Addr).Replace(bodyFileText))
	sum := func(body string) string { return fmt.Sprintf("%x", md5.Sum([]byte(body))) }
	long := strings.Repeat("long body ", 20000)
	edge := strings.Repeat("e", 16<<10)
	own, made := "of a file of its own", strings.Repeat("0123456789", 30000)
	for _, c := range []struct{ name, path, body, want string }{
		{"short", "/where", "short", "memory none variable true 5 " + sum("short")},
		{"none", "/where", "", "none none none true 0 " + sum("")},
		{"just fits", "/where", edge, "memory none variable true 16384 " + sum(edge)},
		{"one too long", "/where", edge + "e", "none file none true 16385 " + sum(edge+"e")},
		{"long", "/where", long, "none file none true 200000 " + sum(long)},
		{"every body", "/all", "a=1", "nil file request body in temp file not supported"},
		{"no body", "/all", "", "nil nil "},
		{"sent on from a file", "/on", long, fmt.Sprintf("200000 %s   ", sum(long))},
		{"replaced", "/replaced", long, fmt.Sprintf("5 %s yes nil ", sum("short"))},
		{"a file of its own", "/own", "x", fmt.Sprintf("20 %s  own nil", sum(own))},
		{"one that goes", "/own?clean=1", long, fmt.Sprintf("20 %s  own nil", sum(own))},
		{"no file", "/missing", "x", `open() "` + dir + `/none" failed`},
		{"made in a file", "/made?size=100", "x", fmt.Sprintf("300000 %s  file ", sum(made))},
		{"made in memory", "/made?size=300000", long, fmt.Sprintf("300000 %s  none ", sum(made))},
		{"made to the route's measure", "/made", "x", fmt.Sprintf("300000 %s  file ", sum(made))},
		{"made and left", "/unfinished", "x", "left"},
		{"made and failed", "/unfinished?fail=1", "x", "500 Internal Server Error\n"},
		{"discarded", "/discarded", long, "nil nil"},
		{"not read", "/unread", "x", "request body not read yet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, "own.txt"), []byte(own), 0o600); err != nil {
				t.Fatal(err)
			}
			if a := g.Do("POST", c.path, c.body); a.Body != c.want {
				t.Errorf("%q, want %q", a.Body, c.want)
			}
			left := "own.txt"
			if strings.Contains(c.path, "clean") {
				left = "none"
			}
			if !onlyLeft(dir, left) {
				t.Errorf("files are left, or not %s", left)
			}
		})
	}
	if a := g.Do("POST", "/where", strings.Repeat("x", 1<<20+1)); a.StatusCode != 413 {
		t.Errorf("too long a body: %d", a.StatusCode)
	}
	chunked := "POST /where HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
	answer := g.Talk(chunked+"7530\r\n"+strings.Repeat("y", 30000)+"\r\n0\r\n\r\n", 5*time.Second)
	if !strings.Contains(answer, "none file none true 30000 "+sum(strings.Repeat("y", 30000))) {
		t.Errorf("chunked: %q", answer)
	}
	if !onlyLeft(dir, "own.txt") {
		t.Error("files are left")
	}
}

// onlyLeft waits until a folder holds one file, or none: an exchange may still
// be ending when its client has the answer.
func onlyLeft(dir, name string) bool {
	for range 200 {
		left, err := os.ReadDir(dir)
		if err == nil && (len(left) == 0 && name == "none" || len(left) == 1 && left[0].Name() == name) {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

// A folder that cannot be written is the gateway's fault.
func TestBodyFolderIsMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bodies")
	g := proxytest.Start(t, strings.NewReplacer("DIR", dir, "ORIGIN", "127.0.0.1:1").Replace(bodyFileText))
	if err := os.Remove(dir); err != nil {
		t.Fatal("it was not made:", err)
	}
	if a := g.Do("POST", "/all", "x"); a.StatusCode != 500 {
		t.Errorf("%d %q", a.StatusCode, a.Body)
	}
	if !g.WaitLog("the file of a request body: open ") {
		t.Error(g.Log.String())
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := g.Reload(strings.NewReplacer("DIR", dir, "ORIGIN", "127.0.0.1:1").Replace(bodyFileText))
	if err == nil || !strings.Contains(err.Error(), "limits.body_temp: the folder cannot be made") {
		t.Error(err)
	}
}
