//go:build cgo && luajit

package luavm

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// lineServer echoes lines; "die" makes it close, "more" send what nobody asked
// for. It counts connections.
func lineServer(t testing.TB) (port string, open, all *atomic.Int32) {
	open, all = new(atomic.Int32), new(atomic.Int32)
	port = serveTCP(t, func(c net.Conn) {
		open.Add(1)
		all.Add(1)
		defer open.Add(-1)
		for in := bufio.NewScanner(c); in.Scan(); {
			switch in.Text() {
			case "die":
				return
			case "more":
				fmt.Fprint(c, "more\nunasked\n")
				continue
			}
			fmt.Fprintln(c, in.Text())
		}
	})
	return port, open, all
}

const poolPrelude = `
local function ask(s, line) s:send(line .. "\n") return s:receive() end
local function open(...) local s = ngx.socket.tcp() local ok, err = s:connect("127.0.0.1", PORT, ...) if not ok then return nil, err end return s end
`

func TestPools(t *testing.T) {
	for _, c := range []struct{ name, lua, want string }{
		{"reuse", `local s = open() ask(s, "a") ngx.say(s:getreusedtimes(), s:setkeepalive())
			s = open() ngx.say(s:getreusedtimes(), ask(s, "b"), s:setkeepalive(), s:setkeepalive())
			ngx.say(s:getreusedtimes())`, "01\n1b1nilclosed\nnilclosed\n"},
		{"last kept first", `local a, b = open(), open() ask(a, "a") ask(b, "b") local fd = b:getfd() a:setkeepalive() b:setkeepalive()
			ngx.say(open():getfd() == fd)`, "true\n"},
		{"names", `local s = open({pool = "x"}) ask(s, "a") s:setkeepalive()
			ngx.say(open():getreusedtimes(), open({pool = "x"}):getreusedtimes())`, "01\n"},
		{"size", `local a, b, c = open(), open(), open() for _, s in ipairs {a, b, c} do ask(s, "a") s:setkeepalive(0, 2) end
			ngx.say(open():getreusedtimes(), open():getreusedtimes(), open():getreusedtimes())`, "110\n"},
		{"expired", `local s = open() ask(s, "a") s:setkeepalive(20) ngx.sleep(0.05) ngx.say(open():getreusedtimes())`, "0\n"},
		{"the peer left while it was kept", `local s = open() ask(s, "a") s:send("die\n") s:setkeepalive() ngx.sleep(0.05) ngx.say(open():getreusedtimes())`, "0\n"},
		{"the peer left before", `local s = open() s:send("die\n") ngx.sleep(0.05) ngx.say(s:setkeepalive())`, "nilclosed\n"},
		{"unread", `local s = open() ask(s, "more") ngx.sleep(0.05) ngx.say(s:setkeepalive())`, "nilunread data in buffer\n"},
		{"dubious", `local s = open() s:send("x\n") ngx.sleep(0.05) ngx.say(s:setkeepalive()) ngx.say(s:send("y"))`, "nilconnection in dubious state\nnilclosed\n"},
		{"unasked while kept", `local s = open() ask(s, "a") s:send("b\n") s:setkeepalive() ngx.sleep(0.05) ngx.say(open():getreusedtimes())`, "0\n"},
		{"bounded", `local o = {pool_size = 1, backlog = 0} local s = open(o) ngx.say(open(o)) s:close() ngx.say(open(o) ~= nil)`,
			"niltoo many waiting connect operations\ntrue\n"},
		{"queued", `local o = {pool_size = 1, backlog = 2} local s = open(o) ask(s, "a")
			local function wait() local w, err = open(o) if not w then return err end local n = w:getreusedtimes() w:setkeepalive() return n end
			local a, b = ngx.thread.spawn(wait), ngx.thread.spawn(wait)
			ngx.sleep(0.01) s:setkeepalive()
			ngx.say(select(2, ngx.thread.wait(a)), select(2, ngx.thread.wait(b)))`, "12\n"},
		{"queued in vain", `local o = {pool_size = 1, backlog = 1} local s = open(o) local w = ngx.socket.tcp() w:settimeout(30)
			ngx.say(w:connect("127.0.0.1", PORT, o)) s:close() ngx.say(w:connect("127.0.0.1", PORT, o))`, "niltimeout\n1\n"},
		{"a queue goes on when one of it is killed", `local o = {pool_size = 1, backlog = 2} local s = open(o)
			local a, b = ngx.thread.spawn(open, o), ngx.thread.spawn(open, o) ngx.thread.kill(a) s:close()
			ngx.say(select(2, ngx.thread.wait(b)) ~= nil)`, "true\n"},
		{"a turn does not reach who came in the place of a killed one", `local o = {pool_size = 1, backlog = 1} local s = open(o)
			local a = ngx.thread.spawn(open, o) s:close() ngx.thread.kill(a)
			local began = ngx.now() local b = ngx.thread.spawn(function() ngx.sleep(0.1) ngx.update_time() return ngx.now() - began end)
			ngx.say(select(2, ngx.thread.wait(b)) >= 0.099, open(o) ~= nil)`, "truetrue\n"},
		{"options", `for _, o in ipairs {{pool_size = 0}, {pool_size = {}}, {backlog = -1}, {pool = {}}} do ngx.say((select(2, pcall(open, o)):gsub("^.-: ", ""))) end`,
			"bad argument #3 to 'connect' (bad \"pool_size\" option value: 0)\nbad argument #3 to 'connect' (bad \"pool_size\" option type: table)\n" +
				"bad argument #3 to 'connect' (bad \"backlog\" option value: -1)\nbad argument #3 to 'connect' (bad \"pool\" option type: table)\n"},
		{"many names", `for i = 1, 300 do local s = open({pool = "n" .. i}) s:setkeepalive(1) end ngx.say("ok")`, "ok\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port, _, _ := lineServer(t)
			bed, scripts := newSocketBed(t, Options{}, strings.ReplaceAll(poolPrelude+c.lua, "PORT", port))
			if got := bed.run(scripts[0]); got != c.want {
				t.Errorf("got %q, want %q\n%s", got, c.want, bed.logged())
			}
		})
	}
}

