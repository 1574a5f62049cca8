package proxy_test

import (
	"testing"

	"perigee/proxy/proxytest"
)

func TestMaps(t *testing.T) {
	g := proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0"}]
access_log: {format: "off"}
variables: {greeting: "hello $kind", tenant: ""}
maps:
  kind: {from: $arg_k, exact: {a: first, b: second}, regex: [{match: "~ ^x(.)", value: "any $1 of $uri"}], default: other}
  owner: {from: $tenant, exact: {acme: road runner}, default: nobody}
  path: {from: $uri, volatile: true, regex: [{match: "~ ^/(?P<part>[a-z]+)", value: $part}]}
  kept: {from: $uri, regex: [{match: "~ ^/(.*)", value: $1}]}
routes:
  - {name: respond, match: {paths: [/respond]}, respond: {body: "$kind, $greeting"}}
  - name: captures
    match: {paths: ["~ ^/captures/(.*)"]}
    respond: {body: "$1 $path $1"}
  - name: moved
    match: {paths: [/moved]}
    rewrite: [{set: {was: "$path $kept"}}, {path: "~ ^/moved(.*)", to: "/new$1", then: break}]
    respond: {body: "$was, $path $kept"}
  - name: lua
    match: {paths: [/lua]}
    lua:
      rewrite: 'ngx.var.tenant = ngx.var.arg_t; ngx.ctx.before = ngx.var.owner'
      content: 'ngx.say(ngx.ctx.before, ", ", ngx.var.owner, ", ", ngx.var.kind); ngx.var.owner = "me"; ngx.print(ngx.var.owner)'
    transform: {response: {set: {X-Owner: $owner, X-Kind: $kind}}}
  - name: captured
    match: {paths: [/captured]}
    lua: {content: 'ngx.print(ngx.location.capture("/respond?k=" .. ngx.var.arg_k).body)'}
`)
	for _, c := range []struct{ name, path, want, owner string }{
		{"a value", "/respond?k=B", "second, hello second", ""},
		{"a group", "/respond?k=xy", "any y of /respond, hello any y of /respond", ""},
		{"default", "/respond", "other, hello other", ""},
		{"captures of the route stay", "/captures/x", "x captures x", ""},
		{"kept or not", "/moved", "moved moved, new moved", ""},
		{"a script sets what is looked up", "/lua?t=acme&k=a", "nobody, road runner, first\nme", "me"},
		{"a subrequest", "/captured?k=a", "first, hello first", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.Get(c.path)
			if a.Body != c.want || a.Header.Get("X-Owner") != c.owner {
				t.Errorf("answer %q, owner %q; wanted %q, %q", a.Body, a.Header.Get("X-Owner"), c.want, c.owner)
			}
		})
	}
}
