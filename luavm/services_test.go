//go:build cgo && luajit

package luavm

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/proctest"
)

// Debian's libraries over sockets against the real services.

// startService runs a server until the test ends and waits for its socket.
func startService(t *testing.T, network, address, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (make deps-test): %v", name, err)
	}
	cmd := exec.Command(path, args...)
	t.Cleanup(func() { _ = cmd.Wait() })
	proctest.Start(t, cmd)
	for range 100 {
		if c, err := net.Dial(network, address); err == nil {
			c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s does not listen on %s", name, address)
}

// freePort is a port that was free just now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// startRedis gives the port and the path of a server's socket.
func startRedis(t *testing.T) (port, path string) {
	t.Helper()
	port, path = freePort(t), filepath.Join(shortDir(t), "r.sock")
	startService(t, "tcp", "127.0.0.1:"+port, "redis-server", "--port", port, "--bind", "127.0.0.1",
		"--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", filepath.Dir(path))
	return port, path
}

// shortDir is a folder whose name fits into a socket's address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestRedis(t *testing.T) {
	needsFile(t, "lua-nginx-redis", "/usr/share/lua/5.1/nginx/redis.lua")
	port, path := startRedis(t)
	bed, scripts := newSocketBed(t, Options{Path: packaged}, `
		local r = require "nginx.redis":new()
		r:set_timeouts(1000, 1000, 1000)
		assert(r:connect("127.0.0.1", `+port+`))
		ngx.say(r:set("dog", "an animal"), r:get("dog"), r:get("none") == ngx.null)
		ngx.say(r:lpush("l", 1, 2, 3), #r:lrange("l", 0, -1), r:incr("dog"))
		r:init_pipeline() r:set("a", 1) r:get("a") r:del("l")
		local all = r:commit_pipeline()
		ngx.say(all[1], all[2], all[3], " ", r:get_reused_times())
		r:set("big", ("x"):rep(300000))
		ngx.say(#r:get("big"))
		ngx.say(r:set_keepalive(10000, 10))`,
		`local r = require "nginx.redis":new()
		r:connect("127.0.0.1", `+port+`)
		ngx.say(r:get_reused_times(), r:get("dog"))
		r:set_keepalive(10000, 10)`,
		`local r = require "nginx.redis":new()
		ngx.say(r:connect("unix:`+path+`"), r:get("dog"))
		local s = require "nginx.redis":new()
		s:connect("127.0.0.1", `+port+`)
		s:set_timeout(2000)
		assert(s:subscribe("news"))
		local other = ngx.thread.spawn(function() return r:publish("news", "hello") end)
		ngx.say(s:read_reply()[3]) s:close() ngx.thread.wait(other) ngx.say(r:close())`)
	for i, want := range []string{"OKan animaltrue\n33falseERR value is not an integer or out of range\nOK11 0\n300000\n1\n", "1an animal\n", "1an animal\nhello\n1\n"} {
		if got := bed.run(scripts[i]); got != want {
			t.Errorf("script %d: got %q, want %q\n%s", i, got, want, bed.logged())
		}
	}
}

func TestMemcached(t *testing.T) {
	needsFile(t, "lua-nginx-memcached", "/usr/share/lua/5.1/nginx/memcached.lua")
	port := freePort(t)
	startService(t, "tcp", "127.0.0.1:"+port, "memcached", "-l", "127.0.0.1", "-p", port, "-u", "nobody")
	bed, scripts := newSocketBed(t, Options{Path: packaged}, `
		local m = require "nginx.memcached":new()
		m:set_timeout(1000)
		assert(m:connect("127.0.0.1", `+port+`))
		ngx.say(m:flush_all(), m:set("dog", 32), m:add("dog", 1))
		ngx.say(m:get("dog")) ngx.say(m:incr("dog", 2), m:get("none"))
		local all = m:get({"dog", "none"})
		ngx.say(all.dog[1], all.none, m:delete("dog"), m:version() ~= nil, m:set_keepalive())`)
	if got, want := bed.run(scripts[0]), "11nilNOT_STORED\n320\n34nilnilnil\n34nil1true1\n"; got != want {
		t.Errorf("got %q, want %q\n%s", got, want, bed.logged())
	}
}

// answerDNS is a server that knows one name; dead: it does not answer.
func answerDNS(t *testing.T) (port string) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := dnsReply(buf[:n]); reply != nil {
				_, _ = pc.WriteTo(reply, from)
			}
		}
	}()
	_, port, _ = net.SplitHostPort(pc.LocalAddr().String())
	return port
}

