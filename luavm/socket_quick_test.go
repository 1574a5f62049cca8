//go:build cgo && luajit

package luavm

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func echoes(nc net.Conn) { _, _ = io.Copy(nc, nc) }

// answerLate sends a line 10 ms after each line it gets.
func answerLate(nc net.Conn) {
	for in := bufio.NewReader(nc); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
		_, _ = io.WriteString(nc, "to "+line)
	}
}

// The functions in C are there: without them all works, at twice the price.
func TestQuickSocketFunctionsAreThere(t *testing.T) {
	bed, scripts := newSocketBed(t, Options{}, `local s = ngx.socket.tcp()
for _, method in ipairs({"receive", "send", "connect", "setkeepalive"}) do
  local found
  for i = 1, 9 do
    local name, f = debug.getupvalue(s[method], i)
    if name and name:find("^quick_") then
      found = debug.getinfo(f, "S").what
    end
  end
  ngx.say(method, " ", tostring(found))
end`)
	if got := bed.run(scripts[0]); got != "receive C\nsend C\nconnect C\nsetkeepalive C\n" {
		t.Errorf("got %q", got)
	}
}

func TestQuickSockets(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
		lua   string
		want  string
	}{
		{"numbers as tostring writes them", echoes, `
			local list = {0, -0, 1, 10, 999999999, 1000000000, 1e15, 0.1, -5, 1/0, "x", {2, {3, "y"}}}
			local want = ""
			for i = 1, 11 do want = want .. tostring(list[i]) end
			want = want .. "23y"
			assert(s:send(list) == #want)
			ngx.say(assert(s:receive(#want)) == want)`, "true\n"},
		{"a table that is no list", echoes, `
			ngx.say(pcall(s.send, s, {"a", x = 1}))
			ngx.say(pcall(s.send, s, {[1] = "a", [3] = "c"}))
			ngx.say(pcall(s.send, s, {"a", {"b", false}}))
			s:send("\n")
			ngx.say(s:receive(1))`,
			"falsebad argument #2 to '?' (non-array table found)\nfalsebad argument #2 to '?' (bad data type nil found)\n" +
				"falsebad argument #2 to '?' (bad data type boolean found)\n\n\n"},
		{"tables in tables, deeper than C goes", echoes, `
			local deep = "x\n"
			for i = 1, 50 do deep = {deep} end
			ngx.say(s:send(deep), s:receive())`, "2x\n"},
		{"parts of lines and sizes that come late", answerLate, `
			s:send("a\n") ngx.say(s:receive()) s:send("bc\n") ngx.say(s:receive(3), s:receive("*l"))`, "to a\nto bc\n"},
		{"a wait in a coroutine in a coroutine under pcall", answerLate, `
			local inner = coroutine.wrap(function() s:send("deep\n") coroutine.yield(s:receive()) end)
			local outer = coroutine.create(function() return pcall(inner) end)
			ngx.say(select(3, coroutine.resume(outer)))`, "to deep\n"},
		{"a wait where none is possible", answerLate, `
			s:send("a\n")
			ngx.say(pcall(string.gsub, "x", "x", function() return s:receive() end))
			ngx.say(s:receive())`, "falseperigee:init:100: attempt to yield across C-call boundary\nnilsocket busy reading\n"},
		{"two threads", answerLate, `
			local th = ngx.thread.spawn(function() return s:receive() end)
			ngx.say(s:receive()) s:send("a\n") ngx.say(ngx.thread.wait(th)) s:send("b\n") ngx.say(s:receive())`,
			"nilsocket busy reading\ntrueto a\nto b\n"},
		{"a thread that is killed while it reads, and its place taken", answerLate, `
			for i = 1, 20 do
			  local u = ngx.socket.tcp()
			  u:connect("127.0.0.1", PORT)
			  local th = ngx.thread.spawn(function() return u:receive() end)
			  ngx.thread.kill(th)
			  u, th = nil, nil
			  collectgarbage()
			  local v = ngx.socket.tcp()
			  v:connect("127.0.0.1", PORT)
			  local ok, line = ngx.thread.wait(ngx.thread.spawn(function() v:send(i .. "\n") return v:receive() end))
			  assert(ok and line == "to " .. i, line)
			  v:close()
			end
			ngx.say("well")`, "well\n"},
		{"what is no socket in a socket's place", echoes, `
			local was = s.s
			for _, wrong in ipairs({1LL, 7, "x", require("ffi").new("int[4]"), false}) do
			  s.s = wrong
			  for _, method in ipairs({"receive", "send", "setkeepalive"}) do pcall(s[method], s, "x") end
			end
			s.s = was
			s:send("x\n") ngx.say(s:receive())`, "x\n"},
		{"kept and taken again", echoes, `
			s:send("unread\n")
			s:receive(1)
			ngx.say(s:setkeepalive())
			s:receive()
			ngx.say(s:setkeepalive(1000, 10), s:receive())
			s = ngx.socket.tcp()
			ngx.say(s:connect("127.0.0.1", PORT), s:getreusedtimes())
			ngx.say(s:setkeepalive())`, "nilunread data in buffer\n1nilclosed\n11\n1\n"},
		{"connect of what is connected", echoes, `
			s:setkeepalive()
			s:connect("127.0.0.1", PORT)
			ngx.say(s:getreusedtimes(), s:connect("127.0.0.1", PORT), s:getreusedtimes())
			ngx.say(s:connect("127.0.0.1", 65536))`, "110\nnilbad port number: 65536\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := serveTCP(t, c.serve)
			bed, scripts := newSocketBed(t, Options{}, `local s = ngx.socket.tcp()
				assert(s:connect("127.0.0.1", `+port+`))`+strings.ReplaceAll(c.lua, "PORT", port))
			if got := bed.run(scripts[0]); got != c.want {
				t.Errorf("got %q, want %q\n%s", got, c.want, bed.logged())
			}
		})
	}
}
