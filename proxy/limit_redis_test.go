package proxy_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"perigee/proxy/proxytest"
)

func sharedText(redis *redisServer, limits string) string {
	return strings.Replace(configText("127.0.0.1:1", `
  - name: api
    match: {paths: ["/"]}
    limit:
`+indent(limits, "      ")+`
    respond: {body: "ok\n"}
`), "routes:", fmt.Sprintf("redis: {main: {address: \"127.0.0.1:%s\", password: hunter2}}\nroutes:", redis.port), 1)
}

// storeIsUp waits until a gateway asks its store and is answered. On a busy machine the
// first answers may come too late.
func storeIsUp(t *testing.T, g *proxytest.Gateway) {
	t.Helper()
	until(t, "the store is up", func() bool {
		stores := g.Limits().Stores
		return len(stores) == 1 && stores[0].Up && stores[0].Instances > 0 && stores[0].Commands > stores[0].Errors
	})
}

// Gateways that share a limit admit together what it says, whatever the mode.
func TestSharedLimits(t *testing.T) {
	redis := startRedis(t)
	for _, c := range []struct {
		name, limits string
		want         int64
	}{
		{"bucket", `- {name: b, rate: 10/h, burst: 30, redis: main, budget: 1s, on_store_failure: deny}`, 30},
		{"fixed", `- {name: f, rate: 30/365d, algorithm: fixed, redis: main, budget: 1s, on_store_failure: deny}`, 30},
		{"month", `- {name: m, monthly: 30, redis: main, budget: 1s, on_store_failure: deny}`, 30},
		{"two of them", `
- {name: one, rate: 10/h, burst: 20, redis: main, budget: 1s, on_store_failure: deny}
- {name: two, rate: 10/h, burst: 500, redis: main, budget: 1s, on_store_failure: deny}
- {name: own, rate: 10/h, burst: 100}`, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			gateways := []*proxytest.Gateway{proxytest.Start(t, sharedText(redis, c.limits)), proxytest.Start(t, sharedText(redis, c.limits))}
			var admitted atomic.Int64
			var all sync.WaitGroup
			for _, g := range gateways {
				storeIsUp(t, g)
				for range 3 {
					all.Go(func() {
						for range 10 {
							if status, _, _ := get(t, g, "/"); status == 200 {
								admitted.Add(1)
							}
						}
					})
				}
			}
			all.Wait()
			if n := admitted.Load(); n != c.want {
				t.Errorf("%d admitted, want %d\n%s", n, c.want, gateways[0].Log)
			}
		})
	}
}

func TestLeasedLimit(t *testing.T) {
	redis := startRedis(t)
	g := proxytest.Start(t, sharedText(redis, `- {name: l, rate: 5000/s, burst: 100, redis: main, mode: leased, budget: 1s, on_store_failure: deny}`))
	storeIsUp(t, g)
	for i := range 50 {
		if status, head, _ := get(t, g, "/"); status != 200 || !strings.HasPrefix(head.Get("RateLimit"), `"l";r=`) {
			t.Fatalf("request %d: %d, %q", i, status, head.Get("RateLimit"))
		}
	}
	var metrics bytes.Buffer
	if err := g.WriteMetrics(&metrics); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`perigee_limit_error_ratio{limit="l"} 0.0`, `perigee_limit_store_up{redis="main"} 1`, `outcome="allowed"} 50`} {
		if !strings.Contains(metrics.String(), want) {
			t.Errorf("metrics without %s", want)
		}
	}
}

func TestStoreFailurePolicies(t *testing.T) {
	for policy, want := range map[string][]int{"local": {200, 200, 429}, "allow": {200, 200, 200}, "deny": {429, 429, 429}} {
		t.Run(policy, func(t *testing.T) {
			redis := startRedis(t)
			g := proxytest.Start(t, sharedText(redis, `- {name: p, key: ["header:X"], rate: 2/h, redis: main, budget: 1s, on_store_failure: `+policy+`}`))
			storeIsUp(t, g)
			if status, _, _ := get(t, g, "/", "X=before"); status != 200 {
				t.Fatalf("%d before", status)
			}
			if err := redis.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			until(t, "the store is taken as down", func() bool {
				get(t, g, "/", "X=during")
				return !g.Limits().Stores[0].Up
			})
			for i, want := range want {
				if status, _, _ := get(t, g, "/", "X=after"); status != want {
					t.Errorf("request %d: %d, want %d", i, status, want)
				}
			}
			if !g.WaitLog("redis.main does not answer") {
				t.Error("the log does not say so")
			}
			if err := redis.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			until(t, "the store is used again", func() bool { return g.Limits().Stores[0].Up })
		})
	}
}

// Clients of Redis belong to the process: reloads do not open connections. RELOADS
// is how many (make e2e: 1,000).
func TestReloadsKeepConnections(t *testing.T) {
	redis := startRedis(t)
	text := sharedText(redis, `- {name: r, rate: 10/s, burst: 5000, redis: main, budget: 1s}`)
	g := proxytest.Start(t, text)
	storeIsUp(t, g)
	clients := func() int {
		n := 0
		list, err := exec.Command("redis-cli", "--no-auth-warning", "-a", "hunter2", "-p", redis.port, "client", "list").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(list), "\n") {
			if strings.Contains(line, "name=perigee") {
				n++
			}
		}
		return n
	}
	// One store has a few connections, opened as they are needed.
	const most = 8
	reloads := 100
	if testing.Short() {
		reloads = 2 * most
	}
	if n, err := strconv.Atoi(os.Getenv("RELOADS")); err == nil {
		reloads = n
	}
	for i := range reloads {
		// Another listener option each time, so that each is a configuration of its own.
		if err := g.Reload(strings.Replace(text, "routes:", "limits: {inflight: "+strconv.Itoa(1000+i)+"}\nroutes:", 1)); err != nil {
			t.Fatal(err)
		}
		if status, _, _ := get(t, g, "/"); status != 200 {
			t.Fatalf("reload %d: %d", i, status)
		}
		if i%100 != 99 {
			continue
		}
		if n := clients(); n > most {
			t.Fatalf("%d connections after %d reloads", n, i+1)
		}
	}
	until(t, "the connections of one store", func() bool { return clients() <= most })
	if stores := g.Limits().Stores; len(stores) != 1 {
		t.Errorf("%d stores", len(stores))
	}
}

// A gateway that ends gives back what it has leased.
func TestLeasesAreReturned(t *testing.T) {
	redis := startRedis(t)
	text := sharedText(redis, `- {name: back, rate: 1000/s, burst: 100000, redis: main, budget: 1s, on_store_failure: deny}`)
	t.Run("runs", func(t *testing.T) {
		g := proxytest.Start(t, text) // ends with this subtest
		storeIsUp(t, g)
		if status, _, _ := get(t, g, "/"); status != 200 {
			t.Fatalf("%d", status)
		}
	})
	if got := redis.say("ZCARD", "perigee:instances"); !strings.Contains(got, ":0\r\n") {
		t.Errorf("instances after the end: %q", got)
	}
}