func dnsReply(query []byte) []byte {
	end, name := 12, ""
	for query[end] != 0 {
		name += string(query[end+1:end+1+int(query[end])]) + "."
		end += 1 + int(query[end])
	}
	kind := binary.BigEndian.Uint16(query[end+1:])
	reply := append([]byte(nil), query[:end+5]...)
	copy(reply[2:], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	switch {
	case strings.HasPrefix(name, "dead."):
		return nil
	case strings.HasPrefix(name, "broken."):
		reply[3] |= 2
	case name != "dog.example.":
		reply[3] |= 3
	case kind == 1:
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
	}
	return reply
}

func TestDNS(t *testing.T) {
	needsFile(t, "lua-nginx-dns", "/usr/share/lua/5.1/nginx/dns/resolver.lua")
	port := answerDNS(t)
	bed, scripts := newSocketBed(t, Options{Path: packaged}, `
		local r = assert(require "nginx.dns.resolver":new({
			nameservers = {{"127.0.0.1", `+port+`}}, retrans = 2, timeout = 100}))
		local a = assert(r:query("dog.example", {qtype = r.TYPE_A}))
		ngx.say(a[1].address, a[1].ttl, r:query("none.example").errstr)
		ngx.say(r:query("dead.example"))`)
	if got, want := bed.run(scripts[0]), "127.0.0.160name error\nnilfailed to receive reply from UDP server 127.0.0.1:"+port+": timeout\n"; !strings.HasPrefix(got, want[:len(want)-1]) {
		t.Errorf("got %q, want %q\n%s", got, want, bed.logged())
	}
}

// Names that scripts connect to are asked for where the settings say.
func TestSocketResolver(t *testing.T) {
	hello := serveTCP(t, func(c net.Conn) { fmt.Fprintln(c, "hello") })
	for _, c := range []struct{ name, host, want string }{
		{"known", "dog.example", "1 hello"},
		{"unknown", "none.example", "nil none.example could not be resolved (3: Host not found)"},
		{"failing", "broken.example", "nil broken.example could not be resolved (2: Server failure)"},
		{"dead", "dead.example", "nil dead.example could not be resolved (110: Operation timed out)"},
		{"no host", "", `nil failed to parse host name "": no host`},
		{"a path", "a/b", `nil failed to parse host name "a/b": invalid host`},
		{"a port that is none", "a:b", `nil failed to parse host name "a:b": invalid port`},
		{"no path", "unix:", `nil failed to parse host name "unix:": no path in the unix domain socket`},
		{"absurd", strings.Repeat("a", 5000), "nil " + strings.Repeat("a", 5000) + " could not be resolved (3: Host not found)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeout := time.Minute
			if c.name == "dead" {
				timeout = 100 * time.Millisecond
			}
			settings := NewSocketSettings(SocketOptions{
				Resolve: ResolverAt([]string{"127.0.0.1:" + answerDNS(t)}), ResolveTimeout: timeout,
			})
			bed, scripts := newSocketBed(t, Options{Sockets: settings}, fmt.Sprintf(`local s = ngx.socket.tcp()
				local ok, err = s:connect(%q, %s) ngx.print(ok, " ", err or s:receive())`, c.host, hello))
			if got := bed.run(scripts[0]); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	bed, scripts := newSocketBed(t, Options{Sockets: NewSocketSettings(SocketOptions{Resolve: NoResolver})},
		`ngx.print(select(2, ngx.socket.connect("dog.example", 80)))`)
	if got, want := bed.run(scripts[0]), `no resolver defined to resolve "dog.example"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A GET over a kept connection leaves little behind: neither compiled code that
// fails at each request nor finalizers may make more of it.
func TestRedisGetMakesLittleGarbage(t *testing.T) {
	needsFile(t, "lua-nginx-redis", "/usr/share/lua/5.1/nginx/redis.lua")
	port, _ := startRedis(t)
	bed, scripts := newSocketBed(t, Options{Path: packaged}, `
		local before = collectgarbage("count")
		local r = require "nginx.redis":new()
		r:set_timeouts(1000, 1000, 1000) -- a command to this version: fails
		assert(r:connect("127.0.0.1", `+port+`))
		assert(r:get("dog"))
		r:set_keepalive(10000, 256)
		ngx.print((collectgarbage("count") - before) * 1024)`)
	for range 3000 {
		bed.run(scripts[0])
	}
	// A collection in between makes it less than nothing: such runs do not count.
	best := 1e9
	for range 50 {
		var n float64
		if _, err := fmt.Sscan(bed.run(scripts[0]), &n); err == nil && n > 0 {
			best = min(best, n)
		}
	}
	if best > 3000 {
		t.Errorf("%v bytes of garbage", best)
	}
	t.Logf("%v bytes of garbage", best)
}
