package proxy_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"perigee/proxy/proxytest"
)

// scriptedText is a configuration whose scripts ask a limit that is shared in
// redis, beside a route that counts with them.
func scriptedText(redis *redisServer, driver, limit string) string {
	return fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", driver: %s}]
admin: {address: "off"}
access_log: {format: "off"}
redis: {main: {address: "127.0.0.1:%s", password: hunter2}}
rate_limits:
  n: {%s}
routes:
  - name: lua
    match: {paths: ["= /lua"]}
    lua: {access: 'local ok, left, wait = perigee.limit("n", ngx.var.http_x, tonumber(ngx.var.arg_cost)) ngx.say(ok, " ", left, " ", wait and wait > 0)'}
  - name: late
    match: {paths: ["= /late"]}
    lua: {log: 'ngx.log(ngx.WARN, select(2, pcall(perigee.limit, "n", "k")))'}
    respond: {}
  - name: timer
    match: {paths: ["= /timer"]}
    lua: {content: 'ngx.timer.at(0, function() ngx.log(ngx.WARN, "the timer got ", (perigee.limit("n", "timers"))) end)'}
  - name: native
    match: {paths: ["= /native"]}
    limit: [{name: n, key: ["header:X"], %s}]
    respond: {body: "ok\n"}
`, driver, redis.port, limit, limit)
}

var drivers = []string{"loop", "goroutine"}

// Scripts and routes of several gateways admit together what the limit says.
func TestSharedLimitFromLua(t *testing.T) {
	redis := startRedis(t)
	for i, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			text := scriptedText(redis, driver, "rate: 10/h, burst: 30, redis: main, budget: 1s, on_store_failure: deny")
			var gateways []*proxytest.Gateway
			for range 2 {
				g := proxytest.Start(t, text)
				storeIsUp(t, g)
				gateways = append(gateways, g)
			}
			key := fmt.Sprint("X=", i, strings.Repeat("x", 130*i)) // longer than one byte counts
			var admitted atomic.Int64
			var all sync.WaitGroup
			for i := range 6 {
				all.Go(func() {
					for j := range 10 {
						path, yes := "/lua", "true"
						if j%3 == 0 {
							path, yes = "/native", "ok"
						}
						if _, _, body := get(t, gateways[i%2], path, key); strings.HasPrefix(body, yes) {
							admitted.Add(1)
						}
					}
				})
			}
			all.Wait()
			if n := admitted.Load(); n != 30 {
				t.Errorf("%d admitted, want 30\n%s", n, gateways[0].Log)
			}
			g := gateways[0]
			for _, c := range []struct{ path, want string }{
				{"/lua", "false 0 true\n"}, {"/lua?cost=31", "false 0 nil\n"}, {"/lua?cost=0", "true 0 false\n"},
			} {
				if _, _, body := get(t, g, c.path, key); body != c.want {
					t.Errorf("%s: %q, want %q", c.path, body, c.want)
				}
			}
			get(t, g, "/late")
			if !g.WaitLog("API disabled in the context of log_by_lua*") {
				t.Errorf("a script that cannot wait is not told\n%s", g.Log)
			}
			get(t, g, "/timer")
			if !g.WaitLog("the timer got true") {
				t.Errorf("a timer cannot ask\n%s", g.Log)
			}
			var metrics bytes.Buffer
			if err := g.WriteMetrics(&metrics); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(metrics.String(), `perigee_limit_decisions_total{route="",limit="n",outcome="denied"}`) {
				t.Error("metrics say nothing of what scripts asked")
			}
		})
	}
}

func TestLeasedLimitFromLua(t *testing.T) {
	redis := startRedis(t)
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			g := proxytest.Start(t, scriptedText(redis, driver, "rate: 5000/s, burst: 100, redis: main, budget: 1s, on_store_failure: deny"))
			storeIsUp(t, g)
			for i := range 50 {
				if _, _, body := get(t, g, "/lua", "X=leased"); !strings.HasPrefix(body, "true ") {
					t.Fatalf("request %d: %q", i, body)
				}
			}
			if sent := g.Limits().Stores[0].Commands; sent > 40 {
				t.Errorf("%d commands for 50 decisions", sent)
			}
			var metrics bytes.Buffer
			if err := g.WriteMetrics(&metrics); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(metrics.String(), `perigee_limit_error_ratio{limit="n"} 0.0`) {
				t.Error("metrics without the error of what scripts lease")
			}
		})
	}
}

// A store that hangs holds scripts up for the budget and no longer, and then
// the policy decides.
func TestStoreFailureFromLua(t *testing.T) {
	for i, c := range []struct {
		policy string
		want   []string
	}{
		{"local", []string{"true 1 false\n", "true 0 false\n", "false 0 true\n"}},
		{"allow", []string{"true nil false\n", "true nil false\n", "true nil false\n"}},
		{"deny", []string{"false nil true\n", "false nil true\n"}},
	} {
		t.Run(c.policy, func(t *testing.T) {
			redis := startRedis(t)
			g := proxytest.Start(t, scriptedText(redis, drivers[i%2], "rate: 2/h, redis: main, budget: 50ms, on_store_failure: "+c.policy))
			storeIsUp(t, g)
			if err := redis.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			until(t, "the store is taken as down", func() bool {
				get(t, g, "/lua", "X=during")
				return !g.Limits().Stores[0].Up
			})
			for i, want := range c.want {
				if _, _, body := get(t, g, "/lua", "X=after"); body != want {
					t.Errorf("request %d: %q, want %q", i, body, want)
				}
			}
			if err := redis.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			until(t, "the store is used again", func() bool { return g.Limits().Stores[0].Up })
		})
	}
}
