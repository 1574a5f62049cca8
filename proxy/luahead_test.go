package proxy_test

import (
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

const headText = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
workers: 1
routes:
  - {name: failure, match: {paths: ["= /failure"]}, lua: {content: "ngx.exit(ngx.ERROR)"}}
  - {name: declined, match: {paths: ["= /declined"]}, lua: {content: "ngx.exit(ngx.DECLINED)"}}
  - {name: again, match: {paths: ["= /again"]}, lua: {content: "ngx.exit(ngx.AGAIN)"}}
  - {name: slow, match: {paths: ["= /408"]}, lua: {content: "ngx.exit(408)"}}
  - {name: cut, match: {paths: ["= /cut"]}, lua: {content: "ngx.say('begun') ngx.flush(true) ngx.exit(444)"}}
  - name: header
    match: {paths: ["= /header"]}
    lua:
      content: ngx.say("hi")
      header_filter: ngx.exit(tonumber(ngx.var.arg_s))
  - name: length
    match: {paths: ["= /length"]}
    lua:
      content: ngx.say("hi")
      header_filter: ngx.header.x_length = ngx.header.content_length
  - name: fixed
    match: {paths: ["= /fixed"]}
    respond: {body: text}
    lua: {header_filter: "ngx.header.x_length = ngx.header.content_length if ngx.var.arg_drop then ngx.header.content_length = nil end"}
  - name: type
    match: {paths: ["= /type"]}
    default_type: text/x-own
    lua: {content: "ngx.print(ngx.header.content_type, ' ') ngx.print(ngx.header['Content-Type'])"}
  - {name: none, match: {paths: ["= /none"]}, lua: {content: "ngx.header.content_type = nil ngx.print('a ') ngx.print(ngx.header.content_type)"}}
  - name: plain
    match: {paths: ["= /plain"]}
    lua: {transform_underscores: false, content: "ngx.header.foo_bar = 'x' ngx.print(ngx.header.foo_bar, ngx.header['foo-bar'])"}
  - name: unbuffered
    match: {paths: ["= /unbuffered"]}
    lua: {http10_buffering: false, content: "ngx.print('a') ngx.flush(true) ngx.print('b')"}
  - name: dated
    match: {paths: ["= /dated"]}
    if_modified_since: before
    lua: {content: "ngx.header.last_modified = 'Thu, 10 May 2012 07:50:48 GMT' if ngx.var.arg_all then require('ngx.resp').bypass_if_checks() end ngx.print('text')"}
`

// What scripts say about heads and ends, byte by byte. Lines of the head are
// joined by "|", without Date, Connection and X-Error-Id.
func TestScriptedHeads(t *testing.T) {
	g := proxytest.Start(t, headText)
	for _, c := range []struct{ name, request, want string }{
		{"error ends the connection", "GET /failure HTTP/1.1", ""},
		{"declined has no content behind it", "GET /declined HTTP/1.1", ""},
		{"again is no argument", "GET /again HTTP/1.1", "HTTP/1.1 500 Internal Server Error|Content-Type: text/plain|Content-Length: 26||500 Internal Server Error\n"},
		{"408 is not answered", "GET /408 HTTP/1.1", ""},
		{"cut in the middle", "GET /cut HTTP/1.1", "HTTP/1.1 200 OK|Content-Type: text/plain|Transfer-Encoding: chunked||6\r\nbegun\n\r\n"},
		{"header filter exits", "GET /header?s=403 HTTP/1.1", "HTTP/1.1 403 Forbidden|Content-Type: text/plain|Content-Length: 14||403 Forbidden\n"},
		{"header filter exits without a page", "GET /header?s=444 HTTP/1.1", "HTTP/1.1 444 Unknown Status Code|Content-Length: 0||"},
		{"header filter is content", "GET /header?s=0 HTTP/1.0", "HTTP/1.1 200 OK|Content-Type: text/plain|Content-Length: 3||hi\n"},
		{"header filter hangs up", "GET /header?s=-1 HTTP/1.1", ""},
		{"length for HTTP/1.0", "GET /length HTTP/1.0", "HTTP/1.1 200 OK|Content-Type: text/plain|Content-Length: 3|x-length: 3||hi\n"},
		{"length of a fixed answer", "GET /fixed HTTP/1.1", "HTTP/1.1 200 OK|Content-Type: text/plain|Content-Length: 4|x-length: 4||text"},
		{"and of its head", "HEAD /fixed HTTP/1.1", "HTTP/1.1 200 OK|Content-Type: text/plain|Content-Length: 4|x-length: 4||"},
		{"length taken away", "GET /fixed?drop=1 HTTP/1.1", "HTTP/1.1 200 OK|Content-Type: text/plain|x-length: 4|Transfer-Encoding: chunked||4\r\ntext\r\n0\r\n\r\n"},
		{"default type once it is sent", "GET /type HTTP/1.0", "HTTP/1.1 200 OK|Content-Type: text/x-own|Content-Length: 7||nil nil"},
		{"default type", "GET /type HTTP/1.1", "HTTP/1.1 200 OK|Content-Type: text/x-own|Transfer-Encoding: chunked||e\r\nnil text/x-own\r\n0\r\n\r\n"},
		{"no type", "GET /none HTTP/1.1", "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5\r\na nil\r\n0\r\n\r\n"},
		{"underscores stay", "GET /plain HTTP/1.1", "HTTP/1.1 200 OK|Content-Type: text/plain|foo_bar: x|Transfer-Encoding: chunked||4\r\nxnil\r\n0\r\n\r\n"},
		{"HTTP/1.0 is not waited for", "GET /unbuffered HTTP/1.0", "HTTP/1.1 200 OK|Content-Type: text/plain||ab"},
		{"not modified", "GET /dated HTTP/1.1\r\nIf-Modified-Since: Thu, 10 May 2012 07:50:59 GMT", "HTTP/1.1 304 Not Modified|last-modified: Thu, 10 May 2012 07:50:48 GMT||"},
		{"checks passed over", "GET /dated?all=1 HTTP/1.0\r\nIf-Modified-Since: Thu, 10 May 2012 07:50:59 GMT", "HTTP/1.1 200 OK|Content-Type: text/plain|Content-Length: 4|last-modified: Thu, 10 May 2012 07:50:48 GMT||text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := g.Talk(c.request+"\r\nHost: a\r\nConnection: close\r\n\r\n", 5*time.Second)
			head, body, found := strings.Cut(answer, "\r\n\r\n")
			var lines []string
			for _, line := range strings.Split(head, "\r\n") {
				name, _, _ := strings.Cut(line, ":")
				if name != "Date" && name != "Connection" && name != "X-Error-Id" {
					lines = append(lines, line)
				}
			}
			got := strings.Join(lines, "|")
			if found {
				got += "||" + body
			}
			if got != c.want {
				t.Errorf("%q\nwant %q", got, c.want)
			}
		})
	}
}
