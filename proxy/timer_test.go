package proxy_test

import (
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

const timerRoutes = `
  - name: arm
    match: {paths: ["= /arm"]}
    lua:
      content: |
        local function f(premature, name)
          ngx.log(ngx.NOTICE, name, " fired, premature=", premature)
        end
        assert(ngx.timer.at(3600, f, "distant"))
        assert(ngx.timer.at(0, f, "near"))
        ngx.say(ngx.timer.pending_count())
  - name: fail
    match: {paths: ["= /fail"]}
    lua: {content: 'ngx.timer.at(0, function() error("boom") end) ngx.say("ok")'}
  - name: from
    match: {paths: ["= /from"]}
    lua:
      rewrite: ngx.timer.at(0, function() ngx.log(ngx.NOTICE, "from rewrite") end)
      content: ngx.say("ok")
      header_filter: ngx.timer.at(0, function() ngx.log(ngx.NOTICE, "from header_filter") end)
      body_filter: ngx.timer.at(0, function() ngx.log(ngx.NOTICE, "from body_filter") end)
      log: ngx.timer.at(0, function() ngx.log(ngx.NOTICE, "from log") end)
`

func TestTimersAcrossReloads(t *testing.T) {
	g := proxytest.Start(t, configText("127.0.0.1:1", timerRoutes))
	if a := g.Get("/arm"); a.Body != "2\n" {
		t.Fatalf("%q", a.Body)
	}
	if !g.WaitLog("near fired, premature=false") {
		t.Error("the near one did not fire")
	}
	if err := g.Reload(configText("127.0.0.1:1", timerRoutes)); err != nil {
		t.Fatal(err)
	}
	if !g.WaitLog("distant fired, premature=true") {
		t.Error("the reload did not fire the distant one")
	}
	for _, from := range []string{"rewrite", "header_filter", "body_filter", "log"} {
		g.Get("/from")
		if !g.WaitLog("from " + from) {
			t.Errorf("none from %s", from)
		}
	}
	g.Get("/fail")
	if !g.WaitLog("lua entry thread aborted: runtime error: content_by_lua(") {
		t.Error("the error is not in the log")
	}
}

// The end of the process waits for handlers under way, as long as it may.
func TestTimersAtTheEnd(t *testing.T) {
	for _, c := range []struct {
		name, handler, want, limit string
	}{
		{"pending ones fire", `ngx.timer.at(3600, function(p) ngx.sleep(0.05) ngx.log(ngx.NOTICE, "premature=", p) end)`, "premature=true", "1m"},
		{"endless ones are dropped", `ngx.timer.at(0, function() ngx.log(ngx.NOTICE, "begun") ngx.sleep(3600) end)`, "begun", "200ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log *proxytest.Buffer
			began := time.Now()
			t.Run("serve", func(t *testing.T) {
				g := proxytest.Start(t, "drain: {timeout: "+c.limit+"}"+
					configText("127.0.0.1:1", "  - {name: a, lua: {content: '"+c.handler+"'}}\n"))
				log = g.Log
				g.Get("/")
				time.Sleep(20 * time.Millisecond)
			})
			if !strings.Contains(log.String(), c.want) || time.Since(began) > 4*time.Second {
				t.Errorf("after %v:\n%s", time.Since(began), log.String())
			}
		})
	}
}
