package proxy_test

import (
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

func TestBrokenScripts(t *testing.T) {
	const text = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
lua: {broken_scripts: answer, init_worker: "x = ="}
routes:
  - {name: syntax, match: {paths: [/syntax]}, lua: {content: "for end"}}
  - {name: missing, match: {paths: [/missing]}, lua: {access: {file: none.lua}}, respond: {body: never}}
  - {name: filter, match: {paths: [/filter]}, lua: {header_filter: "("}, respond: {body: never}}
  - {name: log, match: {paths: [/log]}, lua: {log: "("}, respond: {body: answered}}
  - {name: fine, match: {paths: [/fine]}, lua: {content: "ngx.print('fine')"}}
`
	g := proxytest.Start(t, text)
	for _, test := range []struct {
		path, body string
		status     int
	}{
		{"/syntax", "500 Internal Server Error\n", 500},
		{"/missing", "404 Not Found\n", 404},
		{"/filter", "500 Internal Server Error\n", 500},
		{"/log", "answered", 200},
		{"/fine", "fine", 200},
	} {
		if a := g.Get(test.path); a.StatusCode != test.status || a.Body != test.body {
			t.Errorf("%s: %d %q, wanted %d %q", test.path, a.StatusCode, a.Body, test.status, test.body)
		}
	}
	for _, want := range []string{"failed to load the script: content_by_lua(test.yaml:7)", `none.lua" cannot be read`, "script log/log: failed to load",
		"init_worker_by_lua error: init_worker_by_lua(test.yaml:5):1: unexpected symbol"} {
		deadline := time.Now().Add(3 * time.Second) // the log is written aside
		for !strings.Contains(g.Log.String(), want) && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
		if !strings.Contains(g.Log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, g.Log)
		}
	}
	if err := g.Reload(strings.Replace(text, `"x = ="`, "{file: absent.lua}", 1)); err != nil {
		t.Errorf("with an init_worker that is missing: %v", err)
	}
	if !g.WaitLog(`init_worker_by_lua error: script "absent.lua" cannot be read`) {
		t.Errorf("the log does not say that it is missing:\n%s", g.Log)
	}
	if err := g.Reload(strings.Replace(text, "answer", "refuse", 1)); err == nil {
		t.Error("with refuse, a script that does not compile was taken")
	}
}
