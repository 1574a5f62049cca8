package proxy_test

import (
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

const rewriteText = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
error_pages: {403: /denied}
routes:
  - name: server
    before: true
    match: {hosts: [h]}
    rewrite:
      - {path: "~ ^/server/(.*)$", to: /show/$1}
      - {if: $arg_deny, respond: 403}
      - set: {from: server}
  - {name: show, match: {paths: [/show]}, respond: {body: "$uri|$args|$from"}}
  - {name: inner, internal: true, match: {paths: [/inner]}, respond: {body: "$uri|$args"}}
  - {name: denied, internal: true, match: {paths: [= /denied]}, respond: {body: "denied $from"}}
  - {name: last, match: {paths: [/last]}, rewrite: [{path: "~ ^/last/(.*)$", to: "/inner/$1?a=$1", then: last}, {respond: 500}]}
  - {name: next, match: {paths: [/next]}, rewrite: [{path: "~ ^/next(.*)$", to: "/between$1?"}, {path: "~ ^/between(.*)$", to: /inner$1}]}
  - {name: break, match: {paths: [/break]}, rewrite: [{path: "/break", to: /kept, then: break}, {respond: 500}], respond: {body: $uri}}
  - {name: redirect, match: {paths: [/redirect]}, rewrite: [{path: "~ ^/redirect/(.*)$", to: "http://x/$1", then: redirect}]}
  - {name: permanent, match: {paths: [/permanent]}, rewrite: [{path: /permanent, to: "/p?b=2", then: permanent}]}
  - {name: loop, match: {paths: [/loop]}, rewrite: [{path: /loop, to: /loop, then: last}]}
  - name: conditions
    match: {paths: [/if]}
    rewrite:
      - set: {a: "", b: "", c: "", d: "", e: "", f: ""}
      - {if: $arg_x, set: {a: 1}}
      - {if: $arg_x = $arg_y, set: {b: 1}}
      - {if: $arg_x != 0, set: {c: 1}}
      - {if: $arg_x ~ ^(.)b, set: {d: "<$1>"}}
      - {if: $arg_x ~* ^AB, set: {e: 1}}
      - {if: $arg_x !~* ^AB, set: {f: 1}}
    respond: {body: "$a,$b,$c,$d,$e,$f"}
  - name: named
    match: {paths: ["~ ^/named/(?P<First>[a-z]+)"]}
    rewrite:
      - {if: "$arg_x ~ ^(?P<second>.)(.)", set: {both: "$first$second$2"}}
      - {path: "~ ^/named/(?<third>..)", to: "/named/$third", then: break}
    lua: {content: 'ngx.print(ngx.var.both, " ", ngx.var.first, ngx.var.second, ngx.var.third)'}
  - name: answers
    match: {paths: [/answer]}
    rewrite:
      - {if: $arg_s = 1, respond: {body: "one $arg_s", content_type: text/x-one}}
      - {if: $arg_s = 2, respond: {status: 307, location: /two}}
      - {if: $arg_s = 3, respond: 444}
      - {then: break}
    respond: {status: 404}
  - name: set
    match: {paths: [/set]}
    rewrite:
      - set: {n: 20}
      - lua: sum
      - set: {text: "sum is $sum"}
    lua:
      set:
        sum: {args: [$n, $arg_m], script: "return ngx.arg[1] + (tonumber(ngx.arg[2]) or 0), ngx.arg[3]"}
        early: return ngx.get_phase()
        none: return true
        wrong: {script: "if ngx.var.arg_fail then error('no') end", args: []}
        said: "if ngx.var.arg_say then ngx.say('x') end return 'x'"
      content: ngx.print(ngx.var.text, ",", ngx.var.early, ",", ngx.var.none, ",", ngx.var.sum + 1, ",", ngx.ctx.seen)
`

func TestRewrite(t *testing.T) {
	g := proxytest.Start(t, rewriteText)
	for _, test := range []struct {
		path     string
		status   int
		body     string
		location string
	}{
		{"/show", 200, "/show||", ""},
		{"/last/x%20y?q=1", 200, "/inner/x y|a=x%20y&q=1", ""},
		{"/next/a?q=1", 200, "/inner/a|", ""},
		{"/break?q=1", 200, "/kept", ""},
		{"/redirect/a%20b?q=1", 302, "302 Found\n", "http://x/a%20b?q=1"},
		{"/permanent?q=1", 301, "301 Moved Permanently\n", "/p?b=2&q=1"},
		{"/loop", 500, "500 Internal Server Error\n", ""},
		{"/inner", 404, "404 Not Found\n", ""},
		{"/if?x=ab&y=ab", 200, "1,1,1,<a>,1,", ""},
		{"/if?x=0&y=", 200, ",,,,,1", ""},
		{"/if?x=Ab&y=1", 200, "1,,1,<A>,1,", ""},
		{"/named/abc?x=yz", 200, "abcyz abcyab", ""},
		{"/answer?s=1", 200, "one 1", ""},
		{"/answer?s=2", 307, "307 Temporary Redirect\n", "/two"},
		{"/answer", 404, "404 Not Found\n", ""},
		{"/set?m=3", 200, "sum is 23,set,,24,nil", ""},
		{"/set?fail=1", 500, "500 Internal Server Error\n", ""},
		{"/set?say=1", 500, "500 Internal Server Error\n", ""},
	} {
		a := g.Get(test.path)
		if a.StatusCode != test.status || a.Body != test.body || a.Header.Get("Location") != test.location {
			t.Errorf("%s: %d %q %q, wanted %d %q %q", test.path, a.StatusCode, a.Body, a.Header.Get("Location"), test.status, test.body, test.location)
		}
	}
	if got := g.Talk("GET /answer?s=3 HTTP/1.1\r\nHost: x\r\n\r\n", 3*time.Second); got != "" {
		t.Errorf("444 was answered %q", got)
	}
}

func TestBefore(t *testing.T) {
	g := proxytest.Start(t, rewriteText)
	for _, test := range []struct {
		path, body string
		status     int
	}{
		{"/server/a?q=1", "/show/a|q=1|server", 200},
		{"/show", "/show||server", 200},
		{"/show?deny=1", "denied server", 403}, // of the page itself, as in nginx,
		{"/last/x", "/inner/x|a=x", 200},
		{"/set?m=3", "sum is 23,set,,24,nil", 200},
	} {
		a := g.Get(test.path, "Host", "h")
		if a.StatusCode != test.status || a.Body != test.body {
			t.Errorf("%s: %d %q, wanted %d %q", test.path, a.StatusCode, a.Body, test.status, test.body)
		}
	}
}
