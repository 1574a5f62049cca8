package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"perigee/proxy/proxytest"
)

const scriptAuth = `
listeners: [{address: "127.0.0.1:0", driver: %s}]
admin: {address: "off"}
access_log: {format: "off"}
lua: {shared_dicts: {d: 64KiB}}
consumers: {local: {keys: [{plain: local-key-0123456789}]}}
routes:
  - name: a
    match: {paths: ["= /"]}
    auth:
      api_key:
        lua:
          script: |
            local sha256, key = ...
            ngx.shared.d:incr("asked", 1, 0)
            ngx.sleep(0.001)
            local keys = {
              simple = "acme",
              rich = {consumer = "acme", id = "one", groups = {"gold", "big"}, roles = {"buyer"}, scopes = {"read", "write"}},
              late = {consumer = "acme", expires = "2020-01-01"},
              kept = {consumer = "mallory", groups = "late"},
              nobody = {groups = {"gold"}},
            }
            if key == "broken" then error("the table is gone") end
            if key == "exits" then return ngx.exit(418) end
            assert(sha256 == ngx.var.http_x_sum or not ngx.var.http_x_sum)
            return keys[key]
          plain: true
          ttl: %s
      deny: {groups: [late]}
    respond: {body: "$consumer $consumer_groups $consumer_key $consumer_roles $consumer_scopes"}
  - name: hashed
    match: {paths: ["= /hashed"]}
    auth: {api_key: {lua: 'local sha256, key = ... if key == nil and sha256 == "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90" then return "bob" end'}}
    respond: {body: "$consumer"}
  - name: asked
    match: {paths: ["= /asked"]}
    lua: {content: 'ngx.print(ngx.shared.d:get("asked") or 0)'}
`

func TestKeysFromLua(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			g := proxytest.Start(t, fmt.Sprintf(scriptAuth, driver, "1h"))
			for _, c := range []struct{ key, want string }{
				{"simple", "200 acme"}, {"rich", "200 acme big,gold one buyer read write"}, {"late", "401"},
				{"kept", "403"}, {"none", "401"}, {"nobody", "503"}, {"broken", "503"}, {"exits", "418"},
				{"local-key-0123456789", "200 local"},
			} {
				for range 2 {
					a := g.Get("/", "X-Api-Key", c.key)
					if got := strings.TrimSpace(fmt.Sprint(a.StatusCode, " ", strings.TrimSpace(a.Body))); !strings.HasPrefix(got, c.want) {
						t.Errorf("%s: %q, want %q", c.key, got, c.want)
					}
				}
			}
			// Each that could be answered was asked once; that there is no such key is
			// not remembered for long.
			if got := g.Get("/asked").Body; got != fmt.Sprint(5+2*3) && got != fmt.Sprint(6+2*3) {
				t.Errorf("asked %s times", got)
			}
			if a := g.Get("/", "X-Api-Key", "rich", "X-Sum", "wrong"); a.StatusCode != 200 {
				t.Errorf("a remembered key: %d", a.StatusCode)
			}
			if a := g.Get("/hashed", "X-Api-Key", "alice"); a.StatusCode != 200 || a.Body != "bob" {
				t.Errorf("by its hash: %d %q", a.StatusCode, a.Body)
			}
			for _, secret := range []string{"simple", "alice", "rich"} {
				if strings.Contains(g.Log.String(), secret) {
					t.Errorf("the log has a key:\n%s", g.Log)
				}
			}
		})
	}
}

// A script that fails leaves the keys that are remembered good.
func TestKeysFromLuaAreRemembered(t *testing.T) {
	g := proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
lua: {shared_dicts: {d: 64KiB}}
routes:
  - name: a
    match: {paths: ["= /"]}
    auth: {api_key: {lua: {script: 'if ngx.shared.d:get("broken") then error("broken") end return "acme"', ttl: 30s}}}
    respond: {body: "$consumer"}
  - name: brief
    match: {paths: ["= /brief"]}
    auth: {api_key: {lua: {script: 'if ngx.shared.d:get("broken") then error("broken") end return "acme"', ttl: 1ms}}}
    respond: {body: "$consumer"}
  - name: break
    match: {paths: ["= /break"]}
    lua: {content: 'ngx.shared.d:set("broken", true)'}
`)
	for _, path := range []string{"/", "/brief"} {
		if a := g.Get(path, "X-Api-Key", "k"); a.StatusCode != 200 || a.Body != "acme" {
			t.Fatalf("%s: %d %q", path, a.StatusCode, a.Body)
		}
	}
	g.Get("/break")
	if a := g.Get("/", "X-Api-Key", "k"); a.StatusCode != 200 {
		t.Errorf("a fresh answer: %d", a.StatusCode)
	}
	if a := g.Get("/", "X-Api-Key", "other"); a.StatusCode != 503 || a.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("an unknown key: %d", a.StatusCode)
	}
	until(t, "an answer that is too old serves no more", func() bool {
		return g.Get("/brief", "X-Api-Key", "k").StatusCode == 503
	})
}

// Keys may be in a store that limits count in, too.
func TestKeysInStoreOfRedis(t *testing.T) {
	r := startRedis(t)
	r.put("first-key", "consumer", "acme")
	text := func(database int) string {
		return fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
redis: {main: {address: "127.0.0.1:%s", password: hunter2, database: %d}}
routes:
  - name: a
    auth: {api_key: {redis: {store: main, timeout: 20s}}}
    limit: [{key: [consumer], rate: 5/h, redis: main, budget: 1s, on_store_failure: deny}]
    respond: {body: "$consumer"}
`, r.port, database)
	}
	g := proxytest.Start(t, text(0))
	storeIsUp(t, g)
	for i, want := range []int{200, 200, 200, 200, 200, 429} {
		if a := g.Get("/", "X-Api-Key", "first-key"); a.StatusCode != want {
			t.Fatalf("request %d: %d, want %d\n%s", i, a.StatusCode, want, g.Log)
		}
	}
	if err := g.Reload(text(1)); err != nil {
		t.Fatal(err)
	}
	if a := g.Get("/", "X-Api-Key", "first-key"); a.StatusCode != 401 {
		t.Errorf("in another database: %d", a.StatusCode)
	}
}
