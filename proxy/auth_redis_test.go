package proxy_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"perigee/proctest"
	"perigee/proxy/proxytest"
)

// redisServer is a real redis-server, which can be killed, stopped and started
// again with the same port.
type redisServer struct {
	t    *testing.T
	port string
	cmd  *exec.Cmd
	all  *proctest.Group
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("make deps-test installs redis-server")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	ln.Close()
	r := &redisServer{t: t, port: port}
	r.start()
	t.Cleanup(r.kill)
	return r
}

func (r *redisServer) start() {
	r.t.Helper()
	r.cmd = exec.Command("redis-server", "--port", r.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", r.t.TempDir(), "--requirepass", "hunter2")
	r.all = proctest.Start(r.t, r.cmd)
	until(r.t, "Redis answers", func() bool { return strings.Contains(r.say("PING"), "PONG") })
}

func (r *redisServer) kill() {
	r.all.Kill()
	_ = r.cmd.Wait()
}

// say sends one command and returns what comes.
func (r *redisServer) say(words ...string) string {
	c, err := net.Dial("tcp", "127.0.0.1:"+r.port)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	var b strings.Builder
	b.WriteString("AUTH hunter2\r\n")
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := c.Write([]byte(b.String())); err != nil {
		return ""
	}
	var all []byte
	buf := make([]byte, 4096)
	for strings.Count(string(all), "\r\n") < 2 {
		n, err := c.Read(buf)
		if all = append(all, buf[:n]...); err != nil {
			break
		}
	}
	return string(all)
}

func (r *redisServer) put(key string, fields ...string) {
	r.t.Helper()
	sum := sha256.Sum256([]byte(key))
	name := "perigee:key:" + hex.EncodeToString(sum[:])
	if got := r.say(append([]string{"HSET", name}, fields...)...); !strings.Contains(got, ":") {
		r.t.Fatalf("HSET: %q", got)
	}
}

const redisAuth = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
consumers: {local: {keys: [{plain: local-key-0123456789}]}}
routes:
  - name: a
    auth: {api_key: {redis: {url: "redis://:hunter2@127.0.0.1:%s", ttl: %s, timeout: %s}}, deny: {groups: [late]}}
    respond: {body: "$consumer $consumer_groups $consumer_key"}
`

func TestKeysInRedis(t *testing.T) {
	r := startRedis(t)
	r.put("first-key", "consumer", "acme", "id", "one", "groups", "gold,silver")
	r.put("late-key", "consumer", "acme", "expires", "2020-01-01")
	r.put("kept-out", "consumer", "mallory", "groups", "late")
	r.put("odd-key", "id", "nobody's")
	g := proxytest.Start(t, fmt.Sprintf(redisAuth, r.port, "50ms", "20s"))
	ask := func(key string) string {
		a := g.Get("/", "X-Api-Key", key)
		return strings.TrimSpace(fmt.Sprint(a.StatusCode, " ", strings.TrimSpace(a.Body)))
	}
	for key, want := range map[string]string{
		"first-key": "200 acme gold,silver one", "local-key-0123456789": "200 local",
		"late-key": "401", "none-key": "401", "kept-out": "403", "odd-key": "503",
	} {
		for range 2 {
			if got := ask(key); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %q, want %q", key, got, want)
			}
		}
	}
	r.put("none-key", "consumer", "new")
	until(t, "a new key is found", func() bool { return ask("none-key") == "200 new" })
	sum := sha256.Sum256([]byte("first-key"))
	r.say("DEL", "perigee:key:"+hex.EncodeToString(sum[:]))
	until(t, "a key that was deleted is unknown", func() bool { return strings.HasPrefix(ask("first-key"), "401") })
	if strings.Contains(g.Log.String(), "hunter2") || strings.Contains(g.Log.String(), "first-key") {
		t.Errorf("the log has a secret:\n%s", g.Log)
	}
	dump, err := g.Config()
	if err != nil || strings.Contains(string(dump), "hunter2") {
		t.Errorf("the configuration shows the password: %v\n%s", err, dump)
	}
}

// Redis dies, hangs and comes back: keys that are remembered are taken, others
// answered 503, within the look-up's time; nothing needs to be started again.
func TestRedisOfKeysGoesAway(t *testing.T) {
	r := startRedis(t)
	r.put("known-key", "consumer", "acme")
	g := proxytest.Start(t, fmt.Sprintf(redisAuth, r.port, "1h", "300ms"))
	status := func(key string) int { return g.Get("/", "X-Api-Key", key).StatusCode }
	until(t, "the key is known", func() bool { return status("known-key") == 200 })

	_ = r.cmd.Process.Signal(syscall.SIGSTOP)
	if got := status("hanging-key"); got != 503 {
		t.Errorf("Redis hangs: %d", got)
	}
	if got := status("known-key"); got != 200 {
		t.Errorf("Redis hangs, and the key is remembered: %d", got)
	}
	_ = r.cmd.Process.Signal(syscall.SIGCONT)
	until(t, "Redis goes on", func() bool { return status("other-key") == 401 })

	r.kill()
	if got := status("dead-key"); got != 503 {
		t.Errorf("Redis is dead: %d", got)
	}
	if got := status("known-key"); got != 200 {
		t.Errorf("Redis is dead, and the key is remembered: %d", got)
	}
	if got := status("local-key-0123456789"); got != 200 {
		t.Errorf("Redis is dead, and the key is in the configuration: %d", got)
	}
	r.start()
	r.put("late-key", "consumer", "new")
	until(t, "Redis is back", func() bool { return status("late-key") == 200 })
	if !g.WaitLog("keys are looked up in Redis at 127.0.0.1") {
		t.Errorf("the recovery is not reported:\n%s", g.Log)
	}
}

// A Redis that is away when the gateway starts does not keep it from starting.
func TestRedisOfKeysComesLate(t *testing.T) {
	r := startRedis(t)
	r.kill()
	g := proxytest.Start(t, fmt.Sprintf(redisAuth, r.port, "1h", "300ms"))
	if got := g.Get("/", "X-Api-Key", "a-key").StatusCode; got != 503 {
		t.Errorf("%d", got)
	}
	r.start()
	r.put("a-key", "consumer", "acme")
	until(t, "Redis has come", func() bool { return g.Get("/", "X-Api-Key", "a-key").StatusCode == 200 })
}