// Pools outlive exchanges; what a script forgets ends with its exchange, what
// is kept too long with the sweep, and everything with the VM.
func TestConnectionsEnd(t *testing.T) {
	port, open, all := lineServer(t)
	bed, scripts := newSocketBed(t, Options{}, strings.ReplaceAll(poolPrelude+`local s = open() ngx.print(s:getreusedtimes()) ask(s, "a") s:setkeepalive(0)`, "PORT", port),
		strings.ReplaceAll(poolPrelude+`forgotten = open({pool = "f"}) local b = open({pool = "b"}) ngx.say(ask(b, "x"))`, "PORT", port),
		`ngx.say(pcall(forgotten.receive, forgotten)) ngx.say(pcall(forgotten.connect, forgotten, "127.0.0.1", 1))`,
		strings.ReplaceAll(poolPrelude+`for i = 1, 50 do open({pool = "c"}) end collectgarbage() collectgarbage() ngx.sleep(0.05) ngx.say("collected") coroutine.yield() ngx.sleep(0.2)`, "PORT", port),
		strings.ReplaceAll(poolPrelude+`local s = open({pool = "short"}) ask(s, "a") s:setkeepalive(10)`, "PORT", port))
	for i := range 3 {
		if got := bed.run(scripts[0]); got != fmt.Sprint(i) {
			t.Errorf("exchange %d: reused %s times", i, got)
		}
	}
	settled := func(want int32) {
		t.Helper()
		for range 200 {
			if open.Load() == want {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%d connections are open, want %d (of %d)", open.Load(), want, all.Load())
	}
	settled(1)
	bed.run(scripts[1])
	settled(1)
	if got := bed.run(scripts[2]); got != "truenilclosed\nfalsebad request\n" {
		t.Errorf("another exchange: %q", got)
	}
	bed.run(scripts[3])
	settled(1)
	bed.run(scripts[4])
	settled(1) // by the sweep
	bed.pool.Close()
	settled(0)
}

// Two threads use one socket at once.
func TestSocketDuplex(t *testing.T) {
	port, _, _ := lineServer(t)
	bed, scripts := newSocketBed(t, Options{}, strings.ReplaceAll(poolPrelude+`local s = open()
		s:settimeout(2000)
		local reader = ngx.thread.spawn(function() local n = 0 for i = 1, 200 do if s:receive() == "line" .. i then n = n + 1 end end return n end)
		ngx.say(s:receive()) ngx.say(s:setkeepalive()) ngx.say(s:close()) ngx.say(s:connect("127.0.0.1", PORT))
		for i = 1, 200 do assert(s:send("line" .. i .. "\n")) end
		ngx.say(select(2, ngx.thread.wait(reader)))
		local stuck = ngx.thread.spawn(function() s:receive() end)
		ngx.thread.kill(stuck)
		ngx.say(s:send("x"))`, "PORT", port))
	want := "nilsocket busy reading\nnilsocket busy reading\nnilsocket busy reading\nnilsocket busy reading\n200\nnilclosed\n"
	if got := bed.run(scripts[0]); got != want {
		t.Errorf("got %q, want %q\n%s", got, want, bed.logged())
	}
}

// Peers that answer badly give the documented errors and no more.
func TestBadPeers(t *testing.T) {
	dead := freePort(t)
	for _, c := range []struct {
		name      string
		serve     func(net.Conn)
		lua, want string
		log       string
	}{
		{"half a line", func(c net.Conn) { fmt.Fprint(c, "+OK") }, `ngx.say(s:receive())`, "nilclosed+OK\n", ""},
		{"nothing", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, `s:settimeout(30) ngx.say(s:receive()) ngx.say(s:receive(1)) ngx.say(s:send("a"))`,
			"niltimeout\nniltimeout\n1\n", "[4] lua tcp socket read timed out"},
		{"half a line, then silence", func(c net.Conn) { fmt.Fprint(c, "+O"); _, _ = io.Copy(io.Discard, c) },
			`s:settimeout(30) ngx.say(s:receive()) ngx.say(s:receive())`, "niltimeout+O\nniltimeout\n", ""},
		{"a reset", func(c net.Conn) { time.Sleep(20 * time.Millisecond); _ = c.(*net.TCPConn).SetLinger(0) }, `ngx.sleep(0.05) ngx.say(s:receive()) ngx.say(s:receive())`,
			"nilconnection reset by peer\nnilclosed\n", "[4] recv() failed (104: Connection reset by peer)"},
		{"sending to one that left", func(net.Conn) {}, `ngx.sleep(0.05) s:send("a") ngx.sleep(0.05) local _, a = s:send("b") local _, b = s:send("c") ngx.say(a, " ", b)`,
			"broken pipe closed\n", "[4] send() failed (32: Broken pipe)"},
		{"no reader", func(c net.Conn) { time.Sleep(time.Second) }, `s:settimeout(50) local text, ok, err = ("x"):rep(1e6) repeat ok, err = s:send(text) until err ngx.say(ok, err) ngx.say(s:send("x"))`,
			"niltimeout\nnilclosed\n", "[4] lua tcp socket write timed out"},
		{"an absurd size", func(c net.Conn) { fmt.Fprint(c, "abc") }, `ngx.say(s:receive(1e15)) ngx.say(pcall(s.receive, s, -1))`,
			"nilclosedabc\ntruenilclosed\n", ""},
		{"more than fits", func(c net.Conn) { _, _ = io.Copy(c, zeros{}) }, `local _, err = s:receive("*a") ngx.say(err)`, "no memory\n", ""},
		{"an endless line", func(c net.Conn) { _, _ = io.Copy(c, zeros{}) }, `local _, err = s:receive() ngx.say(err)`, "no memory\n", ""},
		{"nobody", nil, `ngx.say(s:connect("127.0.0.1", ` + dead + `)) ngx.say(s:send("x"))`, "nilconnection refused\nnilclosed\n",
			"[4] connect() failed (111: Connection refused)"},
		{"no such socket", nil, `ngx.say(s:connect("unix:/nobody/here"))`, "nilno such file or directory\n",
			"[3] connect() to unix:/nobody/here failed (2: No such file or directory)"},
		{"no such address", nil, `s:bind("203.0.113.7") ngx.say(s:connect("127.0.0.1", ` + dead + `))`, "nilcannot assign requested address\n",
			"[3] bind(203.0.113.7) failed (99: Cannot assign requested address)"},
		{"no such port", nil, `ngx.say(s:connect("127.0.0.1", 65536)) ngx.say(s:connect("127.0.0.1"))`, "nilbad port number: 65536\nnilmissing the port number\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			connect := "local s = ngx.socket.tcp() "
			if c.serve != nil {
				connect += `assert(s:connect("127.0.0.1", ` + serveTCP(t, c.serve) + `)) `
			}
			bed, scripts := newSocketBed(t, Options{MemoryLimit: 16 << 20}, connect+c.lua)
			if got := bed.run(scripts[0]); got != c.want {
				t.Errorf("got %q, want %q\n%s", got, c.want, bed.logged())
			}
			if !strings.Contains(bed.logged(), c.log) {
				t.Errorf("log %q, want %q", bed.logged(), c.log)
			}
		})
	}
}

// zeros is an endless stream.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A read that waits ends at once when its exchange does.
func TestSocketCancel(t *testing.T) {
	port := serveTCP(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	bed, scripts := newSocketBed(t, Options{}, strings.ReplaceAll(poolPrelude+`local s, d = open(), ngx.socket.udp()
		assert(d:setpeername("127.0.0.1", 9))
		ngx.thread.spawn(function() s:receive() end)
		ngx.thread.spawn(function() d:receive() end)
		ngx.thread.spawn(function() local w = ngx.socket.tcp() w:connect("192.0.2.1", 80) end)
		ngx.thread.spawn(function() local w = open({pool = "q", pool_size = 1, backlog = 1}) open({pool = "q"}) end)
		ngx.sleep(0.05) ngx.exit(200)`, "PORT", port))
	before := runtime.NumGoroutine()
	began := time.Now()
	bed.run(scripts[0])
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the exchange ended after %v", took)
	}
	for i := 0; runtime.NumGoroutine() > before && i < 100; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines, %d before", now, before)
	}
}
